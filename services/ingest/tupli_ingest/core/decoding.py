"""Log records as the assembler takes them: decoded, and checked as far as one record can be."""

from dataclasses import dataclass

from tupli_ingest.core.rows import Rows, parse_layout, rows_of
from tupli_schemas.errors import ContractError, EventError
from tupli_schemas.events import (
    EpisodeAmended,
    EpisodeEnded,
    EpisodeStarted,
    Event,
    StepsRecorded,
    decode_event,
    decode_rows,
)
from tupli_schemas.records import Record
from tupli_schemas.values import from_tagged

MAX_SLOT = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Checked:
    """An event that is valid in itself, and its rows if it has any."""

    event: Event
    rows: Rows | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One record: its event, the rows of that if it has any, or the reason why it is none (`error`)."""

    record: Record
    event: Event | None = None
    rows: Rows | None = None
    error: str = ""

    @property
    def offset(self) -> int:
        """The record's place in its partition."""
        return self.record.position.offset

    @property
    def ordinals(self) -> list[int]:
        """The episodes that the record is about."""
        if self.rows is not None:
            return [group.ordinal for group in self.rows.groups]
        if self.event is None or isinstance(self.event, StepsRecorded):
            return []
        return [self.event.episode]


def decode_record(record: Record, known: Checked | None = None) -> Item:
    """The item of a record; never raises for what a record holds.

    `known` is what its payload is known to hold.
    """
    if record.error:
        return Item(record, error=record.error)
    if known is not None and known.event.stream == record.key:
        return Item(record, known.event, known.rows)
    try:
        event = decode_event(record.payload)
        if event.stream != record.key:
            raise EventError("is not the record's key", place="stream")
        if isinstance(event, StepsRecorded):
            return Item(record, event, decode_steps(event))
        check_values(event)
    except ContractError as error:
        return Item(record, error=str(error))
    return Item(record, event)


def decode_steps(event: StepsRecorded, place: str = "") -> Rows:
    """The rows of an event.

    Raises:
        ContractError: They are not what the event says, or do not hold together.
    """
    where = f"{place}.rows" if place else "rows"
    layout = parse_layout(event.layout)
    batch = decode_rows(event.body, layout, place=where)
    return rows_of(batch, layout, event.first, event.last, where)


def check_values(event: EpisodeStarted | EpisodeEnded | EpisodeAmended, place: str = "") -> None:
    """Check the values in the head of an event.

    Raises:
        ContractError: A value cannot be decoded, or does not fit its column.
    """
    prefix = f"{place}." if place else ""
    names = ("options", "reset_info", "metadata") if isinstance(event, EpisodeStarted) else ("metadata",)
    for name in names:
        try:
            from_tagged(getattr(event, name))
        except ContractError as error:
            raise EventError(f"cannot be decoded ({error})", place=f"{prefix}{name}") from error
    if isinstance(event, EpisodeStarted):
        if event.slot > MAX_SLOT:
            raise EventError(f"{event.slot} is above {MAX_SLOT}", place=f"{prefix}slot")
        if event.benchmark.id == bytes(16):
            raise EventError("is the id of no benchmark", place=f"{prefix}benchmark.id")
