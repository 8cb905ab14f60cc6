"""What of Faust's consumer is ours: what counts as acknowledged, and that it never waits for what it could have.

Measured and read on faust-streaming 0.15.3 over aiokafka 0.14.
"""

import asyncio
from typing import Any, Final

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ConsumerMessage
from mode.services import WaitResults

from tupli_ingest.adapters.at_once import Begun
from tupli_ingest.adapters.fetch_room import Held, Room

FETCH_WAIT_MS: Final = 100
"""For so long a broker keeps a request to fetch that it has nothing for."""

ROOM_SECONDS: Final = 0.01
"""So often it is looked whether there is room for more."""


class Message(ConsumerMessage):
    """A message that knows what the consumer gave (`Held`), and whether it is durable where it was sent to."""

    is_written = False
    found: Any = None

    def hand_over(self) -> Held:
        """What the consumer gave. A message is kept until it is acknowledged, but without bytes."""
        held: Held = self.found
        self.found = self.value = self.key = self.headers = None
        return held


class Fetching(driver.AIOKafkaConsumerThread):
    """Fetches, on its thread."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        """Aiokafka's consumer, which asks a broker for nothing else while it keeps a request.

        While some partitions have records here that nobody has taken, that request is about the others, the idle ones.
        Faust lets it be kept for 1.5 s and has no setting for it.
        """
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 -- Faust passes its own
        return consumer


class Consumer(driver.Consumer):
    """Counts an acknowledgement only for what is written, and only in the assignment that it came in."""

    app: Any  # an `App`

    def on_buffer_full(self, tp: Any) -> None:
        """Go on with this partition: who puts into a full buffer waits until it has room.

        Faust would leave the partition out, and wait up to a second for the others' records, or for nothing where all
        are left out, however soon there is room.
        """

    def on_buffer_drop(self, tp: Any) -> None:
        """It was never left out."""

    def _new_consumer_thread(self) -> Any:
        return Fetching(self, loop=self.loop, beacon=self.beacon)

    def ack(self, message: Any) -> bool:
        """Whether it counts now."""
        if not message.is_written or message.generation_id != self.app.consumer_generation_id:
            return False
        return bool(super().ack(message))

    async def wait_first(self, *waited: Any, timeout: Any = None) -> Any:  # noqa: ASYNC109 -- Faust's signature
        """What first ends of these. Faust asks it of each message, whose way into the queue seldom waits."""
        if len(waited) == 2 and all(map(asyncio.iscoroutine, waited)):
            message, suspended = waited
            try:
                begun = Begun(message)
            except BaseException:
                suspended.close()
                raise
            if begun.is_done:
                suspended.close()
                return WaitResults([message], [begun.result], stopped=False)
            waited = (begun, suspended)
        return await super().wait_first(*waited, timeout=timeout)

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109 -- Faust's signature
        """Records, or none where there is no room for them in time: buffers are bounded by count, records are not."""
        room = self.app.room
        end = self.loop.time() + timeout
        while room.is_full:
            if self.loop.time() > end or not self.flow_active:
                return {}
            await self.sleep(ROOM_SECONDS)
        return await super()._getmany(active_partitions, timeout)

    def _to_message(self, tp: Any, record: Any) -> Any:
        message: Any = super()._to_message(tp, record)
        message.__class__ = Message
        message.found = self.app.room.take(record)
        return message


class Transport(driver.Transport):
    """Brings our consumer."""

    Consumer = Consumer


class App(faust.App):
    """A Faust application that keeps nothing on disk, with our transport, and room for so many bytes."""

    def __init__(self, name: str, room: Room, **settings: Any) -> None:
        self.room = room
        super().__init__(name, **settings)

    def _create_directories(self) -> None:
        """Nothing is kept in any."""

    def _new_transport(self) -> Any:
        return Transport(self.conf.broker_consumer, self)
