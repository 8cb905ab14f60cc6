"""Faust as the engine of the workers: one consumer group, one agent, records in the order of their partitions.

Faust is used only in the way that loses nothing. Measured and read on faust-streaming 0.15.3:

- `take`, plain iteration and `noack_take` alone acknowledge what the sink has not written; so does the way out
  of a message that a rebalance has overtaken, which is skipped *and acknowledged*. Here an acknowledgement
  counts only when the writer gave it, for a message of the assignment that still holds (`Consumer.ack`).
- An exception that leaves the agent acknowledges its message. None leaves it: the process ends instead, and
  begins again at the committed offset.
- No tables, no `group_by`, no producers of Faust, no web server, no topics made by Faust, no leader topic.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

import faust
import structlog
from faust.exceptions import ConsumerNotStarted

from tupli_ingest.adapters.faust_consumer import App, Message
from tupli_ingest.adapters.fetch_room import Held, Room
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_log import LOG_GENERATION
from tupli_ingest.adapters.kafka_reader import group_id, record_of
from tupli_ingest.core.errors import Stopped
from tupli_ingest.core.tracing import MAX_LINKS, TRACEPARENT
from tupli_schemas.addresses import brokers_of
from tupli_schemas.direct import stored_partition
from tupli_schemas.events import EPISODES_TOPIC, STREAM_TOPICS
from tupli_schemas.records import Record

FOR_EVER_S: Final = 1e9
"""For so long nothing may be taken, as while the store is away.

Aiokafka would have a member that took nothing for longer leave its group until it takes something, and Faust takes
nothing until the member is back: for good. That nothing moves is for the watchdog to judge.
"""


class Put(Protocol):
    """Takes records of an assignment, in order, and what to call when they are durable; blocks while it is full."""

    def __call__(
        self,
        generation: int,
        records: Sequence[Record],
        written: Callable[[], None],
        links: Sequence[str] = (),
        /,
    ) -> None:
        """`links` are the places in traces that the records came from."""
        ...


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """How records are gathered, and when a member of the group counts as dead.

    `records` and `gather_s` bound what the agent takes at once, `put_bytes` what it hands over at once; `fetch_bytes`
    what is fetched of a partition; `held_bytes` what was fetched and nobody has taken over: beyond it nothing more is
    asked for.
    """

    records: int = 256
    gather_s: float = 0.05
    fetch_bytes: int = 4 * 1024 * 1024
    held_bytes: int = 64 * 1024 * 1024
    put_bytes: int = 8 * 1024 * 1024
    session_s: float = 15.0
    heartbeat_s: float = 3.0
    commit_s: float = 0.5

    @classmethod
    def of_session(cls, session_s: float) -> "GroupLimits":
        """A member that is silent for `session_s` counts as dead; it is heard of five times in that time."""
        return cls(session_s=session_s, heartbeat_s=session_s / 5)


class FaustEngine:
    """A member of a consumer group, between `start` and `stop`; `put` gets what is delivered.

    `on_end` is called when it ended by itself: what went wrong is in the text.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        group: str,
        put: Put,
        *,
        limits: GroupLimits | None = None,
        on_end: Callable[[str], None],
        is_tracing: bool = False,
    ) -> None:
        self._put = put
        self._is_tracing = is_tracing
        self._is_assigned = False
        self._on_end = on_end
        self._topics = {connection.named(topic): topic for topic in STREAM_TOPICS}
        self._limits = limits or GroupLimits()
        self._room = Room(self._limits.held_bytes)
        self._threads = ThreadPoolExecutor(1, "deliveries")
        self._putting: asyncio.Future[None] | None = None
        self._is_broken = False
        self._log = structlog.get_logger("tupli_ingest.faust_engine")
        self._app = self._build(connection, group)

    async def start(self) -> None:
        """Join the group."""
        self._loop = asyncio.get_running_loop()
        await self._app.start()

    async def stop(self) -> None:
        """Commit what is written and leave the group."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._app.stop()

    def lags(self) -> dict[int, int]:
        """Records of each partition that are not committed, as far as the broker's last answers tell.

        Partitions have the numbers by which they are stored (`tupli_schemas.direct`).
        """
        return {partition: lag or 0 for partition, lag in self._known_lags().items()}

    def assignment(self) -> dict[int, int | None] | None:
        """`lags` of all partitions that this member has, and None for those whose end no broker has told yet.

        None at all before the group has answered, and while it shares out its partitions anew.
        """
        return self._known_lags() if self._is_assigned else None

    def _known_lags(self) -> dict[int, int | None]:
        consumer: Any = self._app.consumer
        found: dict[int, int | None] = {}
        for place in self._app.assignor.assigned_actives():
            try:
                end = consumer.highwater(place)
            except (AssertionError, ConsumerNotStarted):  # a rebalance has taken it just now
                continue
            committed = consumer._committed_offset.get(place)  # noqa: SLF001 -- Faust tells it nowhere else
            partition = stored_partition(self._topics[place.topic], place.partition)
            found[partition] = None if end is None else max(end - (committed or 0), 0)
        return found

    def _build(self, connection: KafkaConnection, group: str) -> "App":
        limits = self._limits
        app = App(
            group_id(connection, group, EPISODES_TOPIC),
            self._room,
            broker=[f"kafka://{broker}" for broker in brokers_of(connection.brokers)],
            broker_credentials=_credentials(connection),
            # Who joins a group is answered when the others have; Faust refuses to wait for less than a session.
            broker_request_timeout=max(connection.request_timeout_ms / 1_000, limits.session_s),
            broker_session_timeout=limits.session_s,
            broker_heartbeat_interval=limits.heartbeat_s,
            broker_commit_interval=limits.commit_s,
            broker_max_poll_interval=FOR_EVER_S,
            broker_max_poll_records=limits.records,
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=limits.fetch_bytes,
            stream_buffer_maxsize=limits.records,
            stream_wait_empty=False,
            stream_recovery_delay=0.0,
            store="memory://",
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            key_serializer="raw",
            value_serializer="raw",
        )
        topic = app.topic(*self._topics, key_type=bytes, value_type=bytes)

        @app.on_partitions_assigned.connect
        async def assigned(*_: Any, **__: Any) -> None:
            self._is_assigned = True

        @app.on_partitions_revoked.connect
        async def revoked(*_: Any, **__: Any) -> None:
            self._is_assigned = False

        @app.agent(topic, name="assemble")
        async def assemble(stream: Any) -> None:
            async for events in stream.noack().noack_take(limits.records, within=limits.gather_s):
                await self._deliver(events)

        return app

    async def _deliver(self, events: Sequence[Any]) -> None:
        """Hand over what was taken, while the next is gathered; nothing leaves here but cancellation."""
        try:
            for generation, messages in _puts(events, self._limits.put_bytes):
                before, self._putting = (
                    self._putting,
                    self._loop.run_in_executor(self._threads, self._put_messages, generation, messages),
                )
                if before is not None:
                    await asyncio.wait((before,))  # a put is not cancelled with who waits for it
        except Exception as error:  # noqa: BLE001 -- Faust would acknowledge the messages of an agent that fails
            if not self._app.should_stop:
                self._end(error)
            await asyncio.sleep(3_600)
        if self._is_broken:
            await asyncio.sleep(3_600)  # nothing of this may count as processed: the process is ending

    def _end(self, error: BaseException) -> None:
        self._log.error("the worker ends", error=f"{type(error).__name__}: {error}")
        self._on_end(f"{type(error).__name__}: {error}")

    def _put_messages(self, generation: int, messages: list["Message"]) -> None:
        """In a thread, one after the other; behind one that failed none may follow. Raises nothing."""
        if self._is_broken:
            return
        try:
            self._put_whole(generation, messages)
        except BaseException as error:  # noqa: BLE001 -- the edge of the thread
            self._is_broken = True
            if not isinstance(error, Stopped):
                self._end(error)

    def _put_whole(self, generation: int, messages: list["Message"]) -> None:
        held = [message.hand_over() for message in messages]
        records = [record_of(self._topics[one.record.topic], one.record, LOG_GENERATION) for one in held]
        links = _traceparents(held) if self._is_tracing else ()
        self._put(generation, records, lambda: self._written(messages), links)
        del held  # until here their bytes count

    def _written(self, messages: list["Message"]) -> None:
        """The writer's thread says that these are durable."""

        def acknowledge() -> None:
            for message in messages:
                message.is_written = True
                self._app.consumer.ack(message)

        self._loop.call_soon_threadsafe(acknowledge)


def _traceparents(held: Sequence[Held]) -> list[str]:
    """The places in traces that records came from, each once, the first ones alone."""
    found: dict[str, None] = {}
    for one in held:
        for name, value in one.record.headers:
            if name == TRACEPARENT and value:  # whoever writes straight to Kafka may send anything
                found[value.decode("latin-1")] = None
        if len(found) >= MAX_LINKS:
            break
    return list(found)


def _puts(events: Sequence[Any], most_bytes: int) -> list[tuple[int, list[Message]]]:
    """Messages in the order they came, cut where the assignment changed, and where there are bytes enough.

    Faust keeps the events until the last of these was put; they are left without bytes.
    """
    puts: list[tuple[int, list[Message]]] = []
    size = 0
    for event in events:
        message, event.key, event.value, event.headers = event.message, None, None, None
        if not puts or puts[-1][0] != message.generation_id or size >= most_bytes:
            puts.append((message.generation_id, []))
            size = 0
        puts[-1][1].append(message)
        size += message.found.size
    return puts


def _credentials(connection: KafkaConnection) -> Any:
    """TLS and SASL in Faust's words; None for neither."""
    context: ssl.SSLContext | None = connection.ssl_context()
    if connection.sasl_mechanism == "OAUTHBEARER":
        provider = connection.options()["sasl_oauth_token_provider"]
        return faust.OAuthCredentials(oauth_cb=provider, ssl_context=context)
    if connection.sasl_mechanism is not None:
        password = connection.sasl_password
        return faust.SASLCredentials(
            username=connection.sasl_username,
            password=None if password is None else password.get_secret_value(),
            ssl_context=context,
            mechanism=connection.sasl_mechanism,
        )
    return None if context is None else faust.SSLCredentials(context=context)
