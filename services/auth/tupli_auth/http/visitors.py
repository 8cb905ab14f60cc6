"""Who is at the other end of a page: the browser, by its cookie, and that its forms are ours."""

import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import Request

from tupli_auth.accounts.sign_in import LoggedIn, SignIn
from tupli_auth.accounts.work import Means
from tupli_auth.adapters.audit import Asker
from tupli_auth.core.secrets import RANDOM_BYTES, SecretKind, is_secret, make_secret
from tupli_auth.http.forms import asker_of
from tupli_auth.http.pages import Cookie
from tupli_auth.http.problems import Refusal


@dataclass(frozen=True, slots=True)
class Visitor:
    """A browser: its cookie's secret, what its forms have to hold, and who is logged in with it."""

    secret: str
    is_new: bool
    csrf: str
    login: LoggedIn | None
    asker: Asker


class Visitors:
    """Knows browsers."""

    def __init__(self, means: Means, sign_in: SignIn, cookie: Cookie) -> None:
        self._means = means
        self._sign_in = sign_in
        self.cookie = cookie

    def of(self, request: Request) -> Visitor:
        """Whose request it is; blocks while the database is asked.

        Raises:
            Unavailable: The database does not answer.
        """
        kept = request.cookies.get(self.cookie.name, "")
        is_new = not is_secret(SecretKind.SESSION, kept)
        secret = make_secret(SecretKind.SESSION, self._means.random(RANDOM_BYTES)) if is_new else kept
        asker = asker_of(request)
        login = None if is_new else self._sign_in.find(secret, asker)
        return Visitor(secret, is_new, self._means.sealer.tag(f"csrf {secret}"), login, asker)

    def check(self, request: Request, visitor: Visitor, csrf: str) -> None:
        """See whether a form is one of ours, which this browser was given.

        Raises:
            Refusal: It is not: another site's, or of a login that is over.
        """
        origin = request.headers.get("origin")
        if origin is not None and origin != origin_of(self._means.issuer):
            raise Refusal(403, "foreign_origin", "the form is another site's")
        if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            raise Refusal(403, "foreign_origin", "the form is another site's")
        if visitor.is_new or not hmac.compare_digest(visitor.csrf.encode(), csrf.encode()):
            raise Refusal(403, "foreign_origin", "the form is of a login that is over: open the page again")


def origin_of(issuer: str) -> str:
    """Scheme, host and port of an issuer."""
    found = urlsplit(issuer)
    return f"{found.scheme}://{found.netloc}"
