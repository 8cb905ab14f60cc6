"""Device codes (RFC 8628), in a transaction."""

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from tupli_auth.adapters.tables import DEVICES

ALLOWED: Final = "allowed"
DENIED: Final = "denied"


@dataclass(frozen=True, slots=True)
class Device:
    """A device that waits for somebody's answer; times in Unix milliseconds.

    `user_code` is a mark of the code (`Sealer.tag`), `address` where the device asked from.
    """

    hash: bytes
    user_code: str
    client: str
    scope: frozenset[str]
    address: str
    ends_at: int
    interval_s: int
    polled_at: int | None = None
    user: bytes | None = None
    logged_in_at: int | None = None
    decision: str | None = None


class Devices:
    """The devices that wait. A row that is taken is locked until the transaction ends."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def keep(self, device: Device) -> None:
        """Keep a device that begins to wait."""
        self._connection.execute(
            sa.insert(DEVICES).values(
                hash=device.hash,
                user_code=device.user_code,
                client=device.client,
                scope=" ".join(sorted(device.scope)),
                address=device.address,
                ends_at=device.ends_at,
                interval_s=device.interval_s,
            )
        )

    def take(self, device_hash: bytes) -> Device | None:
        """A device by its code."""
        return self._one(DEVICES.c.hash == device_hash)

    def of_user_code(self, user_code: str, now_ms: int) -> Device | None:
        """The device that shows this code, when nobody has answered it and its time is not over."""
        undecided = DEVICES.c.decision.is_(None) & (DEVICES.c.ends_at > now_ms)
        return self._one((DEVICES.c.user_code == user_code) & undecided)

    def decide(self, device: Device, user: bytes, logged_in_at: int, *, may: bool) -> None:
        """Note what somebody answered."""
        values = {"user": user, "logged_in_at": logged_in_at, "decision": ALLOWED if may else DENIED}
        self._connection.execute(sa.update(DEVICES).where(DEVICES.c.hash == device.hash).values(values))

    def polled(self, device: Device, now_ms: int, *, interval_s: int) -> None:
        """Note that a device asked, and how long it has to wait from now on."""
        values = {"polled_at": now_ms, "interval_s": interval_s}
        self._connection.execute(sa.update(DEVICES).where(DEVICES.c.hash == device.hash).values(values))

    def forget(self, device_hash: bytes) -> None:
        """Its tokens were issued, or nobody lets it have any."""
        self._connection.execute(sa.delete(DEVICES).where(DEVICES.c.hash == device_hash))

    def forget_what_is_over(self, now_ms: int) -> None:
        """Remove devices that nobody answered in time."""
        self._connection.execute(sa.delete(DEVICES).where(DEVICES.c.ends_at < now_ms - 3_600_000))

    def _one(self, where: sa.ColumnElement[bool]) -> Device | None:
        row = self._connection.execute(sa.select(DEVICES).where(where).with_for_update()).first()
        if row is None:
            return None
        return Device(
            row.hash,
            row.user_code,
            row.client,
            frozenset(row.scope.split()),
            row.address,
            row.ends_at,
            row.interval_s,
            row.polled_at,
            row.user,
            row.logged_in_at,
            row.decision,
        )
