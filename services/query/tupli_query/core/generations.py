"""Which generation of the store serves."""

from dataclasses import dataclass, field
from typing import Final

from tupli_query.core.reader import ReaderFailed, StoreReader
from tupli_schemas.tables import CONTROL_DATABASE, generation_database


@dataclass(frozen=True, slots=True)
class OwnStatement:
    """A statement without a caller in it."""

    text: str
    params: dict[str, str] = field(default_factory=dict)


SERVING: Final = OwnStatement(
    f"SELECT generation FROM {CONTROL_DATABASE}.serving FINAL ORDER BY version DESC LIMIT 1"  # noqa: S608 -- our own name
)


def serving_database(reader: StoreReader) -> str:
    """The database of the serving generation, asked for once a query.

    Raises:
        ReaderFailed: The store does not answer, or has no generation yet.
    """
    rows = reader.select(SERVING)
    if not rows:
        raise ReaderFailed("no generation serves yet")
    return generation_database(int(rows[0]["generation"]))
