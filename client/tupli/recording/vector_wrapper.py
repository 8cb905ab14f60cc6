"""The wrapper of a vector environment."""

import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import gymnasium

from tupli.errors import InvalidInput
from tupli.models import RLTuple
from tupli.recording.benchmark_methods import BenchmarkMethods
from tupli.recording.config import MetadataCallback, RecordingConfig
from tupli.recording.given import copied
from tupli.recording.lifetime import watch
from tupli.recording.vector import DISABLED, MODES, NEXT_STEP, SAME_STEP, VectorStream
from tupli.recording.vector_fast import VectorStep, make_vector_step
from tupli.recording.wrapper import RecordingControls, Storage, config_of

_MODES_OF_GYMNASIUM: Final = {"NEXT_STEP": NEXT_STEP, "SAME_STEP": SAME_STEP, "DISABLED": DISABLED}


class TupliVectorEnvWrapper(RecordingControls, BenchmarkMethods, gymnasium.vector.VectorWrapper):
    """A vector environment whose every transition is recorded, each slot's episodes apart. Put it outermost.

    Args:
        env: The vector environment.
        storage: Anything with a `transport`.
        benchmark_id: The benchmark to record into; without one nothing is recorded before `store`.
        metadata_callback: Not called for vector environments; `annotate` is there for metadata.
        rl_tuple_cls: As above.
        autoreset: `next_step`, `same_step` or `disabled`, where the environment does not say it.
        config: All settings at once, as `record` makes them.

    Raises:
        InvalidInput: How the environment resets its slots is not known.
    """

    def __init__(
        self,
        env: Any,
        storage: Storage | None = None,
        benchmark_id: str | None = None,
        metadata_callback: MetadataCallback | None = None,
        rl_tuple_cls: Callable[..., Any] = RLTuple,
        *,
        autoreset: str | None = None,
        config: RecordingConfig | None = None,
    ) -> None:
        mode = mode_of(env, autoreset)
        super().__init__(env)
        self.storage = storage
        config = config or config_of(env, storage, benchmark_id, metadata_callback, rl_tuple_cls)
        self._connect(config, mode)

    def _connect(self, config: RecordingConfig, mode: str) -> None:
        self._stream: VectorStream = VectorStream(config, self.num_envs, mode)
        self._step: VectorStep = self._careful_step
        me = weakref.ref(self)
        self._stream.entered = lambda: _rebuild(me)
        watch(self, self._stream)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset all slots, or those of `options["reset_mask"]`; their episodes begin."""
        given = copied(options) or {}
        mask = given.pop("reset_mask", None)
        self._stream.before_reset(mask)
        observations, infos = self.env.reset(seed=seed, options=options)
        self._stream.reset(observations, infos, seed=seed, options=given or None, mask=mask)
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all slots; the transitions are in the spool when this returns."""
        result: tuple[Any, Any, Any, Any, dict[str, Any]] = self._step(actions)
        return result

    def annotate(self, slot: int, **metadata: Any) -> None:
        """Metadata of a slot's running or just ended episode."""
        self._stream.annotate(metadata, slot)

    def annotate_ended(self, slot: int, **metadata: Any) -> None:
        """Metadata of the slot's last episode that has ended, also when an autoreset has begun the next."""
        self._stream.annotate_ended(slot, metadata)

    def discard_ended_episode(self, slot: int) -> None:
        """Give up the slot's last episode that has ended, also when an autoreset has begun the next."""
        self._stream.discard_ended(slot)

    def discard_episode(self, slot: int | None = None) -> None:
        """Give up a slot's running or just ended episode, without a slot all that run: they are in no dataset."""
        self._stream.discard(slot)

    def close(self, **kwargs: Any) -> None:
        """Close the environments; waits until what was recorded is visible, at most `drain_timeout` seconds.

        Raises:
            SpoolFull: Recording had been stopped because the spool was full.
        """
        if self._stream.drained:
            return
        try:
            super().close(**kwargs)
        finally:
            self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """A copy shares the settings; it records nothing before `activate_recording`."""
        own = {"_step", "_stream"}
        kept = {name: value for name, value in self.__dict__.items() if name not in own}
        return kept | {"_config": self._stream.config, "_mode": self._stream.mode}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        kept = dict(state)
        config, mode = kept.pop("_config"), kept.pop("_mode")
        self.__dict__.update(kept)
        self._connect(config, mode)
        self._stream.active = False

    def _careful_step(self, actions: Any) -> Any:
        stream = self._stream
        stream.before(actions)
        result = self.env.step(actions)
        stream.take(result)
        return result


def mode_of(env: Any, autoreset: str | None) -> str:
    """The mode of autoreset: as given, as the environment says, or next-step for Gymnasium 1.0's own.

    Raises:
        InvalidInput: It is unknown: it is never guessed.
    """
    declared = (getattr(env, "metadata", None) or {}).get("autoreset_mode")
    known = _MODES_OF_GYMNASIUM.get(getattr(declared, "name", str(declared)))
    if autoreset is not None:
        if autoreset not in MODES:
            raise InvalidInput(f"{autoreset!r} is none of {MODES}", place="autoreset")
        return autoreset
    if known is not None:
        return known
    if declared is None and gymnasium.__version__.startswith("1.0."):
        return NEXT_STEP
    raise InvalidInput(
        f"the environment does not say how it resets its slots; give one of {MODES}", place="autoreset"
    )


def _rebuild(reference: "weakref.ref[TupliVectorEnvWrapper]") -> None:
    wrapper = reference()
    if wrapper is not None:
        step = make_vector_step(wrapper._stream, wrapper.env.step)  # noqa: SLF001 - of this module
        wrapper._step = step or wrapper._careful_step  # noqa: SLF001 - of this module


__all__ = ["TupliVectorEnvWrapper", "mode_of"]
