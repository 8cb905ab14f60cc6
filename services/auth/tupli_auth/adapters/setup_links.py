"""Links that set somebody's password, once, in a transaction."""

import sqlalchemy as sa

from tupli_auth.adapters.tables import SETUP_LINKS


class SetupLinks:
    """The links that were made and not used."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def make(self, link_hash: bytes, user: bytes, ends_at: int) -> None:
        """Keep a link in the place of the user's earlier one."""
        self._connection.execute(sa.delete(SETUP_LINKS).where(SETUP_LINKS.c.user == user))
        self._connection.execute(sa.insert(SETUP_LINKS).values(hash=link_hash, user=user, ends_at=ends_at))

    def find(self, link_hash: bytes, now_ms: int) -> bytes | None:
        """Whose link it is; None when there is none, or its time is over."""
        where = (SETUP_LINKS.c.hash == link_hash) & (SETUP_LINKS.c.ends_at > now_ms)
        found: bytes | None = self._connection.execute(sa.select(SETUP_LINKS.c.user).where(where)).scalar()
        return found

    def use(self, link_hash: bytes, now_ms: int) -> bytes | None:
        """Whose link it is; it is gone then."""
        user = self.find(link_hash, now_ms)
        gone = self._connection.execute(sa.delete(SETUP_LINKS).where(SETUP_LINKS.c.hash == link_hash))
        return user if gone.rowcount else None
