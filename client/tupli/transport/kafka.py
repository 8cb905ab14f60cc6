"""Straight to Kafka: for recorders inside the cluster, without a gateway (topic `tupli.direct.v1`).

The spool is the same, the events are the same; each request is signed with the key of a recording grant, and
acknowledged once the brokers have it. Only events go this way: a benchmark must exist before, and what is read,
published or deleted goes over HTTP.
"""

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Hashable, Sequence
from typing import Any, Final, NoReturn

from tupli.errors import AuthError, InvalidInput, TransportError, TupliError
from tupli.transport.base import Body, SendResult, whole
from tupli.transport.grant import INSTALL, GrantFile, RecorderGrant
from tupli.transport.kafka_address import KafkaAddress
from tupli_schemas.catalog import Command
from tupli_schemas.direct import CLOCK_LEEWAY_S, Sealed, leaf_of, signed_message, tree_of
from tupli_schemas.errors import ContractError
from tupli_schemas.events import DIRECT_TOPIC, MAX_EVENT_BYTES, EpisodeStarted, Event, decode_event
from tupli_schemas.framing import decode_frames
from tupli_schemas.ids import id_text, is_direct, make_direct_id
from tupli_schemas.problems import Problem

try:
    from aiokafka import AIOKafkaProducer
    from aiokafka.errors import (
        AuthenticationFailedError,
        AuthenticationMethodNotSupported,
        ClusterAuthorizationFailedError,
        KafkaConnectionError,
        KafkaError,
        MessageSizeTooLargeError,
        SaslAuthenticationFailed,
        TopicAuthorizationFailedError,
        UnknownTopicOrPartitionError,
    )

    from tupli.transport.kafka_options import client_options
except ImportError as missing:
    raise TupliError(INSTALL) from missing

MAX_REQUEST_BYTES: Final = MAX_EVENT_BYTES + 64 * 1024
"""What the topic takes: an event with its seal, and what Kafka adds."""
SECONDS: Final = 30.0
STOP_SECONDS: Final = 5.0
LOG_APPEND_TIME: Final = 1
_REFUSED: Final = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)

# The recorder tells once what is away; aiokafka's lines at each try are for those who have set up logging.
logging.getLogger("aiokafka").addHandler(logging.NullHandler())


class KafkaTransport:
    """Events straight to Kafka. See `Transport`; `TUPLI_KAFKA_*` has TLS and SASL.

    Args:
        address: `kafka://host:port[,host:port][?topic_prefix=...]`.
        grant: File of the recording grant, `TUPLI_GRANT` when left out.
        seconds: How long to wait for the brokers.

    Raises:
        InvalidInput: The address is none, or there is no grant.
    """

    def __init__(
        self, address: str, grant: str | os.PathLike[str] | None = None, *, seconds: float = SECONDS
    ) -> None:
        self._address = KafkaAddress.parse(address)
        self._options = client_options()
        self._grants = GrantFile(grant)
        self._seconds = seconds
        self._topic = self._address.topic_prefix + DIRECT_TOPIC
        self._lock = threading.Lock()
        self._loop: _Loop | None = None
        self._inherited: list[_Loop] = []
        self._gave_stream = False
        _open.add(self)

    @property
    def address(self) -> str:
        """The brokers and the prefix of topics."""
        return str(self._address)

    @property
    def identity(self) -> str:
        """Whom the grant is for, and in which benchmark: others' streams stay in the spool."""
        grant = self._grants.newest
        return f"{id_text(grant.subject)} in {id_text(grant.benchmark)}"

    @property
    def route(self) -> Hashable:
        """The brokers, and the file of the grant."""
        return str(self._address), self._grants.path, self._seconds

    @property
    def benchmark(self) -> str:
        """The id of the benchmark that the grant is for."""
        return id_text(self._grants.newest.benchmark)

    def new_stream(self, now_ms: int, random_bits: int) -> bytes:
        """A stream of the kind that goes straight to Kafka; the one that the grant is for, if it names one."""
        granted = self._grants.newest.stream
        if granted is None:
            return make_direct_id(now_ms, random_bits)
        if self._gave_stream:
            raise AuthError(f"the grant is for the one stream {id_text(granted)}, which there is already")
        self._gave_stream = True
        return granted

    def send_events(self, body: Body) -> SendResult:
        """Sign and append framed events; returns once the brokers have them."""
        grant = self._grants.current()
        payloads = [frame.payload for frame in decode_frames(whole(body))]
        events = [_checked(payload, grant, index) for index, payload in enumerate(payloads)]
        if not events:
            raise InvalidInput(
                "no events", place="body", problem=Problem("invalid_request", "no events", "body")
            )
        records = _sealed(events, payloads, grant)
        self._running().send(self._topic, records, grant)
        last: dict[str, int] = {}
        for event in events:
            last[id_text(event.stream)] = max(last.get(id_text(event.stream), 0), event.last)
        return SendResult(len(events), last)

    def command(self, command: Command) -> dict[str, Any]:
        """No command goes this way."""
        self._refuse(command.NAME)

    def stream_state(self, stream: bytes) -> dict[str, Any]:  # noqa: ARG002 -- the port's
        """Nothing is read this way: what is acknowledged is durable, and visible soon."""
        self._refuse("asking for a stream")

    def close(self) -> None:
        """Disconnect; the next call connects again."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None and loop.pid == os.getpid():
            loop.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy connects by itself, with the grant that is in the file then."""
        return KafkaTransport, (self.address, os.fspath(self._grants.path))

    def _refuse(self, what: str) -> NoReturn:
        told = f"{what} does not go straight to Kafka ({self.address}): use the server's http address, as TUPLI_URL has it"
        raise InvalidInput(told, place="transport")

    def _running(self) -> "_Loop":
        """The loop of this process: a forked child leaves its parent's connections alone."""
        with self._lock:
            if self._loop is not None and self._loop.pid != os.getpid():
                self._inherited.append(self._loop)
                self._loop = None
            if self._loop is None:
                self._loop = _Loop(list(self._address.brokers), self._options, self._seconds)
            return self._loop


class _Loop:
    """A producer on an event loop of its own, on a thread of its own; made anew after whatever it does not survive."""

    def __init__(self, brokers: list[str], options: dict[str, Any], seconds: float) -> None:
        self.pid = os.getpid()
        self._brokers = brokers
        self._options = options
        self._seconds = seconds
        self._producer: AIOKafkaProducer | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tupli-kafka", daemon=True)
        self._thread.start()

    def send(self, topic: str, records: Sequence[tuple[bytes, bytes]], grant: RecorderGrant) -> None:
        """Append records, keys and values, in this order.

        Raises:
            TransportError: Some may be there; send all of them again. AuthError: the brokers refuse us, or took it
            when the grant did not hold. InvalidInput: one is too large; its index is in the problem.
        """
        work = asyncio.run_coroutine_threadsafe(self._send(topic, records, grant), self._loop)
        try:
            work.result(self._seconds + STOP_SECONDS + 1.0)
        except TimeoutError as error:
            work.cancel()
            raise TransportError("Kafka does not answer") from error

    def close(self) -> None:
        """Send what is on its way, and end the thread."""
        ending = asyncio.run_coroutine_threadsafe(self._stop(), self._loop)
        with contextlib.suppress(TimeoutError):
            ending.result(STOP_SECONDS + 1.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    async def _send(self, topic: str, records: Sequence[tuple[bytes, bytes]], grant: RecorderGrant) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                kept = await self._append(topic, records)
        except TupliError:
            raise
        except UnknownTopicOrPartitionError as error:
            raise TransportError(
                f"there is no topic {topic}: `tupli admin create-topics` makes it"
            ) from error
        except _REFUSED as error:
            await self._stop()
            raise AuthError(f"Kafka refuses us ({type(error).__name__}: {error})") from error
        except (KafkaError, OSError, AssertionError) as error:  # TimeoutError is an OSError
            await self._stop()
            raise TransportError(f"Kafka does not answer ({type(error).__name__}: {error})") from error
        for one in kept:
            _check_time(topic, one, grant)

    async def _append(self, topic: str, records: Sequence[tuple[bytes, bytes]]) -> list[Any]:
        if self._producer is None:
            self._producer = await self._made()
        coming = [await self._producer.send(topic, value, key=key) for key, value in records]
        answers = await asyncio.gather(*coming, return_exceptions=True)
        for index, answer in enumerate(answers):
            if isinstance(answer, MessageSizeTooLargeError):
                await self._stop()  # its next sequence number would be refused
                # Brokers judge a batch; which record is too large for them is known of one that was sent alone.
                alone = index if len(records) == 1 else None
                raise _invalid(alone, "too_large", "the brokers take no record so large") from answer
            if isinstance(answer, BaseException):
                raise answer
        return answers

    async def _made(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._options,
            bootstrap_servers=self._brokers,
            enable_idempotence=True,
            acks="all",
            max_request_size=MAX_REQUEST_BYTES,
            max_batch_size=1 << 20,
            request_timeout_ms=int(self._seconds * 600),  # it gives up, and says why, before we do
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _stop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(KafkaError, OSError):  # it is broken; nothing of it was acknowledged
                await _end(producer)


async def _end(producer: Any) -> None:
    """Stop a producer, which would wait for its brokers without an end; what it has not sent then fails."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await producer.stop()
    except TimeoutError:
        producer._message_accumulator.fail_all(KafkaConnectionError("given up"))  # noqa: SLF001 -- aiokafka has no other way
        await producer.client.close()
        await producer._sender.close()  # noqa: SLF001 -- the same


def _sealed(
    events: Sequence[Event], payloads: Sequence[bytes], grant: RecorderGrant
) -> list[tuple[bytes, bytes]]:
    """Keys and values of a request's events, under one signature."""
    pairs = list(zip(events, payloads, strict=True))
    root, ways = tree_of([leaf_of(event.stream, grant.token, payload) for event, payload in pairs])
    signature = grant.sign(signed_message(root))
    return [
        (event.stream, Sealed(grant.token, signature, payload, way).to_bytes())
        for (event, payload), way in zip(pairs, ways, strict=True)
    ]


def _checked(payload: bytes, grant: RecorderGrant, index: int) -> Event:
    """An event that the grant is for: what would be a dead letter is not sent."""
    if len(payload) > MAX_EVENT_BYTES:
        raise _invalid(index, "too_large", f"{len(payload)} bytes, the limit is {MAX_EVENT_BYTES}")
    try:
        event = decode_event(payload)
    except ContractError as error:
        raise _invalid(index, "invalid_event", str(error)) from error
    if not is_direct(event.stream):
        raise _invalid(index, "invalid_event", "its stream goes through a gateway, and not straight to Kafka")
    benchmark = event.benchmark.id if isinstance(event, EpisodeStarted) else event.benchmark_id
    if benchmark != grant.benchmark or grant.stream not in (None, event.stream):
        raise AuthError(f"the grant is not for the stream {id_text(event.stream)} and its benchmark")
    return event


def _check_time(topic: str, kept: Any, grant: RecorderGrant) -> None:
    """Whether the brokers' clock had the grant in force: what they took at another time becomes a dead letter."""
    if kept.timestamp_type != LOG_APPEND_TIME:
        raise TransportError(
            f"the topic {topic} has its senders' times: make it with `tupli admin create-topics`"
        )
    appended = kept.timestamp / 1_000
    if not grant.issued_at - CLOCK_LEEWAY_S <= appended < grant.expires_at:
        raise AuthError("the brokers' clock says that the grant does not hold")


def _invalid(index: int | None, code: str, told: str) -> InvalidInput:
    """What is wrong with the event at an index; None where it is one of them."""
    if index is None:
        problem = Problem(code, told, "events")
    else:
        problem = Problem(code, told, f"events[{index}]", members={"index": index})
    return InvalidInput(told, place=problem.place, problem=problem)


_open: "weakref.WeakSet[KafkaTransport]" = weakref.WeakSet()


def _close_all() -> None:
    for transport in list(_open):
        transport.close()


atexit.register(_close_all)
