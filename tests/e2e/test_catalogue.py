"""Publish, unpublish and delete through the client: seen at once, and deleted columns are erased in the store."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tupli
from support.environments import make, play
from support.server_process import ServerProcess
from tupli import Episode, F, RLTuple, TupliAPIClient, TupliDataset
from tupli_ingest.adapters.chdb_client import ChdbClient
from tupli_schemas.ids import parse_id


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server") / "data") as server:
        yield server


@pytest.fixture
def storage(server: ServerProcess) -> Iterator[TupliAPIClient]:
    storage = TupliAPIClient(server.url)
    yield storage
    storage.close()


def recorded(storage: TupliAPIClient, name: str, spool: Path, kind: str = "cartpole") -> TupliDataset:
    """A new benchmark of some episodes."""
    with tupli.record(make(kind), name, url=storage.address, spool_dir=spool) as env:
        play(env, 70, 5)
    data = tupli.dataset(name, storage=storage)
    assert len(data.preview()) > 3
    return data


def rows_in_store(data: Path, episodes: list[str]) -> int:
    """How many rows any table of a stopped server's store has of these episodes, in whatever version."""
    client = ChdbClient(data / "store")
    try:
        database = max(client.column("SELECT name FROM system.databases WHERE name LIKE 'tupli_g%'"))
        tables = client.column(f"SELECT DISTINCT name FROM {database}.step_tables")
        wanted = ", ".join(f"unhex('{parse_id(episode).hex()}')" for episode in episodes)
        return sum(
            int(client.column(f"SELECT count() FROM {database}.{table} WHERE episode IN ({wanted})")[0])
            for table in (*tables, "episodes")
        )
    finally:
        client.close()


def test_an_episode_is_published_and_unpublished(storage: TupliAPIClient, tmp_path: Path) -> None:
    data = recorded(storage, "publish-one", tmp_path)
    first, *others = data.preview()
    storage.publish_episode(first.id, "lab")
    storage.publish(first.id)
    assert set(storage.load_episode(first.id).published_in) == {"lab", "global"}
    in_lab = data.with_episode_filter(F("published_in") == "lab").preview()
    assert [header.id for header in in_lab] == [first.id]
    assert storage.load_episode(others[0].id).published_in == ()
    storage.unpublish_episode(first.id, "lab")
    assert storage.load_episode(first.id).published_in == ("global",)
    storage.unpublish(first.id)
    assert storage.load_episode(first.id).published_in == ()


def test_a_benchmark_and_a_dataset_are_published(storage: TupliAPIClient, tmp_path: Path) -> None:
    data = recorded(storage, "publish-all", tmp_path)
    (benchmark,) = data.benchmarks
    storage.publish(benchmark.id)
    assert storage.load_benchmark(benchmark.id).published_in == ("global",)
    storage.unpublish_benchmark(benchmark.id)
    assert storage.load_benchmark(benchmark.id).published_in == ()
    some = data.with_episode_filter(F("n_tuples") >= sorted(h.n_tuples for h in data.preview())[1])
    assert some.publish("lab") == len(some.preview()) < len(data.preview())
    assert all(header.published_in == ("lab",) for header in some.preview())
    assert len(data.with_episode_filter(F("published_in") == "lab").preview()) == len(some.preview())


def test_recordings_are_published_as_they_come(storage: TupliAPIClient, tmp_path: Path) -> None:
    with tupli.record(
        make("cartpole"), "published", url=storage.address, spool_dir=tmp_path, publish_in="lab"
    ) as env:
        play(env, 30, 1)
    headers = tupli.dataset("published", storage=storage).preview()
    assert {header.published_in for header in headers} == {("lab",)}


def test_what_records_in_one_line_has_the_words_of_a_benchmark(
    storage: TupliAPIClient, tmp_path: Path
) -> None:
    with tupli.record(make("cartpole"), "one-line", url=storage.address, spool_dir=tmp_path) as env:
        env.reset()
        stored = env.store("stored-later")
        env.publish("lab")
        play(env, 20, 5)
    (header,) = [one for one in storage.list_benchmarks() if one.id == stored]
    assert header.published_in == ("lab",)
    assert tupli.dataset("stored-later", storage=storage).preview()
    env.unpublish("lab")
    env.delete()
    assert stored not in {one.id for one in storage.list_benchmarks()}


def test_many_episodes_are_recorded_at_once(storage: TupliAPIClient) -> None:
    def episode(n: int, **members: Any) -> Episode:
        tuples = [RLTuple(np.full(3, i, np.float32), i % 2, 1.0, terminal=i == n) for i in range(n + 1)]
        metadata = {"odd.key": n}
        return Episode(**{"benchmark_id": benchmark, "tuples": tuples, "metadata": metadata} | members)

    benchmark = storage.store_benchmark("many").id
    headers = storage.record_episodes((episode(n) for n in range(700)), publish_in="lab")
    assert [header.n_tuples for header in headers] == list(range(1, 701))
    assert {header.published_in for header in headers} == {("lab",)}
    data = tupli.dataset("many", storage=storage).order_by("-metadata.`odd.key`")
    assert [header.id for header in data.preview()] == [header.id for header in reversed(headers)]
    assert data.limit_episodes(1).to_numpy()["observation"][:, 0].tolist() == list(range(700))
    with pytest.raises(
        tupli.InvalidInput, match=r"known: .*; metadata of these episodes: metadata\.`odd\.key`"
    ):
        data.order_by("nope").preview()

    oversized = episode(0, metadata={"x": "y" * (13 << 20)})  # one event may have 12 MiB
    with pytest.raises(
        tupli.InvalidInput, match=r"^episodes\[2\].*episodes\[0\] to episodes\[1\] are accepted"
    ):
        storage.record_episodes([episode(701), episode(702), oversized, episode(703)])
    assert len(data.preview()) in {700, 701, 702}  # accepted; visible in a moment


def test_deleting_hides_at_once_and_erases(
    server: ServerProcess, storage: TupliAPIClient, tmp_path: Path
) -> None:
    one = recorded(storage, "delete-one", tmp_path)
    some = recorded(storage, "delete-some", tmp_path)
    every = recorded(storage, "delete-all", tmp_path, "image")
    headers = one.preview()

    storage.delete_episode(headers[0].id)
    assert [header.id for header in one.preview()] == [header.id for header in headers[1:]]
    assert len(one.to_numpy()["reward"]) == sum(header.n_tuples for header in headers[1:])
    with pytest.raises(tupli.NotFound):
        storage.load_episode(headers[0].id)
    storage.delete_episode(headers[0].id)  # once more is no error and changes nothing
    assert len(one.preview()) == len(headers) - 1

    chosen = some.order_by("-n_tuples").limit_episodes(2)
    deleted = [headers[0].id, *(header.id for header in chosen.preview())]
    left = [header.id for header in some.preview() if header.id not in deleted]
    assert chosen.delete() == len(deleted) - 1 == 2
    assert [header.id for header in some.preview()] == left

    deleted += [header.id for header in every.preview()]
    (benchmark,) = every.benchmarks
    storage.delete(benchmark.id)
    assert every.benchmarks == []
    for read in (every.preview, every.to_numpy):
        with pytest.raises(tupli.NotFound, match="delete-all"):
            read()
    with pytest.raises(tupli.NotFound):
        storage.load_benchmark(benchmark.id)

    server.kill()  # whatever of them was not erased yet is erased after the next start
    for pause in (1, 5, 10):
        server.start()
        time.sleep(pause)
        assert server.stop() == 0
        if rows_in_store(server.data, deleted) == 0:
            break
    assert rows_in_store(server.data, deleted) == 0
    assert rows_in_store(server.data, left) > 0
    server.start()
    assert [header.id for header in some.preview()] == left
    again = storage.store_benchmark("delete-all")  # the name is free
    assert again.id != benchmark.id
