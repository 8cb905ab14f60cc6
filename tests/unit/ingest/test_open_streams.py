"""Open streams are counted by what was written of them last."""

import pytest

from tupli_ingest.core.ports import Row
from tupli_ingest.processing import open_streams
from tupli_ingest.processing.open_streams import SILENCE_S, OpenStreams


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.streams = OpenStreams(lambda: self.now)

    def wrote(self, stream: int, *episodes: int) -> None:
        row: Row = {"stream": bytes([stream]), "open_episodes": list(episodes)}
        self.streams.note([row])


def test_a_stream_is_open_from_its_first_start_to_its_last_end() -> None:
    world = World()
    world.wrote(1, 1)
    world.wrote(2, 1, 2)
    world.wrote(1, 1)
    assert world.streams.count() == 2
    world.wrote(2, 2)
    world.wrote(1)
    assert world.streams.count() == 1
    world.wrote(2)
    world.wrote(3)
    assert world.streams.count() == 0


def test_what_has_no_news_for_long_is_not_open_any_more_and_may_be_again() -> None:
    world = World()
    world.wrote(1, 1)
    world.now = SILENCE_S / 2
    world.wrote(2, 1)
    world.now = SILENCE_S + 1
    assert world.streams.count() == 1
    world.wrote(1, 1)
    assert world.streams.count() == 2
    world.now = 3 * SILENCE_S
    assert world.streams.count() == 0


def test_others_may_have_written_what_is_forgotten() -> None:
    world = World()
    world.wrote(1, 1)
    world.streams.clear()
    assert world.streams.count() == 0


def test_its_memory_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_streams, "MAX_STREAMS", 2)
    world = World()
    for stream in (1, 2, 3):
        world.wrote(stream, 1)
    assert world.streams.count() == 2
