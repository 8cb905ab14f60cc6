"""One suite for every way from a recorder to a server: in memory, over HTTP, straight to Kafka."""

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.direct_records import Deployment, named
from support.ingest_adapters import kafka_connection
from support.ingest_service import Service
from support.ingest_streams import BENCHMARK, StreamOfItems
from tupli.errors import InvalidInput
from tupli.transport import FakeTransport, HttpTransport, Transport
from tupli.transport.kafka import KafkaTransport
from tupli_ingest.adapters.grant_issuing import GrantOrder, write_grant
from tupli_ingest.adapters.grant_keys import GrantKeys
from tupli_ingest.adapters.kafka_reader import KafkaReader
from tupli_ingest.core.decoding import decode_record
from tupli_ingest.core.direct import Decode, DirectDecoder
from tupli_ingest.core.ports import LogReader
from tupli_schemas.events import DIRECT_TOPIC, EPISODES_TOPIC, Event, encode_event
from tupli_schemas.framing import Kind, encode_frame
from tupli_schemas.ids import LOCAL_SUBJECT, id_text, is_direct

pytestmark = pytest.mark.timeout(180)


@dataclass
class Way:
    """A transport, and what has come at its other end."""

    transport: Transport
    kept: Callable[[], Sequence[Event]]


def read_all(log: LogReader, topic: str, decode: Decode) -> list[Event]:
    found: list[Event] = []
    at = 0
    while records := log.read(topic, at, max_bytes=1 << 24):
        items = [decode(record) for record in records]
        assert [item.error for item in items] == [""] * len(items)
        found += [item.event for item in items if item.event is not None]
        at = records[-1].position.offset + 1
    return found


@contextmanager
def memory(folder: Path) -> Iterator[Way]:
    fake = FakeTransport()
    yield Way(fake, lambda: fake.events)


@contextmanager
def http(folder: Path) -> Iterator[Way]:
    service = Service(folder)
    service.create()
    transport = HttpTransport(str(service.http.base_url))
    yield Way(transport, lambda: read_all(service.parts.log, EPISODES_TOPIC, decode_record))
    transport.close()
    service.stop()


@contextmanager
def kafka(folder: Path) -> Iterator[Way]:
    connection, deployment = kafka_connection(), Deployment(folder)
    order = GrantOrder(subject=LOCAL_SUBJECT, benchmark=BENCHMARK)
    write_grant(deployment.private, order, folder / "grant", int(time.time()))
    address = f"kafka://{connection.brokers}?topic_prefix={connection.topic_prefix}"
    transport, reader = KafkaTransport(address, folder / "grant"), KafkaReader(connection)
    decode = DirectDecoder(GrantKeys(deployment.keys), lambda _: 0)
    yield Way(transport, lambda: read_all(reader, DIRECT_TOPIC, decode))
    transport.close()
    reader.close()


WAYS: list[Callable[[Path], AbstractContextManager[Way]]] = [memory, http, kafka]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    with request.param(tmp_path) as made:
        yield made


def events_of(way: Way, number: int, n_steps: int = 20) -> list[Event]:
    stream = StreamOfItems(way.transport.new_stream(1_700_000_000_000, number)).episode(1, n_steps)
    return [named(event) for event in stream.events(cut=7)]


def body_of(events: Sequence[Event]) -> bytes:
    return b"".join(encode_frame(Kind.EVENT, encode_event(event)) for event in events)


def test_what_is_acknowledged_is_there_in_order(way: Way) -> None:
    one, other = events_of(way, 1), events_of(way, 2)
    result = way.transport.send_events(body_of([*one[:2], *other[:1]]))
    assert (result.accepted, dict(result.streams)) == (
        3,
        {id_text(one[0].stream): one[1].last, id_text(other[0].stream): other[0].last},
    )
    way.transport.send_events([body_of(one[2:]), memoryview(body_of(other[1:]))])
    kept = way.kept()
    assert [event for event in kept if event.stream == one[0].stream] == one
    assert [event for event in kept if event.stream == other[0].stream] == other


def test_what_is_sent_twice_is_answered_alike(way: Way) -> None:
    events = events_of(way, 3)
    first = way.transport.send_events(body_of(events))
    assert way.transport.send_events(body_of(events)) == first
    assert way.kept()[: len(events)] == events


def test_an_event_that_is_none_is_named_and_nothing_of_its_request_is_kept(way: Way) -> None:
    good = events_of(way, 4)[:2]
    with pytest.raises(InvalidInput) as caught:
        way.transport.send_events(body_of(good[:1]) + encode_frame(Kind.EVENT, b"\0") + body_of(good[1:]))
    assert caught.value.problem is not None
    assert caught.value.problem.members["index"] == 1
    assert way.kept() == []


def test_a_stream_goes_the_way_that_its_id_says(way: Way) -> None:
    ids = {way.transport.new_stream(5, number) for number in range(10)}
    assert len(ids) == 10
    assert {is_direct(one) for one in ids} == {way.transport.address.startswith("kafka:")}


def test_what_is_closed_opens_again(way: Way) -> None:
    way.transport.close()
    events = events_of(way, 6)
    way.transport.send_events(body_of(events[:1]))
    way.transport.close()
    way.transport.send_events(body_of(events[1:]))
    way.transport.close()
    assert way.kept() == events


def test_a_forked_child_sends_by_itself(way: Way) -> None:
    if isinstance(way.transport, FakeTransport):
        return  # its other end is in the parent's memory
    events = events_of(way, 7)
    way.transport.send_events(body_of(events[:1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads, which is the point
        child = os.fork()
    if child == 0:
        try:
            way.transport.send_events(body_of(events[1:2]))
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    way.transport.send_events(body_of(events[2:]))
    assert way.kept() == events
