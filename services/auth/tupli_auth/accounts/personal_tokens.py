"""Personal access tokens: made, listed and revoked by whose they are."""

from typing import Final

from tupli_auth.accounts.sign_in import LoggedIn
from tupli_auth.accounts.work import DAY_MS, Office
from tupli_auth.adapters.audit import Asker
from tupli_auth.adapters.clients import CLI
from tupli_auth.adapters.grants import Family
from tupli_auth.adapters.personal_tokens import PersonalToken
from tupli_auth.core.errors import Refused
from tupli_auth.core.secrets import RANDOM_BYTES, SecretKind, hash_of, make_secret
from tupli_schemas.access import CONTENT_REACH

MAX_DAYS: Final = 366
MAX_NAME: Final = 100
MAX_TOKENS: Final = 100


class TokenNotMade(Refused):
    """A token that may not be made; the message says why."""


class PersonalTokenDesk:
    """Hands out personal access tokens. They never mint tokens of their kind, nor change accounts."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def make(self, login: LoggedIn, name: str, scope: frozenset[str], days: int, asker: Asker) -> str:
        """A new token, which nobody can be shown again.

        Raises:
            TokenNotMade: It has no name, no scope or one that tokens of programs do not have, or holds too long.
        """
        if not 1 <= len(name) <= MAX_NAME or not name.isprintable() or not name.strip():
            raise TokenNotMade(f"a token has a name of 1 to {MAX_NAME} characters")
        if not scope or not scope <= CONTENT_REACH:
            raise TokenNotMade(f"a token is for some of {', '.join(sorted(CONTENT_REACH))}")
        if not 1 <= days <= MAX_DAYS:
            raise TokenNotMade(f"a token holds for 1 to {MAX_DAYS} days")
        means = self._office.means
        secret, family = make_secret(SecretKind.PERSONAL, means.random(RANDOM_BYTES)), means.new_id()
        with self._office.work(asker) as work:
            if len(work.personal_tokens.of(login.user.id, work.now_ms)) >= MAX_TOKENS:
                raise TokenNotMade(f"nobody has more than {MAX_TOKENS} tokens: revoke one")
            ends_at = work.now_ms + days * DAY_MS
            work.grants.begin(
                Family(family, CLI, login.user.id, scope, login.session.logged_in_at, ends_at), work.now_ms
            )
            work.personal_tokens.keep(family, hash_of(secret), name)
            work.audit.note(
                "personal token made", actor=login.user.id, about=family, scope=" ".join(sorted(scope))
            )
        return secret

    def list(self, login: LoggedIn, asker: Asker) -> list[PersonalToken]:
        """One's tokens that hold."""
        with self._office.look(asker) as work:
            return work.personal_tokens.of(login.user.id, work.now_ms)

    def revoke(self, login: LoggedIn, family: bytes, asker: Asker) -> bool:
        """End one of one's own tokens; whether there was one."""
        with self._office.work(asker) as work:
            own = {token.family for token in work.personal_tokens.of(login.user.id, work.now_ms)}
            if family not in own or not work.grants.revoke(family, "revoked by its owner", work.now_ms):
                return False
            work.audit.note("personal token revoked", actor=login.user.id, about=family)
            return True
