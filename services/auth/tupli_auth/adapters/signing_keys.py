"""The keys that sign access tokens: ES256, kept in the database, published as a JWK Set (RFC 7517).

A key is published before it signs, so that whoever verifies knows it by then, and for as long after it was retired as
anything that it signed is valid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import sqlalchemy as sa
from joserfc.jwk import ECKey

from tupli_auth.adapters.sealing import Sealer
from tupli_auth.adapters.tables import KEYS
from tupli_auth.core.errors import Bug
from tupli_schemas.signed import ALGORITHM, CURVE

_MEMBERS: Final = ("kty", "crv", "x", "y", "d")
_SEALED_AS: Final = "signing key "


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key; `private` signs, and is told nobody. Times are Unix milliseconds."""

    kid: str
    private: ECKey
    signs_from: int
    retired_at: int | None

    def public(self) -> dict[str, Any]:
        """The member of a JWK Set that verifies what this key signed."""
        return {
            **{name: self.private.as_dict(private=False)[name] for name in _MEMBERS if name != "d"},
            "kid": self.kid,
            "use": "sig",
            "alg": ALGORITHM,
        }


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """How long a key is published before it signs, for how long it signs, and for how long it is kept afterwards."""

    ahead_ms: int = 24 * 3_600 * 1_000
    signs_ms: int = 90 * 24 * 3_600 * 1_000
    kept_ms: int = 24 * 3_600 * 1_000


class SigningKeys:
    """The keys of a deployment, in a transaction; sealed where they are kept."""

    def __init__(self, connection: sa.Connection, sealer: Sealer) -> None:
        self._connection = connection
        self._sealer = sealer

    def all(self) -> list[SigningKey]:
        """All keys, the one that signs longest first.

        Raises:
            UnfitSetting: They were sealed with another secret.
        """
        rows = self._connection.execute(sa.select(KEYS).order_by(KEYS.c.signs_from, KEYS.c.kid))
        return [SigningKey(row.kid, self._opened(row), row.signs_from, row.retired_at) for row in rows]

    def tend(self, now_ms: int, times: KeyTimes) -> bool:
        """Do what is due: make the first key, or the next one, and forget what verifies nothing any more; whether it did.

        The next key is published `ahead_ms` before the one that signs has had its time.
        """
        forgotten = self._connection.execute(
            sa.delete(KEYS).where(KEYS.c.retired_at.is_not(None), KEYS.c.retired_at < now_ms - times.kept_ms)
        )
        keys = [key for key in self.all() if key.retired_at is None]
        if not keys:
            self._add(now_ms, signs_from=now_ms)
            return True
        due = [key for key in keys if key.signs_from <= now_ms]
        for key in due[:-1]:
            self._retire(key.kid, now_ms)
        newest = keys[-1]
        if newest.signs_from + times.signs_ms - times.ahead_ms <= now_ms:
            self._add(now_ms, signs_from=now_ms + times.ahead_ms)
            return True
        return bool(due[:-1]) or forgotten.rowcount > 0

    def rotate(self, now_ms: int, *, ahead_ms: int) -> str:
        """A new key, which signs from `ahead_ms` on in the place of all others; its id."""
        return self._add(now_ms, signs_from=now_ms + ahead_ms)

    def revoke(self, kid: str) -> bool:
        """Forget a key at once: nothing that it signed is valid any more. Whether there was one."""
        return self._connection.execute(sa.delete(KEYS).where(KEYS.c.kid == kid)).rowcount > 0

    def _retire(self, kid: str, now_ms: int) -> None:
        self._connection.execute(sa.update(KEYS).where(KEYS.c.kid == kid).values(retired_at=now_ms))

    def _add(self, now_ms: int, *, signs_from: int) -> str:
        key = ECKey.generate_key(CURVE, private=True)
        kid = key.thumbprint()
        private = orjson.dumps({name: key.as_dict(private=True)[name] for name in _MEMBERS})
        sealed = self._sealer.seal(private, _SEALED_AS + kid)
        self._connection.execute(
            sa.insert(KEYS).values(kid=kid, private=sealed, created_at=now_ms, signs_from=signs_from)
        )
        return kid

    def _opened(self, row: Any) -> ECKey:
        return ECKey.import_key(orjson.loads(self._sealer.open(row.private, _SEALED_AS + row.kid)))


def signing(keys: Sequence[SigningKey], now_ms: int) -> SigningKey:
    """The key that signs now: the newest that may.

    Raises:
        Bug: There is none: nobody tended them.
    """
    may = [key for key in keys if key.signs_from <= now_ms and key.retired_at is None]
    if not may:
        raise Bug("there is no key that signs")
    return may[-1]
