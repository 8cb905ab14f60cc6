"""The recording of one environment: the long way of a step, which every step can take.

`fast` holds the short way of plain steps; both leave the same rows.
"""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np

from tupli.errors import SpoolFull
from tupli.recording.config import MetadataCallback, RecordingConfig
from tupli.recording.finals import shortage_reason
from tupli.recording.given import as_rewards
from tupli.recording.misfits import fill_extra
from tupli.recording.stream import (
    BUSY,
    CAREFUL,
    FIRST,
    IDLE,
    RUN,
    RecordingStream,
    check_cells,
    retry_in_new_segment,
)
from tupli.recording.subjects import INTERRUPTED, OVER, RESET_FAILED
from tupli.spool import control
from tupli.spool.layout import IS_FINAL, TERMINATED, TRUNCATED
from tupli.spool.manifest import BenchmarkState
from tupli.spool.writer import HeapFull
from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.spaces import (
    Structure,
    step_schema_of,
    structure_of_space,
    structure_of_values,
)
from tupli_schemas.steps import MAX_CELL_BYTES
from tupli_schemas.structures import DictNode
from tupli_schemas.values import encode

_UNKNOWN: Final = object()
"""The state or action of a step that had begun when the callback was set."""


@dataclass
class _Held:
    """An episode's beginning, kept until its first step shows the step schema."""

    observation: Any
    reset_info: bytes
    seed: Any
    options: Any
    started_at: int
    action: Any = None
    extra: dict[str, Any] = field(default_factory=dict)


class SingleStream(RecordingStream):
    """One environment's recording.

    The order of calls is `reset`, then `before` and `after` of each step. None of them raises.
    """

    def __init__(self, config: RecordingConfig) -> None:
        super().__init__(config, 1)
        self.short_way = config.metadata_callback is None and config.info_keys is None
        self._tells_extra = False
        """Whether extra facts were ever told: which an episode has is known at its first step."""
        self._later: list[Callable[[], None]] | None = None
        """While the metadata callback runs: what it asks for, and must not be done in the middle of a step."""
        self._gap = ""
        """Why steps before the next reset are not recorded, where the user may not know."""

    def _reset_stream(self) -> None:
        super()._reset_stream()
        self._held: _Held | None = None
        self._begun: tuple[_Held, int, int] | None = None
        """How the running episode began, and at which row of the segment of which number."""
        self._state: Any = _UNKNOWN
        self._action: Any = _UNKNOWN

    # --- called by wrappers -----------------------------------------------------------------------------

    def before_reset(self) -> None:
        """A reset begins, and may fail: what is open is aborted, and steps are not recorded before one succeeds."""
        self.end(reason="reset")
        self._gap = RESET_FAILED

    def reset(self, observation: Any, info: Any, *, seed: Any = None, options: Any = None) -> None:
        """A reset was made: what was open is aborted, an episode begins."""
        self.subjects.begun((0,))
        self.forget_held()
        self._gap = ""
        self.extra = {}
        self.state = BUSY  # until it is done: what is interrupted is forgotten by whatever comes next
        try:
            self.abort_open("reset")
            if self.active and self.config.benchmark is not None:
                self._begin(observation, info, seed, options)
            else:
                self.state = IDLE
        except Exception as error:  # noqa: BLE001 - the recorder's edge: the run goes on, see `failed`
            self.failed(error)

    def before(self, action: Any) -> None:
        """The action of the next step, before the environment may change it or the agent uses it again."""
        state = self.state
        try:
            if state == BUSY:
                self.end(reason="interrupted")
                self._gap, state = INTERRUPTED, IDLE
            if state == IDLE:
                if self._gap == RESET_FAILED:
                    self.subjects.begun((0,))  # whose step this is nobody knows
                if self._gap and self.active:
                    self.warn(self._gap, once=self._gap)
                return
            self.state = BUSY
            extra, self.extra = self.extra, {}
            if extra and self._held is None:
                self._begin_again()
            if self._held is not None:
                self._held.action, self._held.extra = copy.deepcopy(action), extra
            else:
                retry_in_new_segment(self, lambda: self._put_action(action, extra))
            if self.config.metadata_callback is not None:
                self._action = copy.deepcopy(action)
        except Exception as error:  # noqa: BLE001 - the recorder's edge
            self.failed(error)

    def after(self, observation: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> None:
        """What the step led to."""
        if self.state != BUSY:
            return
        try:
            if self._held is not None:
                self._first_step(self._held, observation, reward)
                self._held = None
            self._put_outcome(reward, terminated, truncated, info)
            later: list[Callable[[], None]] = []
            if self.config.metadata_callback is not None:
                later = self._called(observation, reward, terminated, truncated, info)
                if self.state != BUSY:
                    return  # it has reset, or closed
            self._advance(observation, terminated=bool(terminated), truncated=bool(truncated))
            for word in later:
                word()
        except Exception as error:  # noqa: BLE001 - the recorder's edge
            self.failed(error)

    def take(self, result: Any) -> None:
        """What `env.step` returned."""
        if self.state == BUSY and (parts := self._parts(result)) is not None:
            self.after(*parts)

    def take_reset(self, result: Any) -> None:
        """What an `env.step` returned that made a reset of its own: Gymnasium's `Autoreset`."""
        if (parts := self._parts(result)) is not None:
            observation, _, _, _, info = parts
            self.reset(observation, info)

    def set_callback(self, callback: MetadataCallback | None) -> None:
        """Another metadata callback; tuples take the long way with one."""
        if self.config.metadata_callback is None:
            self._state = _UNKNOWN if self._held is None else copy.deepcopy(self._held.observation)
        super().set_callback(callback)
        self.short_way = callback is None and self.config.info_keys is None
        if self.state == RUN:
            self.state = CAREFUL

    def set_extra(self, values: Mapping[str, Any]) -> None:
        """Facts of the behaviour policy for the step to come."""
        self._tells_extra = True
        super().set_extra(values)

    def holds(self, slot: int) -> bool:  # noqa: ARG002 -- there is one
        """Whether the episode waits for its first step."""
        return self._held is not None

    def forget_held(self) -> None:
        """Give up a beginning that waits for its first step."""
        self._held = self._begun = None
        self.early.clear()

    def deactivate(self, reason: str = "paused") -> None:
        """See `RecordingStream.deactivate`; from the metadata callback, after the step that it is called for."""
        if not self._waits(partial(self.deactivate, reason)):
            super().deactivate(reason)

    def rebind(self, benchmark: BenchmarkState) -> None:
        """See `RecordingStream.rebind`; from the metadata callback, after the step that it is called for."""
        if not self._waits(partial(self.rebind, benchmark)):
            super().rebind(benchmark)

    def discard(self) -> None:
        """Give up the running episode, or the one that just ended."""
        if self._waits(self.discard):
            return
        try:
            if self.episodes[0] or self._held is not None:
                self.end(reason="discarded", discarded=True)
            else:
                self.amend(0, {}, discarded=True)
        except Exception as error:  # noqa: BLE001 - the recorder's edge
            self.failed(error)

    def end_short(self, observation: Any, terminated: Any, truncated: Any) -> None:
        """The rest of a short step that ended the episode; may raise what `failed` takes."""
        flags = (TERMINATED if terminated else 0) | (TRUNCATED if truncated else 0)
        self.writer.segment.columns["flags"][self.writer.row] = flags
        self._finish_episode(observation, terminated=bool(terminated), truncated=bool(truncated))

    # --- how -----------------------------------------------------------------------------------------------

    def _parts(self, result: Any) -> tuple[Any, Any, Any, Any, Any] | None:
        """The five parts of a step's result; None when it is something else."""
        try:
            observation, reward, terminated, truncated, info = result
        except (TypeError, ValueError) as error:
            self.failed(error)
            return None
        return observation, reward, terminated, truncated, info

    def _begin(self, observation: Any, info: Any, seed: Any, options: Any) -> None:
        raw_info = encode(info)
        held = _Held(observation, raw_info, seed, options, time.time_ns())
        called = self.config.metadata_callback is not None
        self._state = copy.deepcopy(observation) if called else _UNKNOWN
        if self.structures is not None:
            try:
                self.structures[0].flatten(observation)
            except SchemaMismatch:
                self.schema = self.structures = None  # this episode gets a step schema of its own
        held.observation = copy.deepcopy(observation)
        if self.structures is None or self._tells_extra:
            self._held = held
            self.state = FIRST
            return
        self._start(held)
        self._begun = (held, self.writer.segment.number, self.writer.row)
        self.publish()
        self._ready()

    def _begin_again(self) -> None:
        """Take the episode's beginning back, if it has no step yet: its step schema is not the one that it got."""
        if self._begun is None:
            return
        held, number, row = self._begun
        if (self.writer.segment.number, self.writer.row) == (number, row):
            metadata = self.metadata[0]
            self.abort_open("extra facts before the first step", discarded=True)
            self._held, self._begun, self.early[0] = held, None, metadata

    def _start(self, held: _Held) -> None:
        writer = self.writer
        if writer.row >= writer.limit:
            self.roll()
        retry_in_new_segment(self, lambda: self._put_observation(held.observation))
        self.put_start(
            0, seed=held.seed, options=held.options, reset_info=held.reset_info, started_at=held.started_at
        )

    def _first_step(self, held: _Held, observation: Any, reward: Any) -> None:
        """Make the step schema of the first reset and step, and write what was held."""
        config, known, dtype = self.config, self.structures, str(np.asarray(reward).dtype)
        if known is None:
            space = config.observation_space
            observations = self.misfits.widened(
                "o", structure_of_values(space, held.observation, observation)
            )
            actions = self.misfits.widened("a", structure_of_space(config.action_space, held.action))
        else:  # only the extra facts are another episode's
            observations, actions = known[:2]
            dtype = self.schema.reward_dtype if self.schema is not None else dtype
        if self.extra:  # told inside this step: of the next one, so there must be room for it
            self.misfits.note_extra(DictNode({}), self.extra)
        schema = step_schema_of(
            observations,
            actions,
            self.misfits.extras(held.extra),
            observation_space_json=config.observation_space,
            action_space_json=config.action_space,
            reward_dtype=dtype,
        )
        if schema != self.schema:
            self.open_schema(schema)
        self._start(held)
        retry_in_new_segment(self, lambda: self._put_action(held.action, held.extra))

    def _put_action(self, action: Any, extra: dict[str, Any]) -> None:
        if self.structures is None:
            raise SchemaMismatch("no step schema")
        row = self.writer.row
        self.put_cells("a", row, self.structures[1], action)
        if extra or (self.schema is not None and self.schema.extra):
            fill_extra(self.structures[2], extra)
            self.put_cells("x", row, self.structures[2], extra)

    def _put_outcome(self, reward: Any, terminated: Any, truncated: Any, info: Any) -> None:
        columns, row = self.writer.segment.columns, self.writer.row
        columns["reward"][row] = as_rewards(reward).reshape(())
        columns["time"][row] = time.time_ns()
        columns["flags"][row] = (TERMINATED if terminated else 0) | (TRUNCATED if truncated else 0)
        keys = self.config.info_keys
        if keys is not None and info:
            info = {key: info[key] for key in keys if key in info}
        if info:
            raw = encode(info)
            if len(raw) > MAX_CELL_BYTES:
                raise SchemaMismatch(f"an info of {len(raw)} bytes")
            retry_in_new_segment(self, lambda: self._put_info(raw))
        else:
            columns["info_size"][row] = 0
        self.check_rows(self.writer.row, self.writer.row + 1)

    def _put_info(self, raw: bytes) -> None:
        columns, row = self.writer.segment.columns, self.writer.row
        columns["info"][row] = self.writer.put_bytes(raw)
        columns["info_size"][row] = len(raw)

    def _advance(self, observation: Any, *, terminated: bool, truncated: bool) -> None:
        """Write the observation that the step led to, and publish the step."""
        writer = self.writer
        if terminated or truncated:
            self._finish_episode(observation, terminated=terminated, truncated=truncated)
            return
        writer.row += 1
        try:
            if writer.row >= writer.limit:
                self.roll()
            retry_in_new_segment(self, lambda: self._put_observation(observation))
        except SpoolFull as error:
            self._stop_at(observation, error)
            raise
        except SchemaMismatch as error:
            told = f"the next observation does not fit the step schema: {error}"
            self._end_without_final(told[:160])
            raise
        self.publish()
        self._ready()

    def _finish_episode(self, observation: Any, *, terminated: bool, truncated: bool) -> None:
        writer = self.writer
        now = time.time_ns()
        flags = (TERMINATED if terminated else 0) | (TRUNCATED if truncated else 0)
        problem: SchemaMismatch | SpoolFull | None = None
        try:
            retry_in_new_segment(self, lambda: self._put_observation(observation, writer.row + 1))
        except (SchemaMismatch, SpoolFull) as error:  # the step stands, without what it led to
            problem = error
            flags |= control.NO_FINAL
            writer.row += 1
        else:
            row = writer.row + 1
            writer.segment.columns["flags"][row] = IS_FINAL
            writer.segment.columns["time"][row] = now
            writer.row = row + 1
        self.put_end(0, flags=flags, ended_at=now)
        self.publish()
        self.state = IDLE
        self._gap = OVER
        self.wake()
        if isinstance(problem, SchemaMismatch):
            self.schema = self.structures = None  # the next episode gets a step schema of its own
            self.warn(f"an episode's final observation is not recorded: {problem}", once=str(problem))
        elif problem is not None:
            raise problem

    def _stop_at(self, observation: Any, full: SpoolFull) -> None:
        """There is no other segment: the step stands, its next observation where it has room in the segment at hand."""
        try:
            self._put_observation(observation)  # its row is reserved, bytes of the heap are not
        except (HeapFull, SchemaMismatch):
            self._end_without_final(shortage_reason(full))
        else:
            self.publish()

    def _end_without_final(self, reason: str) -> None:
        """The step's row stands, but its next observation cannot be kept."""
        flags = control.ABORTED | control.NO_FINAL
        self.put_end(0, flags=flags, reason=reason, ended_at=time.time_ns())
        self.publish()
        self.state = IDLE
        self.wake()

    def _put_observation(self, observation: Any, row: int | None = None) -> None:
        if self.structures is None:
            raise SchemaMismatch("no step schema")
        self.put_cells("o", self.writer.row if row is None else row, self.structures[0], observation)

    def put_cells(self, prefix: str, row: int, structure: Structure, value: Any) -> None:
        """Write a value's leaves into a row.

        Raises:
            SchemaMismatch: It does not fit.
            HeapFull: Its bytes have no room.
        """
        try:
            cells = structure.flatten(value)
        except SchemaMismatch:
            self._note_misfit(prefix, structure, value)
            raise
        if size := check_cells(cells):
            self.writer.need(size)
        columns = self.writer.segment.columns
        for index, cell in enumerate(cells):
            name = f"{prefix}{index}"
            if isinstance(cell, bytes):
                if f"{name}_size" in columns:
                    columns[name][row] = self.writer.put_bytes(cell)
                    columns[f"{name}_size"][row] = len(cell)
            else:
                columns[name][row] = cell

    def _note_misfit(self, prefix: str, structure: Structure, value: Any) -> None:
        if prefix == "x":
            self.misfits.note_extra(structure, value)
        else:
            space = self.config.observation_space if prefix == "o" else self.config.action_space
            self.misfits.note(prefix, structure, space, value)

    def _ready(self) -> None:
        writer = self.writer
        room = writer.row < writer.limit - 1
        self.state = RUN if self.short_way and room and not self.extra else CAREFUL

    def _waits(self, word: Callable[[], None]) -> bool:
        """Whether this is asked for by the metadata callback: then it waits for the step to be written."""
        if self._later is None:
            return False
        self._later.append(word)
        return True

    def _called(self, *result: Any) -> list[Callable[[], None]]:
        """Call the metadata callback; what it wants done with the episode, for when the step is written."""
        later: list[Callable[[], None]] = []
        self._later = later
        try:
            self._call_back(*result)
        finally:
            self._later = None
        return later

    def _call_back(self, observation: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> None:
        """The seed's metadata callback: it gets the tuple, its last answer is metadata of the episode."""
        config = self.config
        state, self._state = self._state, copy.deepcopy(observation)
        action, self._action = self._action, _UNKNOWN
        if (
            config.metadata_callback is None
            or config.rl_tuple is None
            or state is _UNKNOWN
            or action is _UNKNOWN
        ):
            return
        try:
            answer = config.metadata_callback(
                config.rl_tuple(
                    state=state,
                    action=action,
                    reward=reward,
                    info=info,
                    terminal=bool(terminated),
                    timeout=bool(truncated),
                )
            )
        except Exception as error:  # noqa: BLE001 - the user's callback; its failure is told and the step is kept
            self.warn(f"the metadata callback failed ({type(error).__name__}: {error})", once="callback")
            return
        if isinstance(answer, Mapping):
            self.metadata[0] = {**self.metadata[0], **answer}
