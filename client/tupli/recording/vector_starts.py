"""How the episodes of a vector's slots begin: by a reset of all or some, or by an autoreset."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from tupli.recording.vector_values import FINAL_KEYS, seeds_of, slot_info
from tupli_schemas.values import encode

_OF_THE_END: Final = FINAL_KEYS | {"episode", "_episode"}
"""What the infos of a step that ends and begins an episode at once say of the one that ended."""
_NOTHING: Final = encode({})


@dataclass
class Start:
    """How a slot's next episode begins."""

    reset_info: bytes = b""
    seed: Any = None
    options: Any = None


@dataclass
class Held:
    """A block of first observations, kept until a step shows the step schema."""

    observations: Any
    starts: dict[int, Start]
    started_at: int
    actions: Any = None
    extra: dict[str, Any] = field(default_factory=dict)


def slots_of(mask: Any, slots: int) -> list[int]:
    """The slots of a mask; of none all."""
    if mask is None:
        return list(range(slots))
    chosen: list[int] = np.flatnonzero(np.asarray(mask, bool)).tolist()
    return chosen


def reset_starts(chosen: Iterable[int], infos: Any, slots: int, seed: Any, options: Any) -> dict[int, Start]:
    """The episodes that a reset began."""
    seeds = seeds_of(seed, slots)
    return {slot: Start(encode(slot_info(infos, slot, slots)), seeds[slot], options) for slot in chosen}


def autoreset_starts(begun: Iterable[int], infos: Any, slots: int, *, ends_too: bool) -> dict[int, Start]:
    """The episodes that a step began by itself; `ends_too` where it ended those before as well (same-step)."""
    if not infos:
        return {slot: Start(_NOTHING) for slot in begun}
    without = _OF_THE_END if ends_too else frozenset[str]()
    return {slot: Start(encode(slot_info(infos, slot, slots, without=without))) for slot in begun}
