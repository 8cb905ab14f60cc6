"""Somebody answers a device that waits for tokens."""

from dataclasses import dataclass

from tupli_auth.accounts.sign_in import LoggedIn, TooManyTries
from tupli_auth.accounts.work import Office, Work
from tupli_auth.adapters.audit import Asker
from tupli_auth.adapters.clients import Client
from tupli_auth.adapters.devices import Device
from tupli_auth.core.errors import Refused
from tupli_auth.core.throttle import wait_s
from tupli_auth.core.user_codes import mark, typed


class NoSuchCode(Refused):
    """No device shows this code, or its time is over, or somebody has answered it."""


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody is asked: which program, for what, and from where it asks."""

    client: Client
    scope: frozenset[str]
    address: str


class DeviceAnswers:
    """Looks codes up, a few wrong ones at most, and notes answers."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def question(self, user_code: str, login: LoggedIn, asker: Asker) -> Question:
        """What the device of a code asks for.

        Raises:
            NoSuchCode: There is none.
            TooManyTries: This person typed too many wrong ones; nothing was looked up.
        """
        with self._office.work(asker) as work:
            device = self._find(work, user_code, login)
            client = None if device is None else work.clients.by_id(device.client)
            if device is not None and client is not None:
                return Question(client, device.scope, device.address)
        raise NoSuchCode("no device shows this code now")

    def answer(self, user_code: str, login: LoggedIn, asker: Asker, *, may: bool) -> None:
        """Let a device have its tokens, or not.

        Raises:
            NoSuchCode, TooManyTries: As `question`.
        """
        with self._office.work(asker) as work:
            device = self._find(work, user_code, login)
            if device is not None:
                work.devices.decide(device, login.user.id, login.session.logged_in_at, may=may)
                what = "device allowed" if may else "device refused"
                work.audit.note(
                    what, actor=login.user.id, client_id=device.client, device_address=device.address
                )
                return
        raise NoSuchCode("no device shows this code now")

    def _find(self, work: Work, user_code: str, login: LoggedIn) -> Device | None:
        """The device; a wrong code is counted, in this transaction, which is therefore not undone."""
        source = f"device {login.user.id.hex()}"
        if wait := wait_s(work.failures.of([source], work.now_ms), work.now_ms):
            raise TooManyTries("too many wrong codes", wait)
        found = None
        if typed(user_code) is not None:
            found = work.devices.of_user_code(mark(work.means.sealer.tag, user_code), work.now_ms)
        if found is None:
            work.failures.add(source, work.now_ms)
        return found
