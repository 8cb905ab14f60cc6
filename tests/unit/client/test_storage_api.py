"""The storage over fakes of both sides."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest

from support.telling import telling
from tupli.datasets.tupli_dataset import TupliDataset
from tupli.errors import InvalidInput, NotFound, TransportError
from tupli.models import Episode, RLTuple
from tupli.storage.api import TupliAPIClient
from tupli.transport import FakeTransport
from tupli_schemas.catalog import Command, CreateBenchmark, Delete, Publish, Unpublish
from tupli_schemas.events import EpisodeEnded
from tupli_schemas.ids import episode_id, id_text, make_id

BENCHMARK = id_text(make_id(1, 1))
EPISODES = [id_text(episode_id(make_id(2, 2), n)) for n in (1, 2, 3)]


class Catalogue:
    """A read side with some episodes and one benchmark, in pages of two; everything matches but unknown ids."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.episodes = list(EPISODES)
        self.any_id = False

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append((path, dict(body)))
        kind = "benchmarks" if "benchmarks" in path else "episodes"
        ids = [BENCHMARK] if kind == "benchmarks" else self.episodes
        condition = body.get("benchmark_filter") or body.get("episode_filter")
        if condition is not None and condition["key"] == "id":
            wanted = condition["value"] if condition["type"] == "IN" else [condition["value"]]
            ids = [one for one in wanted if self.any_id or one in ids]
        start = int(body.get("cursor") or 0)
        rows = [{"id": text, "n_tuples": 4, "return": 1.5} for text in ids[start : start + 2]]
        return {kind: rows, "cursor": str(start + 2) if start + 2 < len(ids) else None}

    def stream(self, path: str, body: Mapping[str, Any]) -> AbstractContextManager[Iterator[bytes]]:
        raise NotImplementedError


class Commands(FakeTransport):
    """A write side that remembers commands."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[Command] = []

    def command(self, command: Command) -> dict[str, Any]:
        self.commands.append(command)
        return super().command(command)


@pytest.fixture
def storage() -> TupliAPIClient:
    out = TupliAPIClient("http://127.0.0.1:9", "")
    out.transport = Commands()  # type: ignore[assignment]  # the port is the same
    out.query = Catalogue()  # type: ignore[assignment]  # the port is the same
    return out


def test_a_with_block_closes_both_sides() -> None:
    class Closing(Commands):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    sides = Closing(), Closing()
    with TupliAPIClient("http://127.0.0.1:9", "") as storage:
        storage.transport, storage.query = sides  # type: ignore[assignment]  # the ports are the same
    assert [side.closed for side in sides] == [1, 1]


def test_listings_follow_their_cursors(storage: TupliAPIClient) -> None:
    assert [header.id for header in storage.list_episodes()] == EPISODES
    assert storage.list_episodes()[0].return_ == 1.5
    assert [header.id for header in storage.list_benchmarks()] == [BENCHMARK]


def test_publish_finds_the_kind(storage: TupliAPIClient) -> None:
    storage.publish(EPISODES[1], "lab")
    storage.publish(BENCHMARK)
    one, two = storage.transport.commands  # type: ignore[attr-defined]  # of the fake
    assert isinstance(one, Publish)
    assert (one.kind, one.scope, id_text(one.ids[0])) == ("episode", "lab", EPISODES[1])
    assert (two.kind, two.scope) == ("benchmark", "global")
    with pytest.raises(NotFound):
        storage.publish(id_text(make_id(9, 9)))
    with pytest.raises(InvalidInput, match="not an id"):
        storage.delete_episode("x")


def test_unpublish_and_delete_find_the_kind(storage: TupliAPIClient) -> None:
    storage.unpublish(EPISODES[1], "lab")
    storage.unpublish(BENCHMARK)
    storage.delete(EPISODES[0])
    storage.delete(BENCHMARK)
    commands = storage.transport.commands  # type: ignore[attr-defined]  # of the fake
    assert [type(one) for one in commands] == [Unpublish, Unpublish, Delete, Delete]
    assert [one.kind for one in commands] == ["episode", "benchmark", "episode", "benchmark"]
    assert [one.scope for one in commands[:2]] == ["lab", "global"]
    assert [id_text(one.ids[0]) for one in commands] == [EPISODES[1], BENCHMARK, EPISODES[0], BENCHMARK]
    for missing in (storage.unpublish, storage.delete):
        with pytest.raises(NotFound, match="neither"):
            missing(id_text(make_id(9, 9)))
    _, asked = storage.query.asked[0]  # type: ignore[attr-defined]  # of the fake
    assert set(asked["include"]) == {"open", "abandoned", "incomplete", "conflict"}


def test_a_dataset_names_its_episodes(storage: TupliAPIClient) -> None:
    data = TupliDataset(storage)
    assert data.publish("lab") == 3
    assert data.limit_episodes(2).delete() == 2
    published, deleted = storage.transport.commands  # type: ignore[attr-defined]  # of the fake
    assert [id_text(one) for one in published.ids] == EPISODES
    assert isinstance(deleted, Delete)
    assert len(deleted.ids) == 2
    preview = data.preview()
    assert (preview.n_episodes, preview.n_tuples) == (3, 12)


def test_a_seed_belongs_to_its_dataset(storage: TupliAPIClient) -> None:
    one, two = TupliDataset(storage), TupliDataset(storage)
    one.set_seed(3)
    two.set_seed(3)
    assert one.sample_episodes(2) == two.sample_episodes(2)
    assert len(one.sample_episodes(9)) == 3


def test_storing_a_benchmark_sends_its_description(storage: TupliAPIClient) -> None:
    header = storage.store_benchmark("plant", description="d", extra={"a": float("nan")})
    (command,) = storage.transport.commands  # type: ignore[attr-defined]  # of the fake
    assert isinstance(command, CreateBenchmark)
    assert (command.name, command.description) == ("plant", "d")
    assert header.id == id_text(command.benchmark)
    with pytest.raises(InvalidInput, match=r"name: 'a/b' is not a name: up to 128 of A-Z"):
        storage.store_benchmark("a/b")
    assert len(storage.transport.commands) == 1  # type: ignore[attr-defined]  # of the fake


def test_recording_ships_events_and_waits_until_they_are_visible(storage: TupliAPIClient) -> None:
    storage.query.any_id = True  # type: ignore[attr-defined]  # of the fake
    failures = [TransportError("busy", retry_after=0.001)]

    def before(_: object) -> None:
        if failures:
            raise failures.pop()

    storage.transport.before_send = before  # type: ignore[attr-defined]  # of the fake
    header = storage.record(Episode(BENCHMARK, tuples=[RLTuple([1.0], 0, 2.0, terminal=True)]))
    ended = storage.transport.events[-1]  # type: ignore[attr-defined]  # of the fake
    assert isinstance(ended, EpisodeEnded)
    assert (ended.n_steps, ended.return_, ended.has_final) == (1, 2.0, False)
    assert header.id == id_text(episode_id(ended.stream, 1))


def test_metadata_that_is_named_like_a_field_is_told(storage: TupliAPIClient) -> None:
    storage.query.any_id = True  # type: ignore[attr-defined]  # of the fake
    metadata = {"status": "good", "month": "June"}
    with telling() as told:
        storage.record(Episode(BENCHMARK, metadata, [RLTuple([1.0], 0, 2.0, terminal=True)]))
    assert told == ["metadata 'status' is named like a field of episodes: in filters it is 'metadata.status'"]


def test_recording_into_nothing_is_refused(storage: TupliAPIClient) -> None:
    with pytest.raises(NotFound):
        storage.record(Episode(id_text(make_id(9, 9)), tuples=[RLTuple([1.0], 0, 2.0)]))
