"""The tables of accounts, clients and tokens, for SQLite and PostgreSQL alike.

Ids are UUIDs, times Unix milliseconds. No secret is kept: of tokens there is a hash. Texts have no length: what may be
how long is checked where it comes in, and no database cuts anything.
"""

import uuid
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

METADATA: Final = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class Id(TypeDecorator[bytes]):
    """16 bytes here, a UUID there."""

    impl = sa.Uuid
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Any) -> uuid.UUID | None:  # noqa: ARG002
        """To the database."""
        return None if value is None else uuid.UUID(bytes=value)

    def process_result_value(self, value: uuid.UUID | None, dialect: Any) -> bytes | None:  # noqa: ARG002
        """From the database."""
        return None if value is None else value.bytes


def _key(name: str, *more: Any) -> sa.Column[Any]:
    return sa.Column(name, *more, primary_key=True)


def _text(name: str, *more: Any, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, *more, nullable=nullable)


def _time(name: str, *, nullable: bool = False, index: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=nullable, index=index)


def _flag(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean, nullable=False)


def _of(target: str, *, cascade: bool = True) -> sa.ForeignKey:
    return sa.ForeignKey(target, ondelete="CASCADE" if cascade else None)


NAMES: Final = sa.Table(
    "names",
    METADATA,
    _key("folded", sa.Text),
    sa.Column("holder", Id, nullable=False, unique=True),
    comment="users and groups share one name space",
)
USERS: Final = sa.Table(
    "users",
    METADATA,
    _key("id", Id),
    _text("name"),
    _text("kind"),
    sa.Column("owner", Id, _of("users.id"), nullable=True, index=True),
    _text("password_hash", nullable=True),
    _time("password_set_at", nullable=True),
    _time("created_at"),
    sa.CheckConstraint("kind IN ('person', 'service')", name="kind"),
    sa.CheckConstraint("(kind = 'service') = (owner IS NOT NULL)", name="owner"),
)
GROUPS: Final = sa.Table(
    "groups",
    METADATA,
    _key("id", Id),
    _text("name"),
    _text("description"),
    sa.Column("created_by", Id, nullable=False),
    _time("created_at"),
)
ROLES: Final = sa.Table(
    "roles",
    METADATA,
    _key("name", sa.Text),
    _text("rights"),
    _text("description"),
    _flag("is_built_in"),
)
MEMBERSHIPS: Final = sa.Table(
    "memberships",
    METADATA,
    _key("member", Id, _of("users.id")),
    _key("scope", sa.Text),
    _key("role", sa.Text, _of("roles.name")),
    sa.Index("ix_memberships_scope", "scope"),
    comment="scope: 'global', or the id of a group",
)
CLIENTS: Final = sa.Table(
    "clients",
    METADATA,
    _key("id", sa.Text),
    _text("name"),
    sa.Column("secret_hash", sa.LargeBinary, nullable=True),
    _text("redirects"),
    _text("grants"),
    _text("scope"),
    sa.Column("acts_as", Id, _of("users.id"), nullable=True),
    _flag("may_introspect"),
    _flag("is_built_in"),
    _time("created_at"),
)
KEYS: Final = sa.Table(
    "signing_keys",
    METADATA,
    _key("kid", sa.Text),
    _text("private"),
    _time("created_at"),
    _time("signs_from"),
    _time("retired_at", nullable=True),
)
SESSIONS: Final = sa.Table(
    "sessions",
    METADATA,
    _key("hash", sa.LargeBinary),
    sa.Column("user", Id, _of("users.id"), nullable=False, index=True),
    _time("logged_in_at"),
    _time("seen_at"),
    _time("ends_at", index=True),
)
CODES: Final = sa.Table(
    "authorization_codes",
    METADATA,
    _key("hash", sa.LargeBinary),
    _text("client", _of("clients.id")),
    sa.Column("user", Id, _of("users.id"), nullable=False),
    _text("redirect"),
    _text("scope"),
    _text("challenge"),
    _text("nonce", nullable=True),
    _time("logged_in_at"),
    _time("ends_at", index=True),
    sa.Column("family", Id, nullable=True),
    comment="family: what the code was exchanged for",
)
FAMILIES: Final = sa.Table(
    "token_families",
    METADATA,
    _key("id", Id),
    _text("client", _of("clients.id")),
    sa.Column("user", Id, _of("users.id"), nullable=False, index=True),
    _text("scope"),
    _time("created_at"),
    _time("logged_in_at"),
    _time("ends_at", index=True),
    _time("revoked_at", nullable=True),
    _text("why", nullable=True),
    comment="a login of a client: all refresh tokens that came of one another",
)
REFRESH: Final = sa.Table(
    "refresh_tokens",
    METADATA,
    _key("hash", sa.LargeBinary),
    sa.Column("family", Id, _of("token_families.id"), nullable=False, index=True),
    _time("issued_at"),
    _time("ends_at", index=True),
    _time("used_at", nullable=True),
    sa.Column("nonce", sa.LargeBinary, nullable=True),
    comment="nonce: what the next one is made with, until that one is used",
)
PERSONAL: Final = sa.Table(
    "personal_tokens",
    METADATA,
    _key("family", Id, _of("token_families.id")),
    sa.Column("hash", sa.LargeBinary, nullable=False, unique=True),
    _text("name"),
    _time("used_at", nullable=True),
    comment="a personal access token is a family without refresh tokens",
)
DEVICES: Final = sa.Table(
    "device_codes",
    METADATA,
    _key("hash", sa.LargeBinary),
    _text("user_code"),
    _text("client", _of("clients.id")),
    _text("scope"),
    _text("address"),
    _time("ends_at", index=True),
    sa.Column("interval_s", sa.Integer, nullable=False),
    _time("polled_at", nullable=True),
    sa.Column("user", Id, _of("users.id"), nullable=True),
    _time("logged_in_at", nullable=True),
    _text("decision", nullable=True),
    sa.UniqueConstraint("user_code"),
    sa.CheckConstraint("decision IN ('allowed', 'denied')", name="decision"),
    comment="user_code: a mark of it that only who has the secret can make; address: who asks for the tokens",
)
SETUP_LINKS: Final = sa.Table(
    "setup_links",
    METADATA,
    _key("hash", sa.LargeBinary),
    sa.Column("user", Id, _of("users.id"), nullable=False, unique=True),
    _time("ends_at"),
    comment="who has the link sets the password of the user, once",
)
FAILURES: Final = sa.Table(
    "login_failures",
    METADATA,
    _key("source", sa.Text),
    sa.Column("failed", sa.Integer, nullable=False),
    _time("last_at", index=True),
    comment="source: a name at an address, or an address",
)
AUDIT: Final = sa.Table(
    "audit",
    METADATA,
    _key("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity()),
    _time("at", index=True),
    _text("what", nullable=False),
    sa.Column("actor", Id, nullable=True, index=True),
    sa.Column("about", Id, nullable=True),
    _text("client"),
    _text("address"),
    _text("request_id"),
    _text("details"),
)
