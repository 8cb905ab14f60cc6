"""The recording of a vector environment: one stream, whose episodes are those of its slots.

What an autoreset makes of a step depends on the mode:

- `next_step`: the step that ends an episode returns its final observation. The slot's next row is no
  transition (the action is ignored): what it returns is the next episode's first observation and reset info.
- `same_step`: the observation is already the next episode's; the final one is in the infos.
- `disabled`: the caller resets ended slots (`options={"reset_mask": ...}`).
"""

import contextlib
import copy
import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tupli.errors import SpoolFull
from tupli.recording.config import RecordingConfig
from tupli.recording.finals import Cells, cells_of, put_finals, put_fitting, shortage_reason
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
from tupli.recording.subjects import INTERRUPTED, RESET_FAILED
from tupli.recording.vector_starts import Held, Start, autoreset_starts, reset_starts, slots_of
from tupli.recording.vector_values import (
    as_flags,
    batch_leaves,
    cast_as_batched,
    final_info,
    final_observation,
    first_slot,
    slot_info,
    slot_value,
)
from tupli.spool import control
from tupli.spool.blocks import block_of, copy_block, heap_bytes
from tupli.spool.layout import TERMINATED, TRUNCATED
from tupli.spool.seal import mark_final
from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.spaces import (
    Structure,
    step_schema_of,
    structure_of_space,
    structure_of_values,
)
from tupli_schemas.structures import DictNode
from tupli_schemas.values import encode

NEXT_STEP: Final = "next_step"
SAME_STEP: Final = "same_step"
DISABLED: Final = "disabled"
MODES: Final = (NEXT_STEP, SAME_STEP, DISABLED)


class VectorStream(RecordingStream):
    """A vector environment's recording. The order of calls is `reset`, then `before` and `take` of each step."""

    def __init__(self, config: RecordingConfig, slots: int, mode: str) -> None:
        super().__init__(config, slots)
        self.mode = mode
        self.short_way = config.metadata_callback is None
        self._ended: npt.NDArray[np.bool_] = np.zeros(slots, bool)
        """Slots whose last step ended an episode (which a next-step autoreset resets at the next)."""
        self._resetting: set[int] = set()
        """Slots whose reset has begun, and did not succeed yet."""
        self._stepping = False
        """Whether a step was begun, and what it led to has not come."""

    def _reset_stream(self) -> None:
        super()._reset_stream()
        self._held: Held | None = None

    # --- called by the wrapper --------------------------------------------------------------------------

    def before_reset(self, mask: Any) -> None:
        """A reset of all slots, or of those of the mask, begins, and may fail: what they have open is aborted.

        Their steps are not recorded before one succeeds.
        """
        was, self.state = self.state, BUSY
        try:
            chosen = slots_of(mask, self.slots)
            self._resetting.update(chosen)
            if mask is None or was == BUSY:
                self.forget_held()
                self.abort_open("reset")
            else:
                self._forget_starts(chosen)
                self._abort_some(set(chosen), "reset")
            self.subjects.over(chosen)
            self._ended[chosen] = False  # where it fails nobody knows who resets next
            self.state = FIRST if self._held is not None else CAREFUL if any(self.episodes) else IDLE
        except Exception as error:  # noqa: BLE001 - the recorder's edge
            self.failed(error)

    def reset(self, observations: Any, infos: Any, *, seed: Any, options: Any, mask: Any) -> None:
        """The reset was made: episodes of all slots, or of those of the mask, begin."""
        self.extra = {}
        self.state = BUSY  # until it is done: what is interrupted is forgotten by whatever comes next
        try:
            chosen = slots_of(mask, self.slots)
            self._resetting.difference_update(chosen)
            self.subjects.begun(chosen)
            if not self.active or self.config.benchmark is None:
                self.state = IDLE
                return
            self._begin(observations, reset_starts(chosen, infos, self.slots, seed, options))
        except Exception as error:  # noqa: BLE001 - the recorder's edge: the run goes on, see `failed`
            self.failed(error)

    def before(self, actions: Any) -> None:
        """The actions of the next step."""
        if self._stepping:  # the step before never came back: who was reset in it nobody knows
            self._ended = np.zeros(self.slots, bool)
        self._stepping = True
        try:
            if self.state == BUSY:
                self.end(reason="interrupted")
                if self.active:
                    self.warn(INTERRUPTED, once=INTERRUPTED)
            if self._resetting and self.active:
                self.subjects.begun(self._resetting)  # whose steps these are nobody knows
                self._resetting.clear()
                self.warn(RESET_FAILED, once=RESET_FAILED)
            extra, self.extra = self.extra, {}  # also of a step that is not recorded: of no later one
            if self.state == IDLE:
                return
            self.state = BUSY
            if self._held is not None:
                self._held.actions, self._held.extra = copy.deepcopy(actions), extra
            else:
                retry_in_new_segment(self, lambda: self._put_actions(actions, extra))
        except Exception as error:  # noqa: BLE001 - the recorder's edge
            self.failed(error)

    def take(self, result: Any) -> None:
        """What `env.step` returned."""
        self.half_done = self.state == BUSY
        self._take(result)
        self.half_done = self._stepping = False

    def _take(self, result: Any) -> None:
        try:
            observations, rewards, terminations, truncations, infos = result
            infos = {} if infos is None else infos
            terminated, truncated = as_flags(terminations, self.slots), as_flags(truncations, self.slots)
            resetting = self._ended if self.mode == NEXT_STEP else _NONE
            ended = terminated | truncated
            if len(resetting):
                ended &= ~resetting
            self._ended = ended  # also while nothing is recorded: who resets next is known when it goes on
            if not self.active:
                return
            over: list[int] = np.flatnonzero(ended).tolist()
            begun = over if self.mode == SAME_STEP else np.flatnonzero(resetting).tolist()
            try:
                if self.state == BUSY and self._held is not None:
                    self._first_step(self._held, observations, rewards)
                    self._held = None
            finally:
                if over or begun:
                    self.subjects.over(over)
                    self.subjects.begun(begun)
            if self.state == BUSY:
                self._put_outcomes(rewards, terminated, truncated, ended, infos)
                self._advance(observations, terminated, truncated, over, begun, infos)
            elif self.config.benchmark is not None:
                starts = self._autoreset_starts(begun, infos)
                if starts:
                    self.state = BUSY
                    self._begin(observations, starts)
        except Exception as error:  # noqa: BLE001 - the recorder's edge
            self.failed(error)

    def annotate_ended(self, slot: int, metadata: Mapping[str, Any]) -> None:
        """Metadata of the episode of a slot that the last step ended, also when the next one has begun."""
        try:
            self.amend(slot, metadata, episode=self.subjects.ended[slot])
        except Exception as error:  # noqa: BLE001 - the recorder's edge
            self.failed(error)

    def discard_ended(self, slot: int) -> None:
        """Give up the episode of a slot that the last step ended, also when the next one has begun."""
        try:
            self.amend(slot, {}, discarded=True, episode=self.subjects.ended[slot])
        except Exception as error:  # noqa: BLE001 - the recorder's edge
            self.failed(error)

    def discard(self, slot: int | None) -> None:
        """Give up a slot's running episode, or the one that just ended; without a slot all that run."""
        if self.half_done:  # Ctrl-C left it so
            self.end(reason="interrupted")
        was, self.state = self.state, BUSY  # until it is done, as in a reset
        try:
            if slot is None:
                self.forget_held()
                self._abort_some(set(range(self.slots)), "discarded", discarded=True)
                self.state = IDLE
                return
            if self.holds(slot):
                self._forget_starts([slot])
            elif self.episodes[slot]:
                self._abort_some({slot}, "discarded", discarded=True)
            else:
                self.amend(slot, {}, discarded=True)
            self.state = CAREFUL if was == RUN else was  # the room that RUN was judged by may be used
        except Exception as error:  # noqa: BLE001 - the recorder's edge
            self.failed(error)

    def holds(self, slot: int) -> bool:
        """Whether an episode of the slot waits for the first step."""
        return self._held is not None and slot in self._held.starts

    def forget_held(self) -> None:
        """Give up a beginning that waits for its first step."""
        self._held = None
        self.early.clear()

    # --- how -----------------------------------------------------------------------------------------------

    def _forget_starts(self, slots: list[int]) -> None:
        """Some slots' episodes that wait for the first step begin no more."""
        for slot in slots:
            self.early.pop(slot, None)
            if self._held is not None:
                self._held.starts.pop(slot, None)

    def _begin(self, observations: Any, starts: dict[int, Start]) -> None:
        """Episodes begin on a block of observations; slots without a start go on, or stay without an episode."""
        if self._held is not None:
            self._held.observations = copy.deepcopy(observations)
            self._held.starts |= starts
            for slot in starts:
                self.early.pop(slot, None)
            self.state = FIRST
            return
        leaves = None
        if self.structures is not None:
            try:
                leaves = self._leaves("o", 0, observations)
            except SchemaMismatch:
                self.abort_open("another step schema")
                self.schema = self.structures = None
        if leaves is None:
            self._held = Held(copy.deepcopy(observations), starts, time.time_ns())
            self.state = FIRST
            return
        self.half_done = True
        self._put_block(leaves)
        self._put_starts(starts, time.time_ns())
        self.publish()
        self._ready()

    def _put_block(self, leaves: list[Any]) -> None:
        """Write the next block's observations; rolls before it when the segment has no room for a block."""
        if self.writer.row >= self.writer.limit:
            self.roll()
        retry_in_new_segment(self, lambda: self._put_leaves("o", leaves))

    def _put_starts(self, starts: dict[int, Start], now: int) -> None:
        for slot, start in starts.items():
            self.put_start(
                slot, seed=start.seed, options=start.options, reset_info=start.reset_info, started_at=now
            )

    def _first_step(self, held: Held, observations: Any, rewards: Any) -> None:
        config = self.config
        spaces = config.observation_space, config.action_space
        firsts = [slot_value(spaces[0], batch, 0) for batch in (held.observations, observations)]
        if self.extra:  # told inside this step: of the next one, so there must be room for it
            self.misfits.note_extra(DictNode({}), first_slot(self.extra))
        schema = step_schema_of(
            self.misfits.widened("o", structure_of_values(spaces[0], *firsts)),
            self.misfits.widened("a", structure_of_space(spaces[1], slot_value(spaces[1], held.actions, 0))),
            self.misfits.extras(first_slot(held.extra)),
            observation_space_json=spaces[0],
            action_space_json=spaces[1],
            reward_dtype=str(np.asarray(rewards).dtype),
        )
        self.open_schema(schema)
        self._put_block(self._leaves("o", 0, held.observations))
        self._put_starts(held.starts, held.started_at)
        retry_in_new_segment(self, lambda: self._put_actions(held.actions, held.extra))

    def _structure(self, group: int) -> Structure:
        if self.structures is None:
            raise SchemaMismatch("no step schema")
        return self.structures[group]

    def _put_actions(self, actions: Any, extra: dict[str, Any]) -> None:
        self._put_leaves("a", self._leaves("a", 1, actions))
        if self.schema is not None and (self.schema.extra or extra):
            fill_extra(self._structure(2), extra, self.slots)
            self._put_leaves("x", self._leaves("x", 2, extra))

    def _leaves(self, prefix: str, group: int, batch: Any) -> list[Any]:
        """The leaves of a batch; what does not fit is remembered for the next step schema."""
        structure = self._structure(group)
        try:
            leaves = batch_leaves(structure, batch, self.slots)
        except SchemaMismatch:
            if prefix == "x":
                self.misfits.note_extra(structure, first_slot(batch))
            else:
                space = self.config.observation_space if prefix == "o" else self.config.action_space
                with contextlib.suppress(LookupError, TypeError):  # a batch that has no slots
                    self.misfits.note(prefix, structure, space, slot_value(space, batch, 0))
            raise
        for cells in zip(*(leaf for leaf in leaves if isinstance(leaf, list)), strict=True):
            check_cells(cells)
        return leaves

    def _put_leaves(self, prefix: str, leaves: list[Any]) -> None:
        if size := sum(len(cell) for leaf in leaves if isinstance(leaf, list) for cell in leaf):
            self.writer.need(size)
        columns, start = self.writer.segment.columns, self.writer.row
        for index, leaf in enumerate(leaves):
            name = f"{prefix}{index}"
            if isinstance(leaf, list):
                for slot, cell in enumerate(leaf):
                    if f"{name}_size" in columns:
                        columns[name][start + slot] = self.writer.put_bytes(cell)
                        columns[f"{name}_size"][start + slot] = len(cell)
            elif name in columns:
                columns[name][start : start + self.slots] = leaf

    def _put_outcomes(
        self,
        rewards: Any,
        terminated: npt.NDArray[np.bool_],
        truncated: npt.NDArray[np.bool_],
        ended: npt.NDArray[np.bool_],
        infos: Any,
    ) -> None:
        columns, row = self.writer.segment.columns, self.writer.row
        end = row + self.slots
        columns["reward"][row:end] = as_rewards(rewards)
        columns["time"][row:end] = time.time_ns()
        columns["flags"][row:end] = terminated * np.uint8(TERMINATED) | truncated * np.uint8(TRUNCATED)
        columns["info_size"][row:end] = 0
        if infos:
            raws = self._infos(ended, infos)
            retry_in_new_segment(self, lambda: self._put_infos(raws))
        self.check_rows(self.writer.row, self.writer.row + self.slots)

    def _infos(self, ended: npt.NDArray[np.bool_], infos: Mapping[str, Any]) -> dict[int, bytes]:
        keys = self.config.info_keys
        out = {}
        for slot in range(self.slots):
            if not self.episodes[slot]:
                continue
            if self.mode == SAME_STEP and ended[slot]:
                info = self._final_info(infos, slot)
            else:
                info = slot_info(infos, slot, self.slots)
            if keys is not None:
                info = {key: info[key] for key in keys if key in info}
            if info:
                out[slot] = encode(info)
                check_cells((out[slot],))
        return out

    def _final_info(self, infos: Mapping[str, Any], slot: int) -> dict[Any, Any]:
        try:
            return final_info(infos, slot, self.slots)
        except (LookupError, TypeError, ValueError) as error:
            told = f"final infos cannot be read ({type(error).__name__}: {error}); steps are kept without"
            self.warn(told, once="final infos")
            return {}

    def _put_infos(self, raws: dict[int, bytes]) -> None:
        self.writer.need(sum(map(len, raws.values())))
        columns, row = self.writer.segment.columns, self.writer.row
        for slot, raw in raws.items():
            columns["info"][row + slot] = self.writer.put_bytes(raw)
            columns["info_size"][row + slot] = len(raw)

    def _advance(
        self,
        observations: Any,
        terminated: npt.NDArray[np.bool_],
        truncated: npt.NDArray[np.bool_],
        over: list[int],
        begun: list[int],
        infos: Any,
    ) -> None:
        """Final rows and ends of what ended, the next block's observations, starts of what begins."""
        now = time.time_ns()
        ending = [slot for slot in over if self.episodes[slot]]
        flags = terminated * np.uint8(TERMINATED) | truncated * np.uint8(TRUNCATED)
        leaves = self._next_leaves(observations)
        finals = self._final_cells(ending, observations, infos, leaves)
        starts = self._autoreset_starts(begun, infos)
        try:
            self._put_ended(ending, finals, [int(flags[slot]) for slot in ending], now)
            if leaves is not None:
                self._put_block(leaves)
                self._put_starts(starts, now)
        except SpoolFull as error:
            self._stop_at(leaves, now, shortage_reason(error))
            raise
        if leaves is None:
            self._mismatch(observations, starts)
            return
        self.publish()
        if ending:
            self.wake()
        self._ready()

    def _put_ended(self, slots: list[int], finals: list[Cells], flags: list[int], now: int) -> None:
        """The block at hand is whole: final rows and ends of the episodes that it ended.

        Raises:
            SpoolFull: A final row has no room anywhere; its episode ended without it.
        """
        writer, full = self.writer, None
        try:
            retry_in_new_segment(
                self, lambda: put_finals(writer, writer.row + self.slots, slots, finals, now)
            )
        except SpoolFull as error:
            full, finals = error, put_fitting(writer, writer.row + self.slots, slots, finals, now)
        writer.row += self.slots
        self._put_ends(slots, finals, flags, now)
        if full is not None:
            raise full

    def _put_ends(
        self, slots: list[int], finals: list[Cells], flags: list[int], now: int, reason: str = ""
    ) -> None:
        self.writer.row += sum(cells is not None for cells in finals)
        for slot, cells, how in zip(slots, finals, flags, strict=True):
            without = control.NO_FINAL if cells is None else 0
            self.put_end(slot, flags=how | without, reason=reason, ended_at=now)

    def _stop_at(self, leaves: list[Any] | None, now: int, reason: str) -> None:
        """There is no other segment: what is open ends, on the next observations that have room in the segment at hand.

        A block's rows and as many again are free when it begins; packed, all final rows fit into these.
        """
        open_ = [slot for slot in range(self.slots) if self.episodes[slot]]
        finals: list[Cells] = [leaves and [leaf[slot] for leaf in leaves] for slot in open_]
        kept = put_fitting(self.writer, self.writer.row, open_, finals, now)
        self._put_ends(open_, kept, [control.ABORTED] * len(open_), now, reason)
        self.publish()
        self.wake()

    def _next_leaves(self, observations: Any) -> list[Any] | None:
        try:
            return self._leaves("o", 0, observations)
        except SchemaMismatch:
            return None

    def _mismatch(self, observations: Any, starts: dict[int, Start]) -> None:
        """The step's rows stand, but the next observations need another schema: what is open ends without them."""
        reason = "the next observation does not fit the step schema"
        for slot in range(self.slots):
            if self.episodes[slot]:
                flags = control.ABORTED | control.NO_FINAL
                self.put_end(slot, flags=flags, reason=reason, ended_at=time.time_ns())
        self.publish()
        self.wake()
        self.state = IDLE
        self.warn(f"recording of the episodes was aborted: {reason}", once=reason)
        self.schema = self.structures = None
        if starts:
            self._begin(observations, starts)

    def _final_cells(
        self, ending: list[int], observations: Any, infos: Any, leaves: list[Any] | None
    ) -> list[Cells]:
        """The cells of each final observation; None where it is not known or does not fit."""
        space, structure = self.config.observation_space, self._structure(0)
        if self.mode == SAME_STEP:
            return [self._given_final(structure, final_observation(infos, slot, space)) for slot in ending]
        if leaves is not None:
            return [[leaf[slot] for leaf in leaves] for slot in ending]
        return [cells_of(structure, slot_value(space, observations, slot)) for slot in ending]

    def _given_final(self, structure: Structure, value: Any) -> Cells:
        """A final observation is as its environment gave it; those beside it were cast when they were batched."""
        cells = cells_of(structure, cast_as_batched(structure, value))
        if cells is None:
            fault = "is not given" if value is None else "does not fit the step schema"
            told = f"a final observation {fault}; its episode is kept without"
            self.warn(told, once=told)
        return cells

    def _autoreset_starts(self, begun: list[int], infos: Any) -> dict[int, Start]:
        return autoreset_starts(begun, infos, self.slots, ends_too=self.mode == SAME_STEP)

    def _abort_some(self, slots: set[int], reason: str, *, discarded: bool = False) -> None:
        """Abort some slots' episodes. The block at hand becomes their final rows, the others' go on in a new one."""
        open_ = {slot for slot in slots if self.episodes[slot]}
        if not open_:
            return
        if open_ == {i for i in range(self.slots) if self.episodes[i]}:
            self.abort_open(reason, discarded=discarded)
            return
        self.half_done = True
        now, row = time.time_ns(), self.writer.row
        end = row + self.slots
        old = self.writer.segment
        # Of these rows the observations go on, and in the middle of a step what was chosen on them; copied, for the
        # flags and slots here are the final rows' now.
        block = {
            n: v.copy() for n, v in block_of(old, row, self.slots).items() if n.startswith(("o", "a", "x"))
        }
        mark_final(old.columns, row, end, now)
        for slot in range(self.slots):
            if slot not in open_:
                old.columns["slot"][row + slot] = self.slots  # a filler
        self.writer.row = end
        for slot in sorted(open_):
            flags = control.ABORTED | (control.DISCARDED if discarded else 0)
            self.put_end(slot, flags=flags, reason=reason, ended_at=now)
        heap = heap_bytes(block)
        room = self.writer.segment.shape.heap - self.writer.heap_at
        if self.writer.row >= self.writer.limit or room < heap:
            self.roll(heap=heap)
        copy_block(block, old.heap, self.writer)
        self.publish()
        self.wake()

    def _ready(self) -> None:
        room = self.writer.row + self.slots < self.writer.limit
        quiet = not self.extra and not self._resetting and not self._ended.any()
        self.state = RUN if self.short_way and room and quiet else CAREFUL


_NONE: npt.NDArray[np.bool_] = np.zeros(0, bool)
