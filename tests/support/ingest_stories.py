"""Streams that come as no recorder means them to: late, repeated, contradicting, claimed by two, with clocks a day off."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from support.ingest_streams import (
    OTHER_SUBJECT,
    RowItem,
    StreamOfItems,
    new_record,
)
from tupli_schemas.events import EpisodeStarted, Event
from tupli_schemas.ids import LOCAL_SUBJECT, make_id
from tupli_schemas.records import NewRecord

DAY_MS: Final = 86_400_000
STEPS: Final = 30
FIRST_ROW: Final = 2
"""The number of the first step of a stream of one episode: the start is number 1."""
FINAL_ROW: Final = FIRST_ROW + STEPS
END: Final = FINAL_ROW + 1


@dataclass
class Part:
    """What comes at once: over the gateway, or as records into the log; and the episodes' statuses then, by ordinal."""

    sent: Sequence[Event | NewRecord]
    statuses: dict[int, str]


@dataclass
class Story:
    """One stream, part by part.

    `letters` are the codes of its dead letters, `reward` is that of step 5 of the first episode at the end.
    """

    name: str
    stream: bytes
    parts: list[Part]
    letters: list[str] = field(default_factory=list)
    reward: float = 5 / 3

    @property
    def statuses(self) -> dict[int, str]:
        """How it ends."""
        return self.parts[-1].statuses


DONE: Final = {1: "terminated"}
MISSING: Final = {1: "incomplete"}
CONFLICT: Final = {1: "conflict"}
OPEN: Final = {1: "open"}


def stories() -> list[Story]:
    """One of each kind, each with a stream of its own."""
    makers = (
        _cut_differently,
        _start_last,
        _start_after_its_end_twice,
        _end_before_the_last_steps,
        _one_missing,
        _backwards,
        _other_content,
        _other_content_before_the_start,
        _claimed_by_another,
        _claimed_by_another_first,
        _clock_ahead,
        _clock_behind,
        _two_gateways,
    )
    return [make(make_id(_now_ms() + number, number)) for number, make in enumerate(makers, 1)]


def recorded(
    events: Iterable[Event], *, subject: bytes = LOCAL_SUBJECT, days: float = 0.0
) -> list[NewRecord]:
    """The records that a gateway whose clock is so many days off makes of this subject's events."""
    received_at = _now_ms() + int(days * DAY_MS)
    return [new_record(event, subject=subject, received_at=received_at) for event in events]


def one_episode(stream: bytes) -> StreamOfItems:
    return StreamOfItems(stream).episode(1, STEPS)


def salted(stream: StreamOfItems) -> StreamOfItems:
    """The same numbers with another content of step 5."""
    items = [
        replace(one, salt=1) if isinstance(one, RowItem) and one.step == 5 else one for one in stream.items
    ]
    return StreamOfItems(stream.stream, items)


def _cut_differently(stream: bytes) -> Story:
    """Requests that had succeeded come again with other boundaries."""
    items = one_episode(stream).episode(2, STEPS)
    done = {1: "terminated", 2: "terminated"}
    again = [*items.events(5, 25, cut=7), *items.events(20, 40, cut=4)]
    parts = [Part(items.events(cut=10), done), Part(again, done), Part(items.events(cut=13), done)]
    return Story("cut differently", stream, parts)


def _start_last(stream: bytes) -> Story:
    items = one_episode(stream)
    parts = [
        Part(items.events(FIRST_ROW, 15, cut=5), MISSING),
        Part(items.events(16, END, cut=9), MISSING),
        Part(items.events(1, 1), DONE),
    ]
    return Story("start last", stream, parts)


def _start_after_its_end_twice(stream: bytes) -> Story:
    items = one_episode(stream)
    parts = [
        Part(items.events(FIRST_ROW, END, cut=50), MISSING),
        Part([*items.events(FIRST_ROW, END, cut=7), *items.events(1, END, cut=3)], DONE),
        Part(items.events(1, 12, cut=12), DONE),
    ]
    return Story("start after a repetition of all else", stream, parts)


def _end_before_the_last_steps(stream: bytes) -> Story:
    items = one_episode(stream)
    parts = [
        Part([*items.events(1, 11, cut=4), *items.events(END, END)], MISSING),
        Part(items.events(20, FINAL_ROW, cut=5), MISSING),
        Part(items.events(12, 19, cut=3), DONE),
    ]
    return Story("end early", stream, parts)


def _one_missing(stream: bytes) -> Story:
    items = one_episode(stream)
    parts = [
        Part([*items.events(1, 9, cut=4), *items.events(11, END, cut=6)], MISSING),
        Part(items.events(11, END, cut=2), MISSING),
        Part(items.events(10, 10), DONE),
    ]
    return Story("one missing", stream, parts)


def _backwards(stream: bytes) -> Story:
    events = one_episode(stream).events(cut=4)[::-1]
    parts = [Part(events[:3], MISSING), Part(events[3:6], MISSING), Part(events[6:], DONE)]
    return Story("backwards", stream, parts)


def _other_content(stream: bytes) -> Story:
    items = one_episode(stream)
    parts = [
        Part(items.events(cut=10), DONE),
        Part(salted(items).events(4, 12, cut=9), CONFLICT),
        Part(items.events(cut=10), CONFLICT),
    ]
    return Story("other content", stream, parts)


def _other_content_before_the_start(stream: bytes) -> Story:
    items = one_episode(stream)
    parts = [
        Part(items.events(FIRST_ROW, END, cut=10), MISSING),
        Part(salted(items).events(4, 12, cut=4), CONFLICT),
        Part(items.events(1, 1), CONFLICT),
    ]
    return Story("other content before the start", stream, parts)


def _claimed_by_another(stream: bytes) -> Story:
    items = one_episode(stream)
    foreign = recorded(salted(items).events(1, 20, cut=5), subject=OTHER_SUBJECT)
    parts = [
        Part(items.events(1, 10, cut=5), OPEN),
        Part([*foreign, *items.events(11, 20, cut=5)], OPEN),
        Part(items.events(21, END, cut=5), DONE),
    ]
    return Story("claimed by another", stream, parts, ["foreign_owner"] * len(foreign))


def _claimed_by_another_first(stream: bytes) -> Story:
    """Whoever comes first owns the stream; here it is not whom the gateway stamps."""
    items = one_episode(stream)
    mine = items.events(1, 10, cut=5)
    first, rest = items.events(1, 20, cut=5), items.events(21, END, cut=5)
    parts = [
        Part(recorded(first, subject=OTHER_SUBJECT), OPEN),
        Part(mine, OPEN),
        Part(recorded(rest, subject=OTHER_SUBJECT), DONE),
    ]
    return Story("claimed by another first", stream, parts, ["foreign_owner"] * len(mine))


def _clock_ahead(stream: bytes) -> Story:
    return _clock_of_the_recorder(stream, 1)


def _clock_behind(stream: bytes) -> Story:
    return _clock_of_the_recorder(stream, -1)


def _clock_of_the_recorder(stream: bytes, days: int) -> Story:
    """Ids and times that a recorder makes up are a day off; its episode is open, and has just had news."""
    at = _now_ms() + days * DAY_MS
    items = one_episode(make_id(at, int.from_bytes(stream[-8:-4], "big")))
    shifted = [
        replace(one, started_at=at * 1_000_000) if isinstance(one, EpisodeStarted) else one
        for one in items.items
    ]
    items = StreamOfItems(items.stream, shifted)
    parts = [
        Part(items.events(1, 10, cut=5), OPEN),
        Part(items.events(11, 20, cut=5), OPEN),
        Part(items.events(11, 25, cut=4), OPEN),
    ]
    return Story(f"recorder's clock {days:+d} day", items.stream, parts)


def _two_gateways(stream: bytes) -> Story:
    """Of two gateways one is a day behind; the episode has news all the time."""
    items = one_episode(stream)
    parts = [
        Part(recorded(items.events(1, 10, cut=5), days=-1), OPEN),
        Part([*items.events(11, 20, cut=5), *recorded(items.events(21, 22, cut=1), days=-1)], OPEN),
        Part(recorded(items.events(15, 25, cut=3), days=-1), OPEN),
    ]
    return Story("two gateways", stream, parts)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
