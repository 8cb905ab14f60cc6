"""What every statement is compiled in: which database, who asks, and when."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tupli_query.core.errors import BadSelection
from tupli_query.core.visibility import Visibility
from tupli_schemas.filter_tree import BaseFilter
from tupli_schemas.ids import LOCAL_SUBJECT
from tupli_schemas.records import Position

ABANDONED_AFTER_NS: Final = 60 * 60 * 1_000_000_000
"""An open episode without news for an hour is `abandoned`; news makes it open again."""

ENDED: Final = ("terminated", "truncated", "aborted")
STATUSES: Final = (*ENDED, "open", "abandoned", "incomplete", "conflict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where and for whom.

    Attributes:
        database: The generation that serves, `tupli_g1`; resolved once a query.
        visibility: Who asks.
        now_ns: Unix nanoseconds.
        subjects: Names that `owner` and `created_by` understand besides ids; `me` is always the caller.
        abandoned_after_ns: How long an open episode may be silent.
    """

    database: str
    visibility: Visibility
    now_ns: int
    subjects: Mapping[str, bytes] = field(default_factory=lambda: {"local": LOCAL_SUBJECT})
    abandoned_after_ns: int = ABANDONED_AFTER_NS

    @property
    def names(self) -> dict[str, bytes]:
        """Names of subjects, the caller's among them."""
        return {**self.subjects, "me": self.visibility.subject}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which episodes.

    Attributes:
        benchmark_filter: Chooses benchmarks among the visible ones; None for episodes of whatever benchmark.
        episode_filter: Chooses episodes.
        include: Statuses besides `terminated`, `truncated` and `aborted`; `open` brings `abandoned` ones too.
        pin: The log positions (one a partition) that the answer is of; None for now. Episodes that ended
            later, and steps that came later, are not seen.
        metadata_keys: Paths of metadata that visible episodes have; see `statements.metadata_keys`.
    """

    benchmark_filter: BaseFilter | None = None
    episode_filter: BaseFilter | None = None
    include: tuple[str, ...] = ()
    pin: tuple[Position, ...] | None = None
    metadata_keys: frozenset[str] | None = None

    def __post_init__(self) -> None:
        for i, status in enumerate(self.include):
            if status not in STATUSES:
                raise BadSelection(
                    f"{status!r} is no status; known: {', '.join(STATUSES)}", place=f"include[{i}]"
                )

    @property
    def statuses(self) -> tuple[str, ...]:
        """All statuses that are asked for."""
        also = ("abandoned",) if "open" in self.include else ()
        return tuple(status for status in STATUSES if status in {*ENDED, *self.include, *also})
