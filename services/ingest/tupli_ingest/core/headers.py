"""What is known of a stream and of an episode, and the rows of `streams` and `episodes` that keep it.

Facts hold counters and ranges, never tuples. They are what the assembler folds into, and everything in them
is in their row: facts that were loaded from a row fold on exactly as those that stayed in memory.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from tupli_ingest.core.ports import NO_BENCHMARK, EpisodeKey, Row
from tupli_ingest.core.ranges import RangeSet
from tupli_schemas.ids import episode_id, ordinal_of, stream_of
from tupli_schemas.index import index_tagged

OPEN: Final = "open"
TERMINATED: Final = "terminated"
TRUNCATED: Final = "truncated"
ABORTED: Final = "aborted"
INCOMPLETE: Final = "incomplete"
CONFLICT: Final = "conflict"


@dataclass(slots=True, kw_only=True)
class StreamFacts:
    """A recording stream: its owner, the numbers that have come, the episodes that are not complete.

    `offset` is that of the last record folded in. The row is written after everything else that its records
    led to, so a record up to `offset` is done for good.
    """

    stream: bytes
    owner: bytes
    received: RangeSet = field(default_factory=RangeSet)
    open_episodes: set[int] = field(default_factory=set)
    first_received_at: int = 0
    last_received_at: int = 0
    log_generation: int = 0
    partition: int = 0
    offset: int = -1

    def to_row(self) -> Row:
        """The row of `streams`."""
        return {
            "stream": self.stream,
            "owner": self.owner,
            "received": self.received.ranges(),
            "open_episodes": sorted(self.open_episodes),
            "first_received_at": self.first_received_at,
            "last_received_at": self.last_received_at,
            "log_generation": self.log_generation,
            "partition": self.partition,
            "offset": self.offset,
            "version": self.offset + 1,
        }

    @staticmethod
    def from_row(row: Row) -> "StreamFacts":
        """The facts of a row."""
        return StreamFacts(
            stream=row["stream"],
            owner=row["owner"],
            received=RangeSet((int(a), int(b)) for a, b in row["received"]),
            open_episodes={int(ordinal) for ordinal in row["open_episodes"]},
            first_received_at=row["first_received_at"],
            last_received_at=row["last_received_at"],
            log_generation=row["log_generation"],
            partition=row["partition"],
            offset=row["offset"],
        )


@dataclass(slots=True, kw_only=True)
class EpisodeFacts:
    """An episode. Fields are the columns of `episodes`, where they are not explained here.

    Attributes:
        received_at: When a record about it was received last. Of several clocks the one that is ahead counts: no
            news makes an episode look older.
        received: Steps whose rows have come, that of the final row among them.
        has_final: Before the end: the final row has come. After it: the end says that there is one.
        metadata: Tagged JSON; members given later are merged over earlier ones.
        offset: Of the last record that was about this episode; records up to it are folded in. -1: none is.
        conflict_at: Offset of the record that began the conflict; None without one, -1 when it was loaded.
    """

    owner: bytes
    episode: bytes
    benchmark: bytes = NO_BENCHMARK
    slot: int = 0
    layout: str = ""
    step_schema: str = ""
    started_at: int = 0
    ended_at: int = 0
    received_at: int = 0
    seed: str = ""
    options: str = ""
    reset_info: str = ""
    run: str = ""
    policy: str | None = None
    environment: str = ""
    versions: str = ""
    metadata: Any = field(default_factory=dict)
    publish_in: tuple[str, ...] = ()
    has_start: bool = False
    ended: bool = False
    terminated: bool = False
    truncated: bool = False
    aborted: bool = False
    discarded: bool = False
    reason: str = ""
    n_steps: int = 0
    has_final: bool = False
    received: RangeSet = field(default_factory=RangeSet)
    return_: float | None = None
    digest: str = ""
    conflict_reason: str = ""
    conflict_at: int | None = None
    log_generation: int = 0
    partition: int = 0
    offset: int = -1
    ended_offset: int = 0

    @property
    def key(self) -> EpisodeKey:
        """Where its rows stand."""
        return EpisodeKey(self.benchmark, self.owner, self.episode, self.layout)

    @property
    def final_step(self) -> int | None:
        """The step of the final row, as far as it is known."""
        if not self.has_final:
            return None
        return self.n_steps if self.ended else self.received.last

    @property
    def is_complete(self) -> bool:
        """Whether start, end and everything between have come."""
        expected = self.n_steps + self.has_final
        return self.has_start and self.ended and self.received.is_exactly(0, expected - 1)

    @property
    def prefix(self) -> int:
        """The number of transitions before the first one that is missing."""
        whole = self.received.gapless_end(0)
        limit = self.n_steps if self.ended else self.final_step
        return whole if limit is None else min(whole, limit)

    def contradict(self, offset: int, reason: str) -> None:
        """Note a conflict; of several, the first in the log is told."""
        if self.conflict_at is None or offset < self.conflict_at:
            self.conflict_at, self.conflict_reason = offset, reason

    def merge_metadata(self, later: Any) -> None:
        """Merge members over the earlier ones; anything but plain members replaces, None changes nothing."""
        self.metadata = merged(self.metadata, later)

    def to_row(self) -> Row:
        """The row of `episodes`, with what is derived."""
        index = index_tagged(self.metadata)
        row = {name: getattr(self, name) for name in _SAME}
        row |= {name: int(getattr(self, name)) for name in _FLAGS}
        return row | {
            "metadata": orjson.dumps(self.metadata, option=orjson.OPT_SORT_KEYS).decode(),
            "metadata_num": index.num,
            "metadata_int": index.int_,
            "metadata_str": index.str_,
            "metadata_other": index.other,
            "publish_in": list(self.publish_in),
            "n_steps": self.n_steps,
            "prefix": self.prefix,
            "received": self.received.ranges(),
            "return": self.return_,
            "conflict": int(self.conflict_at is not None),
            "status": status_of(self),
            "offset": max(self.offset, 0),
            "version": self.offset + 1,
        }

    @staticmethod
    def from_row(row: Row) -> "EpisodeFacts":
        """The facts of a row."""
        same: dict[str, Any] = {name: row[name] for name in _SAME}
        return EpisodeFacts(
            **same | {name: bool(row[name]) for name in _FLAGS},
            metadata=orjson.loads(row["metadata"]),
            publish_in=tuple(row["publish_in"]),
            n_steps=row["n_steps"],
            received=RangeSet((int(a), int(b)) for a, b in row["received"]),
            return_=row["return"],
            conflict_at=-1 if row["conflict"] else None,
            offset=row["version"] - 1,
        )


_FLAGS: Final = ("has_start", "ended", "terminated", "truncated", "aborted", "discarded", "has_final")
_SAME: Final = (
    *(
        "benchmark",
        "owner",
        "episode",
        "slot",
        "layout",
        "step_schema",
        "started_at",
        "ended_at",
        "received_at",
    ),
    *("seed", "options", "reset_info", "run", "policy", "environment", "versions", "reason", "digest"),
    *("conflict_reason", "log_generation", "partition", "ended_offset"),
)


def status_of(episode: EpisodeFacts) -> str:
    """The status of an episode: `open, terminated, truncated, aborted, incomplete` or `conflict`.

    `incomplete` means that something must have been sent that has not come: the start, rows before a row that
    came, or rows before an end that came. `abandoned` is no status: it depends on the clock, and is computed
    by queries.
    """
    if episode.conflict_at is not None:
        return CONFLICT
    if episode.is_complete:
        return ABORTED if episode.aborted else TERMINATED if episode.terminated else TRUNCATED
    if not episode.has_start or episode.ended:
        return INCOMPLETE
    last = episode.received.last
    return OPEN if episode.received.is_exactly(0, -1 if last is None else last) else INCOMPLETE


def new_episode(stream: StreamFacts, ordinal: int, received_at: int) -> EpisodeFacts:
    """The facts of an episode of which nothing has come yet."""
    return EpisodeFacts(
        owner=stream.owner, episode=episode_id(stream.stream, ordinal), received_at=received_at
    )


def ordinal_of_row(row: Row) -> tuple[bytes, int]:
    """The stream and the ordinal that a row of `episodes` belongs to."""
    return stream_of(row["episode"]), ordinal_of(row["episode"])


def merged(earlier: Any, later: Any) -> Any:
    """`later` over `earlier`: member by member for plain objects, else `later` unless it is None."""
    if later is None:
        return earlier
    if _is_plain(earlier) and _is_plain(later):
        return {**earlier, **later}
    return later


def _is_plain(value: Any) -> bool:
    """Whether a tagged value is an object of members (and not another type in its tagged form)."""
    return isinstance(value, dict) and not any(name.startswith("$") for name in value)
