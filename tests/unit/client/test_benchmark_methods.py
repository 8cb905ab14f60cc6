"""Environments as data: what is loaded is what is installed here, or nothing."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from tupli.errors import InvalidInput, UntrustedEnvironment
from tupli.models import BenchmarkHeader
from tupli.recording.benchmark_methods import BenchmarkMethods
from tupli.recording.config import RecordingConfig
from tupli.recording.describe import describe
from tupli.spool.manifest import BenchmarkState

ID = "018bcfe5-6800-8000-8000-000700000000"


class Plant(gymnasium.Env[Any, Any]):
    """An environment that nobody registered."""

    def __init__(self, size: int = 2) -> None:
        self.observation_space = gymnasium.spaces.Box(-1, 1, (size,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)


class Catalogue:
    """Keeps one benchmark, and what was asked."""

    def __init__(self, descriptor: dict[str, Any] | None = None) -> None:
        self.header = BenchmarkHeader(id=ID, name="plant", descriptor=descriptor or {})
        self.asked: list[tuple[str, Any]] = []

    def load_benchmark(self, benchmark_id: str) -> BenchmarkHeader:
        return self.header

    def store_benchmark(self, name: str, **members: Any) -> BenchmarkHeader:
        self.asked.append((name, members))
        return self.header

    def publish_benchmark(self, benchmark_id: str, publish_in: str) -> None:
        self.asked.append(("publish", (benchmark_id, publish_in)))

    def delete_benchmark(self, benchmark_id: str) -> None:
        self.asked.append(("delete", benchmark_id))

    def iter_headers(self, request: Any, limit: int | None = None) -> list[str]:
        return ["one"]


class _Stream:
    def __init__(self) -> None:
        self.config: Any = RecordingConfig(transport=None, directory=None)  # type: ignore[arg-type]  # not used here


class Wrapped(BenchmarkMethods):
    """The methods without a recorder."""

    def __init__(self, env: Any, storage: Any, benchmark_id: str | None = None) -> None:
        self.env = env
        self.storage = storage
        self._stream = _Stream()
        self.bind_benchmark = self._bind
        if benchmark_id is not None:
            self._bind(BenchmarkState(id=benchmark_id, resolved=True))

    def _bind(self, benchmark: BenchmarkState) -> None:
        self._stream.config.benchmark = benchmark


def test_storing_sends_data_and_binds_the_benchmark() -> None:
    storage = Catalogue()
    wrapped = Wrapped(Plant(), storage)
    assert not wrapped.id
    stored = wrapped.store("plant", description="d", metadata={"a": 1})
    assert [stored, wrapped.id] == [ID, ID]
    name, members = storage.asked[0]
    assert (name, members["description"], members["extra"]) == ("plant", "d", {"a": 1})
    assert members["descriptor"]["class"].endswith(":Plant")


def test_a_name_that_the_server_would_refuse_is_not_sent() -> None:
    storage = Catalogue()
    with pytest.raises(InvalidInput, match="name: 'my plant' is not a name: up to 128 of A-Z"):
        Wrapped(Plant(), storage).store(name="my plant")
    assert storage.asked == []


def test_publishing_before_storing_says_what_to_do() -> None:
    with pytest.raises(InvalidInput, match="store"):
        Wrapped(Plant(), Catalogue()).publish()


def test_publish_and_delete_name_the_benchmark() -> None:
    storage = Catalogue()
    wrapped = Wrapped(Plant(), storage, ID)
    wrapped.publish("lab")
    wrapped.delete()
    assert storage.asked == [("publish", (ID, "lab")), ("delete", ID)]
    with pytest.raises(InvalidInput, match="outlive"):
        wrapped.delete(delete_episodes=False)


def test_without_a_storage_it_says_what_to_write() -> None:
    with pytest.raises(InvalidInput, match=r"env.storage = TupliAPIClient\(\)"):
        Wrapped(Plant(), None).store("plant")


def test_a_registered_environment_is_made_here() -> None:
    env = gymnasium.make("CartPole-v1", render_mode=None)
    made = Wrapped.load(Catalogue(describe(env)), ID)
    assert made.env.spec.id == "CartPole-v1"
    assert made.id == ID


def test_an_unregistered_one_says_exactly_what_to_write() -> None:
    with pytest.raises(UntrustedEnvironment, match=r"make=Plant\)"):
        Wrapped.load(Catalogue(describe(Plant())), ID)


def test_an_entry_point_of_the_server_is_never_followed() -> None:
    descriptor = describe(Plant()) | {"registered": True, "environment": "os:system"}
    with pytest.raises(UntrustedEnvironment, match="not registered here"):
        Wrapped.load(Catalogue(descriptor), ID)


def test_the_function_named_here_makes_it() -> None:
    made = Wrapped.load(Catalogue(describe(Plant())), ID, make=Plant)
    assert isinstance(made.env, Plant)


def test_other_spaces_are_refused() -> None:
    with pytest.raises(UntrustedEnvironment, match="another observation_space"):
        Wrapped.load(Catalogue(describe(Plant())), ID, make=lambda: Plant(3))
