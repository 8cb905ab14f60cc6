"""What is said of an episode (`annotate`, `discard_episode`) is said of no other, whatever the calls between.

A plain model follows the environment: which episode each slot plays or has just ended, and whether it is recorded.
"""

import contextlib
import tempfile
import warnings
from typing import Any

import gymnasium
import hypothesis
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from support.loop_oracle import Run, recorded_runs
from tupli.recording import record
from tupli.spool.manifest import BenchmarkState
from tupli.transport import FakeTransport
from tupli_schemas.ids import id_text, make_id

GO, END, FAIL = 0, 1, 2
SLOTS = 2
ANY_SLOT = st.integers(0, SLOTS - 1)


class Played(gymnasium.Env[Any, Any]):
    """Observations `[episode, count]`; the action says whether the episode ends or the step fails."""

    def __init__(self, first: int = 0) -> None:
        self.observation_space = gymnasium.spaces.Box(-1e9, 1e9, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)
        self.episode, self.count, self.fails = first, 0, False

    def _observe(self) -> Any:
        return np.array([self.episode, self.count], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if self.fails:
            self.fails = False
            raise TimeoutError
        self.episode, self.count = self.episode + 1, 0
        return self._observe(), {}

    def step(self, action: Any) -> Any:
        if action == FAIL:
            raise TimeoutError
        self.count += 1
        return self._observe(), 1.0, bool(action == END), False, {}


def told_of(run: Run) -> dict[str, Any]:
    assert run.end is not None
    told = dict(run.end.metadata or {})
    for event in run.amended:
        told |= event.metadata or {}
    return told


class Words(RuleBasedStateMachine):
    """What both have in common: the words, and what must have been recorded at the end."""

    slots = 1

    def __init__(self) -> None:
        super().__init__()
        self.steps: dict[int, int] = {}
        self.said: dict[int, dict[str, Any]] = {}
        self.gone: set[int] = set()
        self.current: list[int | None] = [None] * self.slots
        self.ended: list[int | None] = [None] * self.slots
        self.open = [False] * self.slots
        self.broken = False  # a step failed, and nothing was done since
        self.active = True
        self.words = 0
        self.transport = FakeTransport()
        self.cleanup = contextlib.ExitStack()
        self.cleanup.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        folder = self.cleanup.enter_context(tempfile.TemporaryDirectory())
        self.env: Any = record(self.made(), "played", transport=self.transport, spool_dir=folder)

    def made(self) -> Any:
        raise NotImplementedError

    def begun(self, slot: int, episode: int) -> None:
        self.open[slot] = self.active
        self.current[slot] = episode if self.active else None
        if self.active:
            self.steps[episode], self.said[episode] = 0, {}

    def stepped(self, slot: int, action: int) -> None:
        episode = self.current[slot]
        if self.open[slot] and episode is not None:
            self.steps[episode] += 1
        if action == END:
            self.open[slot], self.ended[slot] = False, episode

    def close_all(self) -> None:
        self.open, self.broken = [False] * self.slots, False

    def out_of_reach(self) -> None:
        self.close_all()
        self.current, self.ended = [None] * self.slots, [None] * self.slots

    def word(self, episode: int | None) -> dict[str, int]:
        self.words += 1
        if episode is not None:
            self.said[episode]["word"] = self.words
        return {"word": self.words}

    def give_up(self, episode: int | None) -> None:
        if episode is not None:
            self.gone.add(episode)

    @rule()
    def switch_off(self) -> None:
        self.env.deactivate_recording()
        self.active = False
        self.out_of_reach()

    @rule()
    def switch_on(self) -> None:
        self.env.activate_recording()
        self.active = True

    @rule(number=st.integers(0, 2**30))
    def other_benchmark(self, number: int) -> None:
        other = id_text(make_id(1_700_000_000_000, number))
        if other != self.env._stream.config.benchmark.id:
            self.env.bind_benchmark(BenchmarkState(id=other, resolved=True))
            self.out_of_reach()

    def teardown(self) -> None:
        with self.cleanup:
            self.env.close()
        runs = [run for run in recorded_runs(self.transport.events) if run.actions]
        found = {int(run.observations[0][0]): run for run in runs}
        assert len(found) == len(runs), "an episode that comes twice"
        assert {episode: len(run.actions) for episode, run in found.items()} == {
            episode: count for episode, count in self.steps.items() if count
        }
        for episode, run in found.items():
            assert run.end is not None
            assert [o.tolist() for o in run.observations] == [
                [episode, i] for i in range(self.steps[episode] + 1)
            ]
            assert told_of(run) == self.said[episode]
            is_gone = run.end.discarded or any(event.discarded for event in run.amended)
            assert is_gone == (episode in self.gone)


class SingleWords(Words):
    """One environment; which episodes have extra facts is seen at their first step."""

    def __init__(self) -> None:
        super().__init__()
        self.tells = self.pending = self.unsure = False

    def made(self) -> Any:
        self.inner = Played()
        return self.inner

    @rule()
    def reset(self) -> None:
        self.env.reset()
        self.begun(0, self.inner.episode)
        self.broken = self.pending = self.unsure = False

    @rule()
    def fail_to_reset(self) -> None:
        self.inner.fails = True
        with contextlib.suppress(TimeoutError):
            self.env.reset()
        self.close_all()
        self.unsure = True

    @rule(action=st.sampled_from([GO, GO, END]))
    def step(self, action: int) -> None:
        if self.broken:
            self.close_all()
        if self.unsure:
            self.current = [None]
        if self.open[0] and not self.steps[self.inner.episode]:
            self.tells = self.pending
        self.env.step(action)
        self.stepped(0, action)
        self.pending = False

    @rule()
    def fail_to_step(self) -> None:
        if self.broken or self.unsure:
            return
        with contextlib.suppress(TimeoutError):
            self.env.step(FAIL)
        self.broken = self.open[0]

    @rule()
    def extra(self) -> None:
        if not self.open[0] or self.tells or not self.steps[self.inner.episode]:
            self.env.extra(fact=0.5)
            self.pending = True

    @rule()
    def annotate(self) -> None:
        self.env.annotate(**self.word(self.current[0]))

    @rule()
    def discard(self) -> None:
        self.env.discard_episode()
        self.give_up(self.current[0])
        self.close_all()


class VectorWords(Words):
    """Two environments."""

    slots = SLOTS
    mode = AutoresetMode.DISABLED

    def __init__(self) -> None:
        super().__init__()
        self.over = [False] * SLOTS
        self.unsure: set[int] = set()
        self.reset([0, 1])  # a vector's first reset is of all

    def made(self) -> Any:
        self.inner = [Played(1_000 * slot) for slot in range(SLOTS)]
        makers = [lambda slot=slot: self.inner[slot] for slot in range(SLOTS)]
        return SyncVectorEnv(makers, autoreset_mode=self.mode)

    def _leave(self, slots: list[int]) -> None:
        if self.broken or len(slots) == SLOTS:
            self.close_all()
        for slot in slots:
            self.open[slot] = self.over[slot] = False
            self.ended[slot] = self.current[slot]

    def _options(self, slots: list[int]) -> dict[str, Any] | None:
        mask = np.isin(np.arange(SLOTS), slots)
        return None if mask.all() else {"reset_mask": mask}

    @rule(slots=st.sampled_from([[0, 1], [0], [1]]))
    def reset(self, slots: list[int]) -> None:
        self._leave(slots)
        self.env.reset(options=self._options(slots))
        self.unsure -= set(slots)
        for slot in slots:
            self.begun(slot, self.inner[slot].episode)

    @rule(slots=st.sampled_from([[0, 1], [0], [1]]))
    def fail_to_reset(self, slots: list[int]) -> None:
        self._leave(slots)
        self.inner[slots[-1]].fails = True
        with contextlib.suppress(TimeoutError):
            self.env.reset(options=self._options(slots))
        self.unsure |= set(slots)

    def _before(self) -> None:
        if self.broken:
            self.close_all()
        for slot in self.unsure:
            self.current[slot] = None
        self.unsure.clear()

    @rule(actions=st.tuples(*[st.sampled_from([GO, GO, END])] * SLOTS))
    def step(self, actions: tuple[int, ...]) -> None:
        if self.mode is AutoresetMode.DISABLED and any(self.over):
            self.reset(np.flatnonzero(self.over).tolist())
        self._before()
        self.env.step(np.array(actions))
        for slot, action in enumerate(actions):
            if self.over[slot] and self.mode is AutoresetMode.NEXT_STEP:
                self.over[slot] = False
                self.begun(slot, self.inner[slot].episode)
                continue
            self.stepped(slot, action)
            self.over[slot] = action == END
            if action == END and self.mode is AutoresetMode.SAME_STEP:
                self.begun(slot, self.inner[slot].episode)

    @rule(slot=ANY_SLOT)
    def fail_to_step(self, slot: int) -> None:
        if any(self.over) or self.broken:
            return
        self._before()
        actions = np.full(SLOTS, GO)
        actions[slot] = FAIL
        with contextlib.suppress(TimeoutError):
            self.env.step(actions)
        self.broken = any(self.open)

    @rule(slot=ANY_SLOT)
    def annotate(self, slot: int) -> None:
        self.env.annotate(slot, **self.word(self.current[slot]))

    @rule(slot=ANY_SLOT)
    def annotate_ended(self, slot: int) -> None:
        self.env.annotate_ended(slot, **self.word(self.ended[slot]))

    @rule(slot=ANY_SLOT)
    def discard(self, slot: int) -> None:
        self.env.discard_episode(slot)
        self.give_up(self.current[slot])
        self.open[slot] = False

    @rule()
    def discard_all(self) -> None:
        self.env.discard_episode()
        for slot in range(SLOTS):
            if self.open[slot]:
                self.give_up(self.current[slot])
        self.close_all()

    @rule(slot=ANY_SLOT)
    def discard_ended(self, slot: int) -> None:
        self.env.discard_ended_episode(slot)
        self.give_up(self.ended[slot])


class NextStepWords(VectorWords):
    """With Gymnasium's usual autoreset."""

    mode = AutoresetMode.NEXT_STEP


class SameStepWords(VectorWords):
    """With the autoreset inside the last step."""

    mode = AutoresetMode.SAME_STEP


TestSingle = SingleWords.TestCase
TestDisabled = VectorWords.TestCase
TestNextStep = NextStepWords.TestCase
TestSameStep = SameStepWords.TestCase
TestSingle.settings = TestDisabled.settings = TestNextStep.settings = TestSameStep.settings = (
    hypothesis.settings(max_examples=100, stateful_step_count=30)
)
