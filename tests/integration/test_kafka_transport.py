"""A recorder that goes straight to Kafka: what it is told when something is in the way."""

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import tupli
from support.direct_records import Deployment, direct_events, named
from support.ingest_adapters import kafka_connection
from support.ingest_streams import BENCHMARK, OTHER_SUBJECT, STREAM, StreamOfItems
from support.server_process import free_port
from tupli import TupliAPIClient
from tupli.errors import AuthError, InvalidInput, TransportError
from tupli.transport.kafka import KafkaTransport, _Loop
from tupli_ingest.adapters.grant_issuing import GrantOrder, write_grant
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_schemas.catalog import CreateBenchmark
from tupli_schemas.events import DIRECT_TOPIC, MAX_EVENT_BYTES, EpisodeEnded, Event, encode_event
from tupli_schemas.framing import Kind, encode_frame
from tupli_schemas.ids import LOCAL_SUBJECT, id_text, is_direct, make_direct_id

pytestmark = pytest.mark.timeout(180)
HOUR = 3_600


class Holder:
    """Whoever has a grant, and a broker to go to."""

    def __init__(self, folder: Path, connection: KafkaConnection) -> None:
        self.deployment = Deployment(folder)
        self.connection = connection
        self.file = folder / "grant"
        self.grant()

    def grant(self, *, begun_s: int = 0, **changes: Any) -> None:
        order = replace(GrantOrder(subject=LOCAL_SUBJECT, benchmark=BENCHMARK, seconds=HOUR), **changes)
        write_grant(self.deployment.private, order, self.file, int(time.time()) + begun_s)

    @property
    def address(self) -> str:
        return f"kafka://{self.connection.brokers}?topic_prefix={self.connection.topic_prefix}"

    def transport(self, seconds: float = 30.0) -> KafkaTransport:
        return KafkaTransport(self.address, self.file, seconds=seconds)


@pytest.fixture
def holder(tmp_path: Path) -> Holder:
    return Holder(tmp_path, kafka_connection())


@pytest.fixture
def nowhere(tmp_path: Path) -> Holder:
    """One who needs no broker."""
    return Holder(tmp_path, KafkaConnection(brokers=f"127.0.0.1:{free_port()}"))


@pytest.fixture
def transport(holder: Holder) -> Iterator[KafkaTransport]:
    made = holder.transport()
    yield made
    made.close()


def body_of(*events: Event) -> bytes:
    return b"".join(encode_frame(Kind.EVENT, encode_event(event)) for event in events)


def test_an_expired_grant_is_waited_for(holder: Holder, transport: KafkaTransport) -> None:
    holder.grant(begun_s=-2 * HOUR)
    with pytest.raises(AuthError, match="has expired; put a newer one there"):
        transport.send_events(body_of(*direct_events()))
    holder.file.write_text("{")
    with pytest.raises(AuthError, match="holds no grant"):
        transport.send_events(body_of(*direct_events()))
    holder.grant()
    assert transport.send_events(body_of(*direct_events())).accepted == len(direct_events())


def token_of(payload: bytes) -> str:
    return f"a.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.c"


CLAIMS = {"iss": "i", "sub": id_text(BENCHMARK), "benchmark": id_text(BENCHMARK), "iat": 1, "exp": 2}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is no JSON"),
        (b"\xff\xfe\x00", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "it is no JSON object"),
        (b"{}", "no 'token'"),
        (json.dumps({"token": 7}).encode(), "no 'token'"),
        (json.dumps({"token": "secret"}).encode(), "no signed JWT"),
        (json.dumps({"token": "a.secret"}).encode(), "no signed JWT"),
        (json.dumps({"token": "a.s\u00e9cret.c"}).encode(), "no signed JWT"),
        (json.dumps({"token": "a.!secret!.c"}).encode(), "no base64url"),
        (json.dumps({"token": token_of(b"secret")}).encode(), "payload is no JSON"),
        (json.dumps({"token": token_of(b"[7]")}).encode(), "payload is no JSON object"),
        (json.dumps({"token": token_of(b"{}")}).encode(), "no 'iss'"),
        *(
            (json.dumps({"token": token_of(json.dumps(CLAIMS | other).encode()), "key": {}}).encode(), told)
            for other, told in (
                ({"exp": "secret"}, "no 'exp'"),
                ({"exp": True}, "no 'exp'"),
                ({"exp": 1e999}, "no 'exp'"),
                ({"sub": "secret"}, "'sub' of its token is no id"),
                ({"stream": "secret"}, "'stream' of its token is no id"),
                ({}, "none of P-256"),
            )
        ),
        (
            json.dumps(
                {
                    "token": token_of(json.dumps(CLAIMS).encode()),
                    "key": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "secret"},
                }
            ).encode(),
            "none of P-256",
        ),
    ],
)
def test_a_broken_file_is_told_for_what_it_is_and_nothing_of_what_it_holds(
    content: bytes, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "grant"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(InvalidInput, match="holds no grant") as refused:
        KafkaTransport("kafka://127.0.0.1:1", file)
    message = str(refused.value)
    assert str(file) in message
    assert told in message
    assert "Error" not in message
    assert "secret" not in message


def test_a_folder_is_no_grant(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no grant: it cannot be read"):
        KafkaTransport("kafka://127.0.0.1:1", tmp_path)


def test_aiokafka_says_nothing_to_who_has_not_set_up_logging(tmp_path: Path) -> None:
    told = "import logging, tupli.transport.kafka; logging.getLogger('aiokafka').error('away')"
    listens = "; logging.basicConfig(); logging.getLogger('aiokafka').error('heard')"
    done = subprocess.run(
        [sys.executable, "-c", told + listens], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("", "ERROR:aiokafka:heard\n")


def test_the_brokers_clock_counts_and_not_ours(holder: Holder) -> None:
    holder.grant(begun_s=-2 * HOUR)
    behind = holder.transport()
    behind._grants._now = lambda: time.time() - 2 * HOUR + 60
    with pytest.raises(AuthError, match="brokers' clock"):
        behind.send_events(body_of(*direct_events()))
    behind.close()


def test_what_would_be_a_dead_letter_is_not_sent(holder: Holder, transport: KafkaTransport) -> None:
    good = direct_events()
    foreign = [named(event, OTHER_SUBJECT) for event in good]
    with pytest.raises(AuthError, match="not for the stream"):
        transport.send_events(body_of(good[0], foreign[1]))
    through = [named(event) for event in StreamOfItems(STREAM).episode(1, 3).events()]
    with pytest.raises(InvalidInput, match="through a gateway") as caught:
        transport.send_events(body_of(good[0], through[0]))
    assert caught.value.problem is not None
    assert caught.value.problem.members == {"index": 1}
    with pytest.raises(InvalidInput, match="no events"):
        transport.send_events(b"")


def test_a_record_that_is_too_large_is_named(transport: KafkaTransport) -> None:
    good = direct_events()
    large = replace(good[-1], reason="x" * MAX_EVENT_BYTES)  # type: ignore[arg-type]  # an end
    with pytest.raises(InvalidInput) as caught:
        transport.send_events(body_of(good[0], large))
    assert caught.value.problem is not None
    assert (caught.value.problem.code, caught.value.problem.members) == ("too_large", {"index": 1})


def test_a_batch_that_is_too_large_is_no_single_records_fault(holder: Holder) -> None:
    """Brokers judge a batch, and the producer puts small records of one partition together."""
    connection = KafkaConnection(brokers=holder.connection.brokers, topic_prefix=f"small{time.time_ns()}.")

    async def make() -> None:
        admin = AIOKafkaAdminClient(**connection.options())
        await admin.start()
        limits = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": "8000"}
        await admin.create_topics([NewTopic(connection.named(DIRECT_TOPIC), 1, 1, topic_configs=limits)])
        await admin.close()

    asyncio.run(make())
    folder = holder.file.parent / "small"
    folder.mkdir()
    transport = Holder(folder, connection).transport()
    end = direct_events()[-1]
    assert isinstance(end, EpisodeEnded)
    events = [replace(end, reason="x" * 1_000)] * 20
    with pytest.raises(InvalidInput) as caught:
        transport.send_events(body_of(*events))
    assert caught.value.problem is not None
    assert (caught.value.problem.code, caught.value.problem.members) == ("too_large", {})
    assert transport.send_events(body_of(events[0])).accepted == 1
    large = replace(end, reason="x" * 9_000)
    with pytest.raises(InvalidInput) as caught:
        transport.send_events(body_of(large))
    assert caught.value.problem is not None
    assert caught.value.problem.members == {"index": 0}
    transport.close()


def test_a_grant_for_one_stream_gives_that_and_no_other(holder: Holder) -> None:
    stream = make_direct_id(9, 9)
    holder.grant(stream=stream)
    transport = holder.transport()
    assert transport.new_stream(1, 1) == stream
    with pytest.raises(AuthError, match="there is already"):
        transport.new_stream(1, 1)
    events = direct_events(stream=stream)
    assert transport.send_events(body_of(*events)).accepted == len(events)
    with pytest.raises(AuthError, match="not for the stream"):
        transport.send_events(body_of(*direct_events()))
    transport.close()


def test_without_a_broker_it_is_to_be_tried_again(nowhere: Holder) -> None:
    transport = nowhere.transport(seconds=2.0)
    began = time.monotonic()
    with pytest.raises(TransportError, match="does not answer"):
        transport.send_events(body_of(*direct_events()))
    assert time.monotonic() - began < 15
    transport.close()


def test_topics_that_are_missing_or_badly_made_are_told(holder: Holder) -> None:
    connection = KafkaConnection(brokers=holder.connection.brokers, topic_prefix=f"odd{time.time_ns()}.")
    folder = holder.file.parent / "odd"
    folder.mkdir()
    odd = Holder(folder, connection)
    missing = odd.transport(seconds=4.0)
    with pytest.raises(TransportError, match=r"there is no topic .*create-topics"):
        missing.send_events(body_of(*direct_events()))
    missing.close()

    async def make() -> None:
        admin = AIOKafkaAdminClient(**connection.options())
        await admin.start()
        times = {"message.timestamp.type": "CreateTime"}
        await admin.create_topics([NewTopic(connection.named(DIRECT_TOPIC), 1, 1, topic_configs=times)])
        await admin.close()

    asyncio.run(make())
    transport = odd.transport()
    with pytest.raises(TransportError, match="senders' times"):
        transport.send_events(body_of(*direct_events()))
    transport.close()


def test_a_broken_producer_is_made_anew(transport: KafkaTransport) -> None:
    events = direct_events()
    transport.send_events(body_of(events[0]))
    loop = transport._loop
    assert isinstance(loop, _Loop)
    producer = loop._producer
    assert producer is not None
    asyncio.run_coroutine_threadsafe(producer.stop(), loop._loop).result(30)
    with pytest.raises(TransportError):
        transport.send_events(body_of(events[1]))
    assert transport.send_events(body_of(events[1])).accepted == 1


def test_everything_else_goes_over_http(nowhere: Holder) -> None:
    transport = nowhere.transport()
    with pytest.raises(InvalidInput, match=r"CreateBenchmark .* use the server's http address"):
        transport.command(CreateBenchmark(command_id="c", benchmark=BENCHMARK, name="b"))
    with pytest.raises(InvalidInput, match="http address"):
        transport.stream_state(STREAM)
    with pytest.raises(InvalidInput, match="takes recordings alone"):
        TupliAPIClient(nowhere.address)


def test_a_recording_says_at_once_what_is_wrong(nowhere: Holder, tmp_path: Path) -> None:
    def recorder(benchmark: str, **way: Any) -> tupli.Recorder:
        return tupli.Recorder(benchmark, spool_dir=tmp_path / "spool", drain_timeout=0.1, **way)

    way: dict[str, Any] = {"transport": nowhere.address, "grant": nowhere.file}
    with pytest.raises(InvalidInput, match="goes by its id"):
        recorder("cartpole", **way)
    with pytest.raises(InvalidInput, match="the grant is for"):
        recorder(id_text(OTHER_SUBJECT), **way)
    with pytest.raises(InvalidInput, match="TUPLI_GRANT"):
        recorder(id_text(BENCHMARK), transport=nowhere.address)
    with pytest.raises(InvalidInput, match="not kafka://"):
        recorder(id_text(BENCHMARK), transport="http://127.0.0.1:1")
    with pytest.raises(InvalidInput, match="a grant is for"):
        recorder(id_text(BENCHMARK), grant=nowhere.file)
    with pytest.raises(InvalidInput, match="not both"):
        recorder(id_text(BENCHMARK), url="http://127.0.0.1:1", **way)
    nowhere.file.chmod(0o644)
    with pytest.raises(InvalidInput, match="chmod 600"):
        recorder(id_text(BENCHMARK), **way)


def test_what_could_not_be_sent_is_in_the_spool_under_the_address(nowhere: Holder, tmp_path: Path) -> None:
    recorder = tupli.Recorder(
        id_text(BENCHMARK),
        spool_dir=tmp_path / "spool",
        drain_timeout=0.2,
        transport=nowhere.transport(seconds=1.0),
    )
    recorder.start(0.5)
    recorder.step(1, 0.5, 1.0, terminated=True, truncated=False)
    with pytest.warns(UserWarning, match="still in the spool"):
        recorder.close()
    (path,) = (tmp_path / "spool").glob("*/*/manifest.json")
    manifest = json.loads(path.read_bytes())
    assert manifest["address"] == f"kafka://{nowhere.connection.brokers}"
    assert manifest["identity"] == f"{id_text(LOCAL_SUBJECT)} in {id_text(BENCHMARK)}"
    assert is_direct(bytes.fromhex(manifest["stream"].replace("-", "")))


WITHOUT = """
import sys
sys.modules["{name}"] = None
import tupli
try:
    tupli.Recorder("x", transport="kafka://127.0.0.1:1", grant="{grant}")
except tupli.TupliError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["aiokafka", "cryptography.hazmat.primitives.asymmetric"])
def test_what_is_not_installed_is_named(name: str, nowhere: Holder) -> None:
    code = WITHOUT.format(name=name, grant=nowhere.file)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert "pip install 'tupli[direct]'" in done.stdout, done.stderr
