"""Replays dead letters: the record that one is about, appended again as it was.

The payload and the envelope stay: who sent it, with which program, when it was received. So whose it is does not
change with who replays it, and no episode looks younger than it is.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final

from tupli_ingest.core.ports import DeadLetter, KeptLetter, KeptLetters, LogReader
from tupli_schemas.events import DIRECT_TOPIC
from tupli_schemas.records import NewRecord, Position, RawRecord, Record

ReadAt = Callable[[str, Position], Record | None]
"""The record at a position of a topic; None when there is none (any more)."""
Places = Callable[[], AbstractContextManager[ReadAt]]
REFUSED_ROWS: Final = frozenset({"rows_refused", "no_more_tables"})
"""Codes of records that were processed, but for rows that the store did not take."""
REFUSED_GRANTS: Final = frozenset({"grant_refused"})
REFUSED_FOR_GOOD: Final = frozenset({"no_grant", "bad_signature", "not_direct", "not_granted"})
"""Codes of records that went straight to Kafka, and were not what their sender was allowed to write."""
BATCH_BYTES: Final = 8 * 1024 * 1024
BATCH_LETTERS: Final = 100
SCAN_LETTERS: Final = 1_000
"""So many letters are read, or replayed, for one request at most."""


@dataclass(slots=True)
class Batch:
    """Records to append again, and the letters that cannot be replayed, with the reason."""

    ready: list[tuple[KeptLetter, NewRecord]] = field(default_factory=list)
    skipped: list[tuple[int, str]] = field(default_factory=list)
    taken: int = 0


def one_letter(letters: KeptLetters, index: int) -> KeptLetter | None:
    """The letter at an index."""
    found = letters.entries(index - 1 if index else None, max_records=1)
    return found[0] if found and found[0].index == index else None


def record_of(letter: DeadLetter, read: ReadAt) -> Record | None:
    """The record that a letter is about. What the letter has itself counts before what the log has."""
    found = read(letter.topic, letter.position)
    if found is None or not letter.payload:
        return found
    return Record(found.position, found.key, found.envelope, letter.payload, found.error)


def next_batch(letters: Sequence[KeptLetter], read: ReadAt) -> Batch:
    """What one append takes of these letters, from the first on; `taken` says how many of them that is."""
    batch, size = Batch(), 0
    for kept in letters[:BATCH_LETTERS]:
        if size >= BATCH_BYTES:
            break
        batch.taken += 1
        if never := _never(kept.letter):
            batch.skipped.append((kept.index, never))
            continue
        record = record_of(kept.letter, read)
        if record is None:
            batch.skipped.append((kept.index, "the log does not have its record any more"))
        elif kept.letter.topic == DIRECT_TOPIC:  # sealed as it is: its own signature, in its own topic
            size += len(record.payload)
            batch.ready.append((kept, RawRecord(record.key, record.envelope, record.payload)))
        elif record.error:
            batch.skipped.append((kept.index, f"it is no record of Tupli ({record.error})"))
        else:
            size += len(record.payload)
            batch.ready.append((kept, NewRecord(record.key, record.envelope, record.payload)))
    return batch


def _never(letter: DeadLetter) -> str:
    """Why to append a letter's record again cannot help; empty when it may."""
    if letter.code in REFUSED_ROWS:
        return "its numbers have come: when the store takes its rows, rebuild"
    if letter.code in REFUSED_GRANTS:
        return "its grant is judged by when it was appended: when that changes (a key is added), rebuild"
    if letter.code in REFUSED_FOR_GOOD:
        return "what is wrong with it is in the record itself"
    return ""


def first_of_each(letters: Sequence[KeptLetter]) -> list[KeptLetter]:
    """One letter for each record: a record may have several, for several reasons."""
    found: dict[tuple[str, Position], KeptLetter] = {}
    for kept in letters:
        found.setdefault((kept.letter.topic, kept.letter.position), kept)
    return list(found.values())


def read_at(log: LogReader, topic: str, position: Position) -> Record | None:
    """The record at a position of a log of one partition."""
    found = log.read(topic, position.offset, max_bytes=1, max_records=1)
    return found[0] if found and found[0].position == position else None


def places_in(log: LogReader) -> Places:
    """`Places` of a log that is open anyway."""
    return lambda: nullcontext(lambda topic, position: read_at(log, topic, position))
