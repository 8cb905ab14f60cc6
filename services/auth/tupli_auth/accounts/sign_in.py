"""Logging in with name and password, and out."""

from dataclasses import dataclass
from typing import Final

from tupli_auth.accounts.work import Office, Work
from tupli_auth.adapters.audit import Asker
from tupli_auth.adapters.hashing import Passwords
from tupli_auth.adapters.people import User
from tupli_auth.adapters.sessions import Session
from tupli_auth.core.errors import Busy, Refused
from tupli_auth.core.names import folded
from tupli_auth.core.secrets import RANDOM_BYTES, SecretKind, hash_of, is_secret, make_secret
from tupli_auth.core.throttle import sources, wait_s

SEEN_MS: Final = 60_000
"""That somebody is there is noted this often."""


class WrongCredentials(Refused):
    """There is nobody of this name and this password; which of them is wrong is not said."""


class TooManyTries(Busy):
    """Somebody tried too often: the next try is taken later."""


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """How long a login on the pages holds."""

    idle_ms: int = 8 * 3_600 * 1_000
    ends_ms: int = 24 * 3_600 * 1_000


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Who is logged in, and since when (Unix milliseconds)."""

    user: User
    session: Session


class SignIn:
    """Opens and closes logins."""

    def __init__(self, office: Office, passwords: Passwords, times: SessionTimes) -> None:
        self._office = office
        self._passwords = passwords
        self._times = times

    def log_in(self, name: str, password: str, asker: Asker) -> str:
        """The secret of a new login, for a cookie.

        Raises:
            WrongCredentials: Nobody has this name and this password.
            TooManyTries: There were too many failures; nothing was tried.
            Busy: Too many passwords are being hashed.
            Unavailable: The database does not answer.
        """
        tried_by = sources(folded(name), asker.address)
        with self._office.look(asker) as work:
            found = work.failures.of(tried_by, work.now_ms)
            if wait := wait_s(found, work.now_ms):
                raise TooManyTries("too many tries failed", wait)
            user = work.people.by_name(name)
        kept = None if user is None else user.password_hash
        is_right = self._passwords.is_right(password, kept)
        if user is None or kept is None or not is_right:
            with self._office.work(asker) as work:
                for source in tried_by:
                    work.failures.add(source, work.now_ms)
                work.audit.note("login failed", about=None if user is None else user.id)
            raise WrongCredentials("name or password is wrong")
        anew = self._passwords.hash(password) if self._passwords.is_outdated(kept) else None
        with self._office.work(asker) as work:
            return self._begin(work, user, tried_by[0], anew)

    def find(self, secret: str | None, asker: Asker) -> LoggedIn | None:
        """Whose login a cookie is; None for nobody's.

        Raises:
            Unavailable: The database does not answer.
        """
        if secret is None or not is_secret(SecretKind.SESSION, secret):
            return None
        with self._office.look(asker) as work:
            found, now_ms = self.found_in(work, secret), work.now_ms
        if found is not None and found.session.seen_at < now_ms - SEEN_MS:
            with self._office.work(asker) as work:
                work.sessions.seen(found.session.hash, now_ms)
        return found

    def found_in(self, work: Work, secret: str) -> LoggedIn | None:
        """`find`, within a transaction."""
        session = work.sessions.find(hash_of(secret), work.now_ms, self._times.idle_ms)
        user = None if session is None else work.user(session.user)
        return None if session is None or user is None else LoggedIn(user, session)

    def log_out(self, secret: str, asker: Asker) -> None:
        """End a login. Tokens that it gave stay; their clients revoke them."""
        with self._office.work(asker) as work:
            found = self.found_in(work, secret)
            if found is not None:
                work.sessions.end(found.session.hash)
                work.audit.note("logout", actor=found.user.id)

    def _begin(self, work: Work, user: User, source: str, anew: str | None) -> str:
        now = work.user(user.id)
        if now is None or now.password_hash != user.password_hash:
            raise WrongCredentials("name or password is wrong")  # it was changed a moment ago
        if anew is not None:
            work.people.set_password(user.id, anew)
        work.failures.forget(source)
        secret = make_secret(SecretKind.SESSION, work.means.random(RANDOM_BYTES))
        work.sessions.begin(
            Session(hash_of(secret), user.id, work.now_ms, work.now_ms), work.now_ms + self._times.ends_ms
        )
        work.audit.note("login", actor=user.id)
        return secret
