"""A record of steps that is refused is halved down to what is wrong with it, and that has an end."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from support.ingest_streams import RowItem, steps_event
from support.sink import Sink
from tupli.recording.delivery import deliver, item_of
from tupli.spool.reader import Outgoing
from tupli.transport import FakeTransport
from tupli.transport.fake import refusal
from tupli_schemas.events import Event


def refuse(events: list[Event], code: str = "invalid_event") -> None:
    """Step 5 is what the server does not like."""
    bad = [at for at, event in enumerate(events) if event.first <= 5 <= event.last]
    if bad:
        raise refusal(code, index=bad[0])


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def sink(tmp_path: Path) -> Sink:
    return Sink(tmp_path)


@pytest.mark.parametrize("code", ["invalid_event", "too_large", "invalid_frame"])
def test_one_step_alone_is_put_aside(code: str, transport: FakeTransport, sink: Sink) -> None:
    """A server that takes shorter frames than ours calls one that is too long no valid frame."""
    transport.before_send = partial(refuse, code=code)
    event = steps_event(1, [RowItem(1, step) for step in range(9)])
    deliver(transport, [item_of(sink, Outgoing(event, 9, 0))])
    assert sink.refused == [(5, 5)]
    sent = [number for event in transport.events for number in range(event.first, event.last + 1)]
    assert sent == [1, 2, 3, 4, 6, 7, 8, 9]
    assert sink.acknowledged == 1


@pytest.mark.timeout(30)
def test_a_row_that_says_it_were_two_is_put_aside_whole(transport: FakeTransport, sink: Sink) -> None:
    transport.before_send = refuse
    event = replace(steps_event(5, [RowItem(1, 4)]), last=6)
    deliver(transport, [item_of(sink, Outgoing(event, 1, 0))])
    assert sink.refused == [(5, 6)]
    assert transport.events == []
