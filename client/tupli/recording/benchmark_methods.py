"""Store, publish, load and delete the benchmark of a wrapped environment.

A benchmark is data. Loading one makes an environment from what is installed here: an id that is
registered here, or the function that the caller names. Nothing that the server says is imported.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self

import gymnasium

from tupli._spaces import space_to_json
from tupli.errors import InvalidInput, UntrustedEnvironment
from tupli.names import checked_name
from tupli.recording.describe import describe
from tupli.spool.manifest import BenchmarkState
from tupli.transport.base import Transport
from tupli.transport.http import HttpTransport
from tupli.transport.kafka_address import is_kafka
from tupli_schemas.catalog import GLOBAL_SCOPE
from tupli_schemas.errors import ContractError
from tupli_schemas.filter_tree import FilterEQ
from tupli_schemas.values import from_tagged

Descriptor = Mapping[str, Any]
MakeEnv = Callable[..., Any]


class _Storage(Protocol):
    def store_benchmark(self, name: str, **members: Any) -> Any: ...
    def load_benchmark(self, benchmark_id: str) -> Any: ...
    def publish_benchmark(self, benchmark_id: str, publish_in: str = ...) -> None: ...
    def unpublish_benchmark(self, benchmark_id: str, unpublish_from: str = ...) -> None: ...
    def delete_benchmark(self, benchmark_id: str) -> None: ...
    def iter_headers(self, request: Mapping[str, Any], limit: int | None = None) -> Any: ...
    def delete_episode(self, episode_id: str) -> None: ...


class BenchmarkMethods:
    """What a wrapper can do with its benchmark; expects `storage`, `env`, `bind_benchmark` and a stream."""

    storage: Any
    env: Any
    _stream: Any
    bind_benchmark: Callable[[BenchmarkState], None]

    @property
    def id(self) -> str | None:
        """The benchmark's id; None before it is stored."""
        benchmark: BenchmarkState | None = self._stream.config.benchmark
        return None if benchmark is None else benchmark.id

    def store(
        self,
        name: str,
        description: str = "",
        difficulty: str = "",
        version: str = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Create the benchmark of this environment and record into it; returns its id.

        Raises:
            InvalidInput: That is no name for a benchmark.
            Conflict: I have a benchmark of that name with other spaces.
        """
        checked_name(name, "name")
        header = self._storage.store_benchmark(
            name,
            descriptor=describe(self.env),
            description=description,
            difficulty=difficulty,
            version=version,
            extra=metadata,
        )
        self.bind_benchmark(BenchmarkState(id=header.id, name=name, resolved=True))
        return str(header.id)

    def publish(self, publish_in: str = GLOBAL_SCOPE) -> None:
        """Make the benchmark visible in a scope, to everyone when left out."""
        self._storage.publish_benchmark(self._stored_id, publish_in)

    def unpublish(self, unpublish_from: str = GLOBAL_SCOPE) -> None:
        """End its visibility in a scope."""
        self._storage.unpublish_benchmark(self._stored_id, unpublish_from)

    def delete(self, *, delete_artifacts: bool = False, delete_episodes: bool = True) -> None:
        """Delete the benchmark for good, and its episodes with it.

        Raises:
            InvalidInput: Episodes are to stay; they do not outlive their benchmark.
        """
        del delete_artifacts  # artifacts are not kept yet
        if not delete_episodes:
            condition = FilterEQ(key="benchmark_id", value=self._stored_id).to_json()
            if list(self._storage.iter_headers({"episode_filter": condition}, 1)):
                raise InvalidInput("episodes do not outlive their benchmark", place="delete_episodes")
        self._storage.delete_benchmark(self._stored_id)

    @classmethod
    def load(
        cls, storage: Any, benchmark_id: str, *args: Any, make: MakeEnv | None = None, **kwargs: Any
    ) -> Self:
        """The wrapper around the benchmark's environment, made from what is installed here.

        Args:
            storage: Where the benchmark is.
            benchmark_id: Its id.
            make: Makes the environment, called with the stored keyword arguments; needed where the id is not
                registered here.
            *args: As for the wrapper, behind the benchmark's id.
            **kwargs: As for the wrapper.

        Raises:
            NotFound: There is no such benchmark, or the caller may not see it.
            UntrustedEnvironment: Nothing here is known to make it, or what it makes has other spaces.
        """
        header = storage.load_benchmark(benchmark_id)
        env = cls.make_env(header.descriptor, {}) if make is None else make(**kwargs_of(header.descriptor))
        compare_spaces(env, header.descriptor)
        wrapper: Any = cls
        made: Self = wrapper(env, storage, str(benchmark_id), *args, **kwargs)
        return made

    @classmethod
    def make_env(cls, descriptor: Descriptor, artifacts: Mapping[str, Any]) -> Any:
        """The environment of a descriptor; override it for environments that are not registered.

        Raises:
            UntrustedEnvironment: Its id is not registered here.
        """
        del artifacts
        name = str(descriptor.get("environment", ""))
        if not descriptor.get("registered") or name not in gymnasium.registry:
            raise UntrustedEnvironment(how_to_load(cls.__name__, descriptor))
        limit = descriptor.get("max_episode_steps")
        return gymnasium.make(name, max_episode_steps=limit, **kwargs_of(descriptor))

    @property
    def _storage(self) -> _Storage:
        if self.storage is None:
            self.storage = _storage_of(self._stream.config.transport)
        storage: _Storage = self.storage
        return storage

    @property
    def _stored_id(self) -> str:
        if self.id is None:
            raise InvalidInput("the environment is not stored yet: call store(name) first", place="benchmark")
        return self.id


def _storage_of(transport: Transport) -> Any:
    """The storage on the server that is recorded to.

    Raises:
        InvalidInput: It is not reached by HTTP.
    """
    if not isinstance(transport, HttpTransport):
        if is_kafka(getattr(transport, "address", "")):
            told = "nothing is stored or read straight through Kafka: set env.storage = TupliAPIClient('http://...')"
            raise InvalidInput(told, place="storage")
        raise InvalidInput(
            "this recording knows no storage; set one: env.storage = TupliAPIClient()", place="storage"
        )
    from tupli.storage import TupliAPIClient  # noqa: PLC0415 -- most recordings have no use for it

    return TupliAPIClient(transport.address)


def kwargs_of(descriptor: Descriptor) -> dict[str, Any]:
    """The stored keyword arguments.

    Raises:
        UntrustedEnvironment: They are not plain data.
    """
    try:
        kwargs = from_tagged(descriptor.get("kwargs") or {})
    except ContractError as error:
        raise UntrustedEnvironment(f"its arguments cannot be read: {error}") from error
    if not isinstance(kwargs, dict) or not all(isinstance(name, str) for name in kwargs):
        raise UntrustedEnvironment("its arguments are no keyword arguments")
    return kwargs


def compare_spaces(env: Any, descriptor: Descriptor) -> None:
    """Say nothing when the environment has the spaces that the benchmark was stored with.

    Raises:
        UntrustedEnvironment: It has others.
    """
    for name in ("observation_space", "action_space"):
        stored = descriptor.get(name)
        here = space_to_json(getattr(env, f"single_{name}", None) or getattr(env, name))
        if stored is not None and stored != here:
            env.close()
            raise UntrustedEnvironment(
                f"the environment made here has another {name} than the benchmark: {here} is not {stored}"
            )


def how_to_load(wrapper: str, descriptor: Descriptor) -> str:
    """What to write for an environment that is not loaded from the server's word alone."""
    kind = str(descriptor.get("class", "")) or str(descriptor.get("environment", ""))
    module, _, name = kind.rpartition(":")
    package = str(descriptor.get("distribution") or "")
    install = f" (of the package {package!r})" if package else ""
    if descriptor.get("registered"):
        return (
            f"{descriptor.get('environment')!r} is not registered here. Import the module that registers it{install}, "
            f"or write: {wrapper}.load(storage, benchmark_id, make=lambda **kwargs: ...)"
        )
    return (
        f"{kind!r}{install} is not a registered environment, and code is not imported on a server's word. "
        f"If you trust it, write: from {module or '<module>'} import {name or '<class>'}; "
        f"{wrapper}.load(storage, benchmark_id, make={name or '<class>'})"
    )
