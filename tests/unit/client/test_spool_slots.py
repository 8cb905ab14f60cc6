"""Rows of many slots are counted and digested as a plain loop over them would, however they are cut."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tupli.spool import slots as module
from tupli.spool.batches import batch_of
from tupli.spool.layout import IS_FINAL
from tupli.spool.manifest import SlotState
from tupli.spool.slots import Slots
from tupli_schemas.digest import BytesCells, Cells, EpisodeDigest
from tupli_schemas.events import encode_rows
from tupli_schemas.steps import Layout

LAYOUT = Layout.parse("o=f4[2]|text;a=i8[];x=")


@dataclass
class Row:
    """One row of a segment: `slot` is what a final row names."""

    slot: int
    is_final: bool
    reward: float


@dataclass
class Plain:
    """A slot, counted row by row."""

    episode: int = 0
    steps: int = 0
    total: float = 0.0
    rows: list[tuple[int, int, Row]] = field(default_factory=list)


@st.composite
def streams(draw: st.DrawFn) -> tuple[int, list[Row | tuple[str, int]]]:
    """Slots, and what happens: rows, and `("begin" | "end", slot)` between them."""
    count = draw(st.integers(1, 5))
    rewards = st.sampled_from([0.1, 1e16, -1e16, 3.0, float("inf")])
    items: list[Row | tuple[str, int]] = [("begin", slot) for slot in range(count) if draw(st.booleans())]
    is_open = [("begin", slot) in items for slot in range(count)]
    for _ in range(draw(st.integers(1, 12))):
        items += [Row(0, is_final=False, reward=draw(rewards)) for _ in range(count)]
        ended = [slot for slot in range(count) if draw(st.integers(0, 4)) == 0]
        items += [
            Row(slot if is_open[slot] else count, is_final=True, reward=0.0)
            for slot in ended
            if count > 1 or is_open[slot]
        ]
        for slot in ended:
            if is_open[slot]:
                items.append(("end", slot))
            is_open[slot] = not is_open[slot]
            if is_open[slot]:
                items.append(("begin", slot))
    return count, items


def columns(rows: list[tuple[int, int, Row]]) -> dict[str, Cells]:
    """The columns of rows (episode, step, row)."""
    n = len(rows)
    final = np.array([row.is_final for _, _, row in rows], np.uint8)
    texts = [b"x" * (step % 3) for _, step, _ in rows]
    offsets = np.append(0, np.cumsum([len(text) for text in texts])).astype(np.int32)
    return {
        "episode": np.array([episode for episode, _, _ in rows], np.uint32),
        "step": np.array([step for _, step, _ in rows], np.uint64),
        "is_final": final,
        "reward": np.array([row.reward for _, _, row in rows]),
        "terminated": np.zeros(n, np.uint8),
        "truncated": np.zeros(n, np.uint8),
        "time": np.arange(n, dtype=np.int64) * 0,
        "info": BytesCells(np.arange(n + 1, dtype=np.int32) * 2, memoryview(b"{}" * n)),
        "o0": np.array([[step, row.reward] for _, step, row in rows], np.float32).reshape(n, 2),
        "o1": BytesCells(offsets, memoryview(b"".join(texts))),
        "a0": np.array([episode * 7 + step for episode, step, _ in rows], np.int64),
    }


def count_plainly(count: int, items: list[Row | tuple[str, int]]) -> tuple[list[Any], list[Any]]:
    """Of every row (slot, episode, step) or None; and of every episode that ended its steps, return and digest."""
    taken: list[Any] = []
    plain, ended, place, ordinal = [Plain() for _ in range(count)], [], 0, 0
    for item in items:
        if isinstance(item, tuple):
            verb, slot = item
            if verb == "begin":
                ordinal += 1
                plain[slot] = Plain(episode=ordinal)
            else:
                mine = plain[slot]
                digest = EpisodeDigest(LAYOUT)
                if mine.rows:
                    digest.update(batch_of(columns(mine.rows), LAYOUT))
                ended.append((mine.steps, mine.total, digest.hexdigest()))
                plain[slot] = Plain()
            continue
        slot = item.slot if item.is_final else place % count
        place += not item.is_final
        mine = plain[slot] if slot < count else Plain()
        if not mine.episode:
            taken.append(None)
            continue
        taken.append((slot, mine.episode, mine.steps))
        mine.rows.append((mine.episode, mine.steps, item))
        if not item.is_final:
            mine.total += item.reward
            mine.steps += 1
    return taken, ended


def count_in_runs(
    count: int, items: list[Row | tuple[str, int]], cuts: list[int]
) -> tuple[list[Any], list[Any]]:
    """The same by `Slots`, in runs of rows that are cut where rows begin and end episodes, and at `cuts`."""
    slots, taken, ended, ordinal = Slots(tuple(SlotState() for _ in range(count))), [], [], 0
    rows = [item for item in items if isinstance(item, Row)]
    at, begun = 0, 0
    for item in [*items, None]:
        if isinstance(item, Row):
            at += 1
            continue
        for start, end in pairwise(sorted({begun, at, *(cut for cut in cuts if begun < cut < at)})):
            run = rows[start:end]
            counted = slots.count_rows(
                start,
                np.array([IS_FINAL * row.is_final for row in run], np.uint8),
                np.array([row.reward for row in run]),
                np.array([row.slot for row in run], np.uint32),
            )
            found: list[Any] = [None] * len(run)
            if counted is not None:
                places = np.arange(len(rows))[counted.rows] - start
                of = counted.slots if counted.slots is not None else np.zeros(len(places), np.int64)
                for place, slot, episode, step in zip(
                    places, of, counted.episodes, counted.steps, strict=True
                ):
                    found[place] = (int(slot), int(episode), int(step))
                kept = [(item[1], item[2], row) for item, row in zip(found, run, strict=True) if item]
                made = columns(kept)
                slots.digest(made, encode_rows(batch_of(made, LAYOUT)), counted, LAYOUT)
            taken += found
        begun = at
        if item is None:
            break
        verb, slot = item
        if verb == "begin":
            ordinal += 1
            slots.begin(slot, ordinal, LAYOUT)
        else:
            ended.append(slots.end(slot))
    return taken, ended


@pytest.mark.parametrize("digest_rows", [1, 3, 512])
@settings(max_examples=60, deadline=None)
@given(streams(), st.lists(st.integers(0, 60), max_size=5))
def test_any_run_of_rows_is_counted_as_one_by_one(
    digest_rows: int, stream: tuple[int, list[Row | tuple[str, int]]], cuts: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DIGEST_ROWS", digest_rows)
        found, ended = count_in_runs(*stream, cuts)
    expected, expected_ended = count_plainly(*stream)
    assert found == expected
    assert [(n, digest) for n, _, digest in ended] == [(n, digest) for n, _, digest in expected_ended]
    assert np.array_equal([r for _, r, _ in ended], [r for _, r, _ in expected_ended], equal_nan=True)


def test_rows_that_wait_have_the_layout_they_came_with() -> None:
    """A segment with another step schema may follow while rows of the one before still wait for their digest."""
    slots = Slots((SlotState(), SlotState()))
    other = Layout.parse("o=f4[1];a=i8[];x=")
    for slot in (0, 1):
        slots.begin(slot, slot + 1, LAYOUT)
    flags, reward, of = np.zeros(2, np.uint8), np.ones(2), np.zeros(2, np.uint32)
    counted = slots.count_rows(0, flags, reward, of)
    assert counted is not None
    made = columns([(1, 0, Row(0, is_final=False, reward=1.0)), (2, 0, Row(0, is_final=False, reward=1.0))])
    slots.digest(made, encode_rows(batch_of(made, LAYOUT)), counted, LAYOUT)
    first = slots.end(0)
    slots.begin(0, 3, other)
    counted = slots.count_rows(2, flags, reward, of)
    assert counted is not None
    thin = {name: cells for name, cells in made.items() if name not in ("o0", "o1", "a0")}
    thin |= {"o0": np.zeros((2, 1), np.float32), "a0": np.zeros(2, np.int64)}
    slots.digest(thin, encode_rows(batch_of(thin, other)), counted, other)
    assert first[0] == 1
    assert slots.end(0)[0] == 1
