"""A request goes out in parts: large ones as they are, small ones put together."""

from hypothesis import given
from hypothesis import strategies as st

from support.sink import Sink
from tupli.recording.delivery import LARGE_PART, Item, deliver
from tupli.spool.reader import Outgoing
from tupli.transport.base import Body, SendResult, whole
from tupli.transport.fake import FakeTransport
from tupli_schemas.events import EpisodeAmended

EVENT = Outgoing(EpisodeAmended(stream=bytes(16), first=1, episode=1), 0, 0)
SIZES = st.lists(st.lists(st.sampled_from([1, 20, LARGE_PART - 1, LARGE_PART, 3 * LARGE_PART]), max_size=3))


class Keeping(FakeTransport):
    """Keeps the last body as it came."""

    body: Body = b""

    def send_events(self, body: Body) -> SendResult:
        self.body = body
        return SendResult(0)


@given(SIZES)
def test_the_parts_are_the_whole_and_few_and_large_ones_are_not_copied(sizes: list[list[int]]) -> None:
    sink, transport = Sink(), Keeping()
    frames = [tuple(bytes([i % 256]) * size for size in frame) for i, frame in enumerate(sizes)]
    deliver(transport, [Item(sink, EVENT, frame) for frame in frames])
    pieces = [piece for frame in frames for piece in frame]
    assert whole(transport.body) == b"".join(pieces)
    large = [piece for piece in pieces if len(piece) >= LARGE_PART]
    parts = list(transport.body)
    assert all(any(part is piece for part in parts) for piece in large)
    assert len(parts) <= 2 * len(large) + sum(map(len, pieces)) // LARGE_PART + 1
    assert all(len(part) for part in parts if isinstance(part, bytes))
    assert (sink.acknowledged, sink.refused) == (len(frames), [])
