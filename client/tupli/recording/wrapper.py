"""The wrapper of one environment."""

import weakref
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import gymnasium

from tupli.models import RLTuple
from tupli.recording.benchmark_methods import BenchmarkMethods
from tupli.recording.config import MetadataCallback, RecordingConfig
from tupli.recording.describe import declared_space, describe, normalising, versions_of
from tupli.recording.fast import Step, StepResult, make_step
from tupli.recording.given import copied
from tupli.recording.lifetime import drain, watch
from tupli.recording.single import SingleStream
from tupli.recording.stream import RecordingStream
from tupli.spool.directory import SpoolDirectory
from tupli.spool.manifest import BenchmarkState
from tupli.transport.base import Transport


class Storage(Protocol):
    """What a wrapper needs of a storage."""

    @property
    def transport(self) -> Transport:
        """The way to the server."""


class RecordingControls:
    """What both wrappers offer beside Gymnasium's interface."""

    _stream: RecordingStream

    @property
    def is_recording(self) -> bool:
        """Whether the next reset begins an episode that is recorded."""
        return self._stream.active and self._stream.config.benchmark is not None

    def bind_benchmark(self, benchmark: BenchmarkState) -> None:
        """Record into this benchmark from the next reset on."""
        self._stream.rebind(benchmark)

    def warn_of_normalising(self, wrappers: list[str]) -> None:
        """Say that what these wrappers give depends on what came before."""
        names = ", ".join(name.rpartition(":")[2] for name in wrappers)
        self._stream.warn(
            f"{names} under the recording: recorded values depend on the run's past", once=names
        )

    def activate_recording(self) -> None:
        """Record from the next reset on."""
        self._stream.activate()

    def deactivate_recording(self) -> None:
        """End the running episode as aborted (`paused`), and record no more.

        From then on `annotate` and `discard_episode` change nothing of what was recorded.
        """
        self._stream.deactivate()

    def extra(self, **values: Any) -> None:
        """Facts of the behaviour policy for the step to come (of a vector: arrays with one row a slot)."""
        self._stream.set_extra(values)

    def _finish(self) -> None:
        self._stream.finish("closed")
        drain(self._stream, self._stream.config.drain_timeout)


class TupliEnvWrapper(RecordingControls, BenchmarkMethods, gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose every step is recorded. Put it outermost.

    Args:
        env: The environment.
        storage: Anything with a `transport`.
        benchmark_id: The benchmark to record into; without one nothing is recorded before `store`.
        metadata_callback: Gets each tuple; its last answer is metadata of the episode.
        rl_tuple_cls: Makes the tuples of the callback.
        config: All settings at once, as `record` makes them; the arguments before are then not read.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        storage: Storage | None = None,
        benchmark_id: str | None = None,
        metadata_callback: MetadataCallback | None = None,
        rl_tuple_cls: Callable[..., Any] = RLTuple,
        *,
        config: RecordingConfig | None = None,
    ) -> None:
        super().__init__(env)
        self.storage = storage
        config = config or config_of(env, storage, benchmark_id, metadata_callback, rl_tuple_cls)
        config.rl_tuple = config.rl_tuple or rl_tuple_cls  # a callback may be set later
        self._connect(config)

    def _connect(self, config: RecordingConfig) -> None:
        self._stream: SingleStream = SingleStream(config)
        self._step: Step = self._over_autoresets(self._careful_step)
        me = weakref.ref(self)
        self._stream.entered = lambda: _rebuild(me)
        watch(self, self._stream)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment; a recorded episode begins, one that was open is aborted, also when this fails."""
        given = copied(options)
        self._stream.before_reset()
        observation, info = self.env.reset(seed=seed, options=options)
        self._stream.reset(observation, info, seed=seed, options=given)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment; the transition is in the spool when this returns."""
        return self._step(action)

    def annotate(self, **metadata: Any) -> None:
        """Metadata of the running or just ended episode; of a running one it is written with its end."""
        self._stream.annotate(metadata)

    def discard_episode(self) -> None:
        """Give up the running or just ended episode: it is in no dataset."""
        self._stream.discard()

    def close(self) -> None:
        """Close the environment; waits until what was recorded is visible, at most `drain_timeout` seconds.

        Raises:
            SpoolFull: Recording had been stopped because the spool was full.
        """
        try:
            super().close()
        finally:
            self._finish()

    @property
    def metadata_callback(self) -> MetadataCallback | None:
        """What gets each tuple."""
        return self._stream.config.metadata_callback

    @metadata_callback.setter
    def metadata_callback(self, callback: MetadataCallback | None) -> None:
        self._stream.set_callback(callback)

    def _careful_step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        stream = self._stream
        stream.before(action)
        result: tuple[Any, Any, bool, bool, dict[str, Any]] = self.env.step(action)
        stream.take(result)
        return result

    def _over_autoresets(self, step: Step) -> Step:
        """The step; with Gymnasium's `Autoreset` under the recording, one that knows which steps are resets."""
        autoreset = _autoreset_in(self.env)
        if autoreset is None:
            return step

        def step_or_reset(action: Any) -> StepResult:
            if not autoreset.autoreset:
                return step(action)
            result: StepResult = self.env.step(action)
            self._stream.take_reset(result)
            return result

        return step_or_reset

    def __getstate__(self) -> dict[str, Any]:
        """A copy shares the settings; it records nothing before `activate_recording`."""
        own = {"_step", "_stream"}
        kept = {name: value for name, value in self.__dict__.items() if name not in own}
        return kept | {"_config": self._stream.config}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        config = state["_config"]
        self.__dict__.update({name: value for name, value in state.items() if name != "_config"})
        self._connect(config)
        self._stream.active = False


def _rebuild(reference: "weakref.ref[TupliEnvWrapper]") -> None:
    """Make the short way for the segment that is written now."""
    wrapper = reference()
    if wrapper is not None:
        step = make_step(wrapper._stream, wrapper.env.step)  # noqa: SLF001 - of this module
        wrapper._step = wrapper._over_autoresets(step or wrapper._careful_step)  # noqa: SLF001 - of this module


def _autoreset_in(env: Any) -> Any:
    while isinstance(env, gymnasium.Wrapper) and not isinstance(env, gymnasium.wrappers.Autoreset):
        env = env.env
    return env if isinstance(env, gymnasium.Wrapper) else None


def config_of(
    env: Any,
    storage: Storage | None,
    benchmark_id: str | None,
    metadata_callback: MetadataCallback | None,
    rl_tuple_cls: Callable[..., Any],
) -> RecordingConfig:
    """The settings of a wrapper that is made by its constructor."""
    if storage is None:
        raise TypeError("a storage is needed: TupliEnvWrapper(env, storage=TupliAPIClient())")
    config = RecordingConfig(
        transport=storage.transport,
        directory=SpoolDirectory(),
        benchmark=BenchmarkState(id=str(benchmark_id), resolved=True) if benchmark_id else None,
        metadata_callback=metadata_callback,
        rl_tuple=rl_tuple_cls,
    )
    describe_into(config, env)
    return config


def describe_into(config: RecordingConfig, env: Any) -> list[str]:
    """Fill in what the environment says of itself; returns its wrappers that normalise."""
    descriptor = describe(env)
    config.environment = descriptor
    config.versions = versions_of(env)
    config.observation_space = declared_space(env, "observation_space")
    config.action_space = declared_space(env, "action_space")
    return normalising(descriptor["wrappers"])
