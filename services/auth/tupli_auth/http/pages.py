"""Pages for people: made here, without a script, and shown in no frame."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from tupli_schemas.ids import id_text

COOKIE_SECONDS: Final = 24 * 3_600
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with less, browsers send no Origin that could be compared
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Cookie:
    """The one cookie: a secret that says which login it is, or only which browser.

    `__Host-` binds it to this host and to TLS (RFC 6265bis section 4.1.3.2); browsers count the machine itself as that.
    """

    name: str
    is_secure: bool

    def set_on(self, response: Response, secret: str) -> None:
        """Have the browser keep it."""
        response.set_cookie(
            self.name,
            secret,
            max_age=COOKIE_SECONDS,
            path="/",
            secure=self.is_secure,
            httponly=True,
            samesite="lax",
        )


def cookie_of(issuer: str, *, is_insecure: bool) -> Cookie:
    """The cookie of a deployment; where somebody runs it without TLS, by name, it cannot be bound to TLS."""
    is_secure = not (is_insecure and urlsplit(issuer).scheme == "http")
    return Cookie("__Host-tupli" if is_secure else "tupli-insecure", is_secure)


class Pages:
    """Renders templates."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("tupli_auth.http"),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
        )
        self._templates.filters |= {"day": day_of, "id": id_text}

    def show(self, page: str, status: int = 200, *, leads_to: str = "", **values: Any) -> Response:
        """A page; `leads_to` is the address that its form may in the end be redirected to."""
        content = self._templates.get_template(f"{page}.html").render(**values)
        response = Response(content, status, dict(_HEADERS), "text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = _policy(leads_to)
        return response

    def style(self) -> Response:
        """The pages' one style sheet."""
        content = self._templates.get_template("style.css").render()
        return Response(content, headers={"Cache-Control": "public, max-age=3600"}, media_type="text/css")


def _policy(leads_to: str) -> str:
    forms = "'self'"
    if leads_to:
        found = urlsplit(leads_to)
        forms += f" {found.scheme}://{found.netloc}"
    return (
        f"default-src 'none'; style-src 'self'; form-action {forms}; base-uri 'none'; frame-ancestors 'none'"
    )


def day_of(time_ms: int) -> str:
    """The day of a time, in UTC."""
    return datetime.fromtimestamp(time_ms / 1_000, UTC).date().isoformat()
