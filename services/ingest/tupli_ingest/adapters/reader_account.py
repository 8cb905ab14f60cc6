"""The account of the query service: it may read what queries read, within limits, and nothing else (DESIGN 10)."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final, Protocol, Self

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from tupli_schemas.tables import CONTROL_DATABASE, GENERATION_PREFIX

READER_GRANTS: Final = f"SELECT ON {CONTROL_DATABASE}.serving, SELECT ON {GENERATION_PREFIX}*.*"
"""The second one is of every generation's database, also of one that is made later, with its step tables."""


class Commands(Protocol):
    """Runs statements."""

    def command(self, sql: str) -> None:
        """Run a statement that answers nothing."""
        ...


class ReaderSettings(BaseSettings):
    """`TUPLI_CLICKHOUSE_READER_*`: the password of the reader's account, and its limits for one statement."""

    model_config = SettingsConfigDict(
        env_prefix="TUPLI_CLICKHOUSE_READER_", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    password: SecretStr = Field(min_length=12)
    max_seconds: int = Field(default=3_600, gt=0, description="also those in which a stream's reader is slow")
    max_memory_bytes: int = Field(default=4 * 1024**3, gt=0)
    max_rows_read: int = Field(default=10**11, gt=0)
    max_statements: int = Field(default=200, gt=0, description="at once")

    @classmethod
    def from_environment(cls) -> Self:
        """What the environment says.

        Raises:
            ValidationError: There is no password, or a figure is none.
        """
        return cls()  # type: ignore[call-arg]  # the environment has what is required

    def constraints(self) -> dict[str, int]:
        """The engine's settings that the account cannot change."""
        return {
            "max_execution_time": self.max_seconds,
            "max_memory_usage": self.max_memory_bytes,
            "max_rows_to_read": self.max_rows_read,
            "max_concurrent_queries_for_user": self.max_statements,
        }


@dataclass(frozen=True, slots=True)
class ReaderAccount:
    """An account's name, and the password as the store keeps it: a salted SHA-256, never the password itself."""

    name: str
    password_sha256: str
    salt: str

    @classmethod
    def of(cls, name: str, password: SecretStr) -> Self:
        """The account of a name that is one word of letters, digits and underscores, with a salt of its own."""
        salt = secrets.token_hex(16)
        digest = hashlib.sha256((password.get_secret_value() + salt).encode()).hexdigest()
        return cls(name, digest, salt)

    def statements(self, constraints: dict[str, int]) -> list[str]:
        """What makes the account, or brings the one that is there to this version, without a moment in between.

        `readonly = 2` lets a statement choose settings that are not constrained, as ours do.
        """
        user, profile = f"`{self.name}`", f"`{self.name}_limits`"
        limits = ", ".join(f"{name} = {value} READONLY" for name, value in constraints.items())
        identified = f"IDENTIFIED WITH sha256_hash BY '{self.password_sha256}' SALT '{self.salt}'"
        return [
            f"CREATE SETTINGS PROFILE IF NOT EXISTS {profile}",
            f"ALTER SETTINGS PROFILE {profile} SETTINGS readonly = 2, {limits}",
            f"CREATE USER IF NOT EXISTS {user} {identified} SETTINGS PROFILE {profile}",
            f"ALTER USER {user} {identified} SETTINGS PROFILE {profile}",
            f"GRANT {READER_GRANTS} TO {user} WITH REPLACE OPTION",
        ]

    def make(self, commands: Commands, constraints: dict[str, int]) -> None:
        """Make it. Safe to repeat, at once too.

        Raises:
            StoreUnavailable: It failed; what ran has run.
        """
        for sql in self.statements(constraints):
            commands.command(sql)
