"""The first start: roles, clients, the administrator, and the link by which he sets his password."""

from dataclasses import dataclass
from typing import Final

from tupli_auth.accounts.work import Office
from tupli_auth.adapters.audit import Asker
from tupli_auth.adapters.beginning import First, begin
from tupli_auth.adapters.hashing import Passwords
from tupli_auth.core.errors import Refused
from tupli_auth.core.passwords import PasswordRules
from tupli_auth.core.secrets import RANDOM_BYTES, SecretKind, hash_of, is_secret, make_secret

LINK_MS: Final = 24 * 3_600 * 1_000


class NoSuchLink(Refused):
    """A link that was used, is over, or never was."""


@dataclass(frozen=True, slots=True)
class Administrator:
    """How the first one is called; without a password he sets it by a link."""

    name: str
    password: str | None = None


class SetUp:
    """What is done once."""

    def __init__(self, office: Office, passwords: Passwords, rules: PasswordRules) -> None:
        self._office = office
        self._passwords = passwords
        self._rules = rules

    def begin(self, first: Administrator) -> str | None:
        """See to it that everything is there; the link that sets the administrator's password, as long as he has none.

        Of several processes that begin at once one makes him.

        Raises:
            NameRefused: His name is none.
            PasswordRefused: His password is none that may be set.
        """
        means = self._office.means
        password = first.password
        kept = (
            None
            if password is None
            else self._passwords.hash(self._rules.check(password, first.name, "tupli"))
        )
        with self._office.alone(Asker()) as work:
            was_made = begin(
                work.connection, First(means.new_id(), first.name, kept), means.issuer, work.now_ms
            )
            user = work.people.by_name(first.name)
            if user is not None and was_made:
                work.audit.note("administrator made", about=user.id)
            if user is None or user.password_hash is not None:
                return None
            link = make_secret(SecretKind.SETUP, means.random(RANDOM_BYTES))
            work.setup_links.make(hash_of(link), user.id, work.now_ms + LINK_MS)
        return f"{means.issuer}/setup?link={link}"

    def is_open(self, link: str, asker: Asker) -> bool:
        """Whether a link may be used."""
        if not is_secret(SecretKind.SETUP, link):
            return False
        with self._office.look(asker) as work:
            return work.setup_links.find(hash_of(link), work.now_ms) is not None

    def use(self, link: str, password: str, asker: Asker) -> None:
        """Set a password by a link.

        Raises:
            NoSuchLink: It was used, is over, or never was; nothing is set.
            PasswordRefused: The password may not be set; the link stays.
            Busy: Too many passwords are being hashed.
        """
        if not self.is_open(link, asker):
            raise NoSuchLink("this link was used already, or its time is over")
        with self._office.look(asker) as work:
            found = work.setup_links.find(hash_of(link), work.now_ms)
            user = None if found is None else work.user(found)
        name = "" if user is None else user.name
        kept = self._passwords.hash(self._rules.check(password, name, "tupli"))
        with self._office.work(asker) as work:
            whose = work.setup_links.use(hash_of(link), work.now_ms)
            if whose is None:
                raise NoSuchLink("this link was used already, or its time is over")
            work.people.set_password(whose, kept, work.now_ms)
            work.audit.note("password set by a link", actor=whose)
