"""ClickHouse migrations: numbered files, run once per database, in order, and remembered in its ledger."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Final, Protocol

from tupli_schemas.tables import CONTROL_DATABASE

_LEDGER: Final = (
    "CREATE TABLE IF NOT EXISTS {database}.migrations (name String, applied_at DateTime DEFAULT now())"
    " ENGINE = ReplacingMergeTree ORDER BY name SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
)


class Statements(Protocol):
    """Runs statements; `column` gives the first column of a query's rows."""

    def command(self, sql: str) -> None:
        """Run a statement that answers nothing."""

    def column(self, sql: str) -> list[str]:
        """The first column of the answer."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One change. `scope` says for which databases it is meant: `control` or `generation`."""

    name: str
    scope: str
    sql: str


def migrations() -> list[Migration]:
    """All migrations, in order.

    Raises:
        ValueError: A file names no scope, or two have the same number.
    """
    found = sorted(_read_all(), key=lambda migration: migration.name)
    numbers = [migration.name.partition("_")[0] for migration in found]
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"two migrations have one number: {numbers}")
    return found


def migrate(statements: Statements, database: str, scope: str) -> list[str]:
    """Bring a database up to date; the names of the migrations that were applied now. Safe to repeat."""
    statements.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    statements.command(_LEDGER.replace("{database}", database))
    applied = set(statements.column(f"SELECT name FROM {database}.migrations"))  # noqa: S608 -- our names
    new = [m for m in migrations() if m.scope == scope and m.name not in applied]
    for migration in new:
        sql = migration.sql.replace("{database}", database).replace("{control}", CONTROL_DATABASE)
        statements.command(sql)
        statements.command(f"INSERT INTO {database}.migrations (name) VALUES ('{migration.name}')")  # noqa: S608 -- our names
    return [m.name for m in new]


def _read_all() -> Iterator[Migration]:
    for file in (resources.files("tupli_schemas") / "clickhouse").iterdir():
        if not file.name.endswith(".sql"):
            continue
        lines = file.read_text(encoding="utf-8").splitlines()
        scopes = [line.removeprefix("-- scope:").strip() for line in lines if line.startswith("-- scope:")]
        if scopes not in (["control"], ["generation"]):
            raise ValueError(f"{file.name} names no scope")
        sql = "\n".join(line for line in lines if not line.startswith("--")).strip().removesuffix(";")
        yield Migration(file.name.removesuffix(".sql"), scopes[0], sql)
