"""Workers die, sleep and come back as zombies, the store fails anyhow: what is visible is what the log says."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from support.simulated_load import POISON, Poison, Recorder, Told
from support.simulation import Member, PickyStore, World
from support.turns import FAULTS, Fault
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryStore
from tupli_ingest.core.pipeline import Pipeline

HISTORIES = 1_800
PARTS = 12
QUICK = 3
"""So many parts are run with every test run, the others with the long tests."""


def everything(store: MemoryStore, letters: MemoryDeadLetters) -> dict[str, Any]:
    """All that there is, dead letters without the order in which they came."""
    found = letters.read(max_records=10_000)
    return {
        "steps": store.steps(),
        "episodes": store.rows("episodes"),
        "streams": store.rows("streams"),
        "letters": sorted(found, key=lambda one: (one.position, one.code)),
    }


def check(world: World) -> None:
    """A world that has settled shows what one pipeline makes of the log in one go, and what plain Python tells."""
    told = Told.by(world)
    store, letters = PickyStore(), MemoryDeadLetters()
    pipeline = Pipeline(store, letters)
    for records in world.log:
        pipeline.add(records)
    pipeline.flush()
    expected, shown = (everything(*places) for places in ((store, letters), (world.store, world.letters)))
    for name, rows in expected.items():
        assert shown[name] == rows, name
    dead = [(one.position, one.code) for one in world.letters.read(max_records=10_000)]
    assert len(dead) == len(set(dead))
    assert set(dead) == told.dead
    headers = {row["episode"]: (row["benchmark"], row["status"], row["prefix"]) for row in shown["episodes"]}
    assert headers == told.headers()
    steps = {
        (benchmark, episode, step): (row["info"], row["partition"], row["offset"])
        for (_, benchmark, _, episode, step), row in shown["steps"].items()
    }
    assert steps == told.steps()


class Play:
    """A small world, and what may happen in it."""

    def __init__(
        self,
        seed: int,
        streams: int,
        workers: int,
        block_bytes: int,
        max_streams: int,
        late_starts: bool = False,  # noqa: FBT001, FBT002 -- drawn by name
    ) -> None:
        self.workers = workers
        self.world = World(partitions=min(streams, 2), block_bytes=block_bytes, max_streams=max_streams)
        seeded = random.Random(seed)
        self.recorders = [
            Recorder(self.world, number, seeded, late_starts=late_starts) for number in range(streams)
        ]
        self.world.rebalance([self.world.join()])

    def send(self, stream: int, count: int, cut: int, days: int) -> None:
        self._recorder(stream).send(count, cut=cut, days=days)

    def withhold(self, stream: int, count: int) -> None:
        self._recorder(stream).withhold(count)

    def arrive(self, stream: int, which: int, cut: int, days: int) -> None:
        self._recorder(stream).arrive(which, cut=cut, days=days)

    def repeat(self, stream: int, first: int, count: int, cut: int, salt: int, *, foreign: bool) -> None:
        self._recorder(stream).repeat(first, count, cut=cut, salt=salt, foreign=foreign)

    def poison(self, stream: int, kind: Poison) -> None:
        self._recorder(stream).poison(kind)

    def deliver(self, which: int, count: int) -> None:
        for member in self._members(which):
            member.deliver(count)

    def run(self, which: int, turns: int, fault: Fault) -> None:
        """The last of the turns goes wrong."""
        for member in self._members(which):
            for left in reversed(range(turns)):
                if member.can_run:
                    member.turns.run("" if left else fault)

    def kill(self, which: int) -> None:
        for member in self._members(which):
            self.world.kill(member)

    def rebalance(self, taking_part: int, *, new: bool) -> None:
        """Who takes no part sleeps, and does not know."""
        if new and len(self.world.members) < self.workers:
            self.world.join()
        self.world.rebalance([one for i, one in enumerate(self.world.members) if taking_part >> i & 1])

    def store(self, *, away: bool) -> None:
        self.world.away = away

    def tidy(self) -> None:
        self.world.tidy()

    def settle(self) -> None:
        self.world.settle()
        check(self.world)

    def _recorder(self, stream: int) -> Recorder:
        return self.recorders[stream % len(self.recorders)]

    def _members(self, which: int) -> list[Member]:
        members = self.world.members
        return [members[which % len(members)]] if members else []


Choices = dict[str, Sequence[Any]]
STREAM: Choices = {"stream": range(3)}
REQUEST: Choices = STREAM | {"cut": range(1, 5), "days": (0, -1, 1)}
WHICH: Choices = {"which": range(3)}
BEGIN: Choices = {
    "seed": range(1_000),
    "streams": (1, 2, 3),
    "workers": (2, 3, 1),
    "block_bytes": (2_000, 1, 2**30),
    "max_streams": (100, 1),
    "late_starts": (False, True),
}
MOVES: dict[str, tuple[int, Choices]] = {
    "send": (10, REQUEST | {"count": range(1, 9)}),
    "withhold": (4, STREAM | {"count": range(1, 5)}),
    "arrive": (5, REQUEST | {"which": range(4)}),
    "repeat": (
        4,
        STREAM
        | {
            "first": range(20),
            "count": range(1, 9),
            "cut": range(1, 5),
            "salt": (0, 0, 1),
            "foreign": (False, False, True),
        },
    ),
    "poison": (1, STREAM | {"kind": POISON}),
    "deliver": (12, WHICH | {"count": range(1, 6)}),
    "run": (25, WHICH | {"turns": range(1, 16), "fault": ("", "", "", *FAULTS)}),
    "kill": (2, WHICH),
    "rebalance": (6, {"taking_part": range(7, -1, -1), "new": (False, True)}),
    "store": (2, {"away": (False, True)}),
    "tidy": (2, {}),
    "settle": (1, {}),
}
"""What may happen: how often, and with which arguments."""


def drawn(choices: Choices) -> dict[str, Any]:
    return {name: st.sampled_from(values) for name, values in choices.items()}


def move(name: str) -> Any:
    """The rule of a move."""

    def call(self: "Simulation", **arguments: Any) -> None:
        getattr(self.play, name)(**arguments)

    call.__name__ = name
    decorate: Any = rule(**drawn(MOVES[name][1]))
    return decorate(call)


class Simulation(RuleBasedStateMachine):
    """Histories that hypothesis makes up, and shrinks."""

    play: Play

    @initialize(beginning=st.fixed_dictionaries(drawn(BEGIN)))
    def begin(self, beginning: dict[str, Any]) -> None:
        self.play = Play(**beginning)

    send, withhold, arrive = move("send"), move("withhold"), move("arrive")
    repeat, poison = move("repeat"), move("poison")
    deliver, run, kill, rebalance = move("deliver"), move("run"), move("kill"), move("rebalance")
    store, tidy, settle = move("store"), move("tidy"), move("settle")

    def teardown(self) -> None:
        if hasattr(self, "play"):
            try:
                self.play.settle()
            finally:
                self.play.world.close()


TestSimulation = Simulation.TestCase
TestSimulation.settings = settings(max_examples=60, stateful_step_count=50)


def wander(seed: int, moves: int = 50) -> World:
    """A history that is drawn from a seed; a failure tells it."""
    seeded = random.Random(seed)
    begin = {name: seeded.choice(values) for name, values in BEGIN.items()}
    history = [f"Play(**{begin})"]
    play = Play(**begin)
    names, weights = list(MOVES), [weight for weight, _ in MOVES.values()]
    try:
        for name in [*seeded.choices(names, weights, k=moves), "settle"]:
            arguments = {argument: seeded.choice(values) for argument, values in MOVES[name][1].items()}
            history.append(f"{name}(**{arguments})")
            getattr(play, name)(**arguments)
    except AssertionError as error:
        error.add_note("\n".join(history))
        raise
    finally:
        play.world.close()
    return play.world


@pytest.mark.parametrize(
    "part", [*range(QUICK), *(pytest.param(part, marks=pytest.mark.faults) for part in range(QUICK, PARTS))]
)
def test_any_seed_ends_as_the_log_says(part: int) -> None:
    for seed in range(part, HISTORIES, PARTS):
        wander(seed)


def test_a_seed_is_one_history() -> None:
    for seed in range(10):
        one, other = wander(seed), wander(seed)
        assert one.log == other.log
        assert one.calls == other.calls
        assert one.letters.read() == other.letters.read()


@pytest.mark.parametrize("turns", range(1, 9))
def test_who_sleeps_while_rows_are_moved_harms_nothing_that_is_read(turns: int) -> None:
    play = Play(seed=3, streams=2, workers=2, block_bytes=2**30, max_streams=100)
    try:
        play.withhold(0, 1)  # the start of an episode
        play.send(0, 8, 4, 0)
        play.deliver(0, 5)
        play.run(0, turns, "")
        play.rebalance(0b10, new=True)
        play.arrive(0, 0, 4, 0)
        play.deliver(1, 5)
        play.run(1, 30, "")
        play.settle()
    finally:
        play.world.close()
