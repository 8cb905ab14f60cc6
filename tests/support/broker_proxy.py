"""A proxy in front of a broker: it knows where Kafka's requests begin and of which kind they are, and holds or cuts them.

A request is four bytes of length, then two of its kind (`api_key`; Kafka's protocol guide, "Common Request and
Response Structure"). The broker must advertise the proxy's port: see `kafka_broker.own_broker`.
"""

import asyncio
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self, TypeVar

T = TypeVar("T")
OFFSET_COMMIT: Final = frozenset({8})
COORDINATOR: Final = frozenset({8, 9, 10, 11, 12, 13, 14})
"""OffsetCommit, OffsetFetch, FindCoordinator, JoinGroup, Heartbeat, LeaveGroup, SyncGroup."""
MAX_REQUEST_BYTES: Final = 64 * 1024 * 1024
PIECE_BYTES: Final = 64 * 1024
WAIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Rule:
    """What happens to requests of these kinds (None: all of them, and answers) that have `text` in them."""

    cuts: bool
    kinds: Collection[int] | None
    text: bytes = b""

    def concerns(self, request: bytes) -> bool:
        kind = int.from_bytes(request[:2], "big")
        return (self.kinds is None or kind in self.kinds) and self.text in request


class BrokerProxy:
    """Listens on `port` of the loopback interface for the length of a block; passes on to `broker_port`."""

    def __init__(self) -> None:
        self.broker_port = 0
        self._rule: _Rule | None = None
        self._held: set[asyncio.StreamReader] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._verdict: asyncio.Future[bool] = self._loop.create_future()
        self._thread = threading.Thread(target=self._loop.run_forever, name="broker-proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(WAIT_S)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(WAIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def hold(self, kinds: Collection[int] | None = None, *, text: bytes = b"") -> None:
        """From now on requests of these kinds that have `text` in them wait, and what comes behind them.

        None: all of them, and the answers too, as where the network swallows everything.
        """
        self._do(lambda: self._use(_Rule(cuts=False, kinds=kinds, text=text)))

    def cut(self, kinds: Collection[int] | None = None) -> None:
        """From now on a connection ends over which a request of these kinds comes; None: every one, at once."""
        self._do(lambda: self._use(_Rule(cuts=True, kinds=kinds)))

    def pass_on(self, *, drop: bool = False) -> None:
        """Pass on everything again; `drop` ends the connections of requests that were held."""
        self._do(lambda: self._use(None, drop=drop))

    @property
    def held(self) -> int:
        """How many connections have a request that is held, with somebody at the other end."""
        return self._do(lambda: sum(not reader.at_eof() for reader in self._held))

    def _do(self, work: Callable[[], T]) -> T:
        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(WAIT_S)

    def _use(self, rule: _Rule | None, *, drop: bool = False) -> None:
        self._rule = rule
        self._verdict.set_result(drop)
        self._verdict = self._loop.create_future()
        if rule is not None and rule.cuts and rule.kinds is None:
            for connection in self._connections:
                connection.cancel()

    async def _end(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either end closes it or a rule does."""
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            with suppress(ConnectionError, EOFError, asyncio.CancelledError):
                await self._pass_both_ways(reader, writer)
        finally:
            self._connections.discard(connection)
            self._held.discard(reader)
            writer.transport.abort()

    async def _pass_both_ways(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self.broker_port)
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._requests(reader, to_broker))
                ways.create_task(self._answers(from_broker, writer))
        except* (ConnectionError, EOFError):
            pass  # one end is gone, or a rule wants it so
        finally:
            to_broker.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, to_broker: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readexactly(4)
            size = int.from_bytes(head, "big")
            if size > MAX_REQUEST_BYTES:
                raise ConnectionError(f"a request of {size} bytes")
            request = await reader.readexactly(size)
            await self._obey(reader, request)
            to_broker.write(head + request)
            await to_broker.drain()

    async def _answers(self, from_broker: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await from_broker.read(PIECE_BYTES):
            while self._rule is not None and self._rule.kinds is None:
                await asyncio.shield(self._verdict)
            writer.write(piece)
            await writer.drain()
        raise EOFError

    async def _obey(self, reader: asyncio.StreamReader, request: bytes) -> None:
        """Wait while this request is to be held.

        Raises:
            ConnectionError: It is to be dropped, with its connection.
        """
        while self._rule is not None and self._rule.concerns(request):
            if self._rule.cuts:
                raise ConnectionError("cut")
            self._held.add(reader)
            try:
                if await asyncio.shield(self._verdict):
                    raise ConnectionError("dropped")
            finally:
                self._held.discard(reader)
