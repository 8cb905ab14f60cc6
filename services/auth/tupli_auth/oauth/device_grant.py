"""The device code grant (RFC 8628): for a terminal without a browser."""

from dataclasses import dataclass
from typing import Any, Final

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidScopeError, UnauthorizedClientError
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE, DeviceAuthorizationEndpoint, DeviceCodeGrant

from tupli_auth.accounts.work import Login, Work
from tupli_auth.adapters.devices import ALLOWED, Device
from tupli_auth.adapters.people import User
from tupli_auth.core.scopes import granted, text_of
from tupli_auth.core.secrets import RANDOM_BYTES, SecretKind, hash_of, is_secret, make_secret
from tupli_auth.core.user_codes import make_user_code, mark
from tupli_auth.oauth.models import ALL_METHODS

ENDS_S: Final = 600
INTERVAL_S: Final = 5
SLOWER_S: Final = 5
"""Who asks too soon waits so much longer from then on (RFC 8628 section 3.5)."""


class DeviceEndpoint(DeviceAuthorizationEndpoint):
    """Gives a device its two codes. Authlib's hold for half an hour."""

    CLIENT_AUTH_METHODS = ALL_METHODS
    EXPIRES_IN = ENDS_S
    INTERVAL = INTERVAL_S

    def authenticate_client(self, request: Any) -> Any:
        """The client.

        Raises:
            UnauthorizedClientError: It may not use this grant: Authlib would find out later only.
            InvalidScopeError: It may not ask for that.
        """
        client: Any = super().authenticate_client(request)  # type: ignore[no-untyped-call]
        if not client.check_grant_type(DEVICE_CODE_GRANT_TYPE):
            raise UnauthorizedClientError("the client may not use device codes")
        if granted(request.payload.scope, client.client.scope) is None:
            raise InvalidScopeError
        return client

    def generate_user_code(self) -> str:
        """What somebody types."""
        return make_user_code(self.server.work.means.random(16))

    def generate_device_code(self) -> str:
        """What the device asks with."""
        return make_secret(SecretKind.DEVICE, self.server.work.means.random(RANDOM_BYTES))

    def get_verification_uri(self) -> str:
        """Where it is typed."""
        return f"{self.server.work.means.issuer}/device"

    def save_device_credential(self, client_id: Any, scope: Any, data: Any) -> None:
        """Keep what the two codes stand for."""
        work: Work = self.server.work
        client = work.clients.by_id(client_id)
        most = frozenset[str]() if client is None else client.scope
        work.devices.keep(
            Device(
                hash=hash_of(data["device_code"]),
                user_code=mark(work.means.sealer.tag, data["user_code"]),
                client=client_id,
                scope=granted(scope, most) or frozenset(),
                address=work.asker.address,
                ends_at=work.now_ms + ENDS_S * 1_000,
                interval_s=INTERVAL_S,
            )
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """A device that asks for its tokens, as Authlib asks it."""

    device: Device
    now_ms: int

    def get_client_id(self) -> str:
        """Whose it is."""
        return self.device.client

    def get_scope(self) -> str:
        """What was asked for."""
        return text_of(self.device.scope)

    def get_user_code(self) -> bytes:
        """What the answer is found by: the row itself, which has it."""
        return self.device.hash

    def is_expired(self) -> bool:
        """Whether its time is over."""
        return self.device.ends_at <= self.now_ms


class DeviceGrant(DeviceCodeGrant):
    """Gives a device its tokens, once somebody has allowed it, and once only."""

    TOKEN_ENDPOINT_AUTH_METHODS: Any = ALL_METHODS

    @property
    def _work(self) -> Work:
        work: Work = self.server.work
        return work

    def query_device_credential(self, device_code: str) -> Any:
        """The device.

        Raises:
            InvalidGrantError: There is none that waits: Authlib would say that the request means nothing.
        """
        found = None
        if is_secret(SecretKind.DEVICE, device_code):
            found = self._work.devices.take(hash_of(device_code))
        if found is None:
            raise InvalidGrantError("Invalid 'device_code' in request.")
        return Waiting(found, self._work.now_ms)

    def query_user_grant(self, user_code: Any) -> Any:
        """Who answered, and what; None while nobody has."""
        work = self._work
        device = work.devices.take(user_code)
        if device is None or device.user is None or device.decision is None:
            return None
        work.login = Login(work.means.new_id(), device.logged_in_at)
        user: User | None = work.user(device.user)
        work.devices.forget(device.hash)
        return user, device.decision == ALLOWED and user is not None

    def should_slow_down(self, credential: Any) -> bool:
        """Whether it asks sooner than it may; it waits longer from then on."""
        work, device = self._work, credential.device
        is_early = device.polled_at is not None and work.now_ms < device.polled_at + device.interval_s * 1_000
        work.devices.polled(device, work.now_ms, interval_s=device.interval_s + (SLOWER_S if is_early else 0))
        return is_early
