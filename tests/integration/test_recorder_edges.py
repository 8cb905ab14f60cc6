"""What a recording does where a run is not as it should be: it goes on, and what is kept is right."""

import copy
import gc
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from support.ingest_service import eventually
from support.loop_oracle import Run, recorded_runs
from support.telling import telling
from tupli.errors import AuthError, Conflict, InvalidInput, SpoolFull, TransportError, TupliWarning
from tupli.recording import Recorder, record
from tupli.recording.flush import status
from tupli.recording.shipper import background
from tupli.spool.directory import SpoolDirectory
from tupli.transport import FakeTransport
from tupli.transport.fake import refusal
from tupli_schemas.catalog import Command
from tupli_schemas.events import EpisodeEnded, Event, StepsRecorded


class Line(gymnasium.Env[Any, Any]):
    """Counts; `hook` is called in every step and may return another observation."""

    def __init__(self, hook: Callable[[int], Any] = lambda count: None, ends_at: int = 10**9) -> None:
        self.observation_space = gymnasium.spaces.Box(-1e9, 1e9, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        self.hook, self.ends_at, self.count = hook, ends_at, 0
        self.info: dict[str, Any] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.count = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        other = self.hook(self.count)
        observation = np.full(2, self.count, np.float32) if other is None else other
        self.info["count"] = self.count  # one dict, used again and again
        return observation, 1.0, self.count == self.ends_at, False, self.info


class Setup:
    """A recorded `Line` on a transport of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.transport = FakeTransport()

    def record(self, env: Any = None, **options: Any) -> Any:
        env = Line() if env is None else env
        return record(env, "line", transport=self.transport, spool_dir=self.folder, **options)

    def runs(self) -> list[Run]:
        return recorded_runs(self.transport.events)

    def ends(self) -> list[tuple[int, str]]:
        return [(run.end.n_steps, run.end.reason) for run in self.runs() if run.end is not None]


def wait_for(event: threading.Event) -> None:
    event.wait(20)


ACT = np.zeros(2, np.float32)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_actions_changed_in_place_and_infos_used_again(setup: Setup) -> None:
    with setup.record() as env:
        env.reset()
        action = np.zeros(2, np.float32)
        for i in range(20):
            action[:] = i
            env.step(action)
            action[:] = -1
    (run,) = setup.runs()
    assert [a[0] for a in run.actions] == list(range(20))
    assert [info["count"] for info in run.infos] == list(range(1, 21))


def test_reset_midway_aborts_and_touches_no_neighbour(setup: Setup) -> None:
    with setup.record() as env:
        for steps in (3, 0, 2):
            env.reset()
            for _ in range(steps):
                env.step(ACT)
    assert setup.ends() == [(3, "reset"), (0, "reset"), (2, "closed")]
    assert [len(run.observations) for run in setup.runs()] == [4, 1, 3]


@pytest.mark.parametrize("action", [2**63, 2**65, -(2**65)])
def test_an_integer_that_no_column_holds_is_the_environments_all_the_same(setup: Setup, action: int) -> None:
    seen: list[Any] = []

    class Discrete(Line):
        def step(self, action: Any) -> Any:
            seen.append(action)
            return super().step(action)

    env = Discrete()
    env.action_space = gymnasium.spaces.Discrete(5)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        with setup.record(env) as recorded:
            for _ in range(2):
                recorded.reset()
                recorded.step(0)
                recorded.step(1)
                recorded.step(action)
    assert seen == [0, 1, action] * 2
    assert setup.ends()[0][0] == 2
    assert setup.runs()[0].actions == [0, 1]


def test_an_environment_that_was_reset_and_never_stepped_leaves_no_episode(setup: Setup) -> None:
    with setup.record() as env:
        for steps in (1, 0, 1, 0):
            env.reset()
            for _ in range(steps):
                env.step(ACT)
    assert [run.end.discarded for run in setup.runs() if run.end is not None] == [False, True, False, True]


def test_an_exception_in_the_environment(setup: Setup) -> None:
    def fail(count: int) -> None:
        if count == 4:
            raise ZeroDivisionError

    with setup.record(Line(fail)) as env:
        env.reset()
        for _ in range(3):
            env.step(ACT)
        with pytest.raises(ZeroDivisionError):
            env.step(ACT)
        env.step(ACT)  # going on without a reset: nobody knows what state that is
        env.step(ACT)
        env.reset()
        env.step(ACT)
    assert setup.ends() == [(3, "interrupted"), (1, "closed")]
    assert setup.runs()[0].observations[-1].tolist() == [3.0, 3.0]


def test_an_interrupt_inside_the_recorder_leaves_no_half_step(setup: Setup) -> None:
    env = setup.record()
    env.reset()
    env.step(ACT)
    env.step(ACT)
    stream = env._stream
    stream.state = 1  # the long way
    put_observation = stream._put_observation

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    stream._put_observation = interrupt
    with pytest.raises(KeyboardInterrupt):
        env.step(ACT)
    stream._put_observation = put_observation
    env.step(ACT)
    env.close()
    assert setup.ends() == [(2, "interrupted")]


def test_another_dtype_is_kept_when_the_cast_is_exact(setup: Setup) -> None:
    def other(count: int) -> Any:
        return np.full(2, count, np.float64) if count == 2 else None

    with setup.record(Line(other)) as env:
        env.reset()
        for _ in range(4):
            env.step([0.5, 0.25] if env.unwrapped.count == 2 else ACT)
    (run,) = setup.runs()
    assert {o.dtype for o in run.observations} == {np.dtype(np.float32)}
    assert run.actions[2].tolist() == [0.5, 0.25]


@pytest.mark.parametrize("bad", [np.full(2, 0.1), np.zeros(3, np.float32), None, {"a": 1}], ids=str)
def test_what_does_not_fit_aborts_and_the_next_episode_has_a_schema_of_its_own(
    setup: Setup, bad: Any
) -> None:
    def other(count: int) -> Any:
        return bad if count == 3 and bad is not None else ("gone" if count == 3 else None)

    env = setup.record(Line(other))

    def five_steps() -> None:
        env.reset()
        for _ in range(5):
            env.step(ACT)

    with pytest.warns(TupliWarning, match="aborted"):
        five_steps()
    env.reset()
    env.step(ACT)
    env.close()
    (first, second) = setup.runs()
    assert first.end is not None
    assert (first.end.n_steps, first.end.aborted, first.end.has_final) == (3, True, False)
    assert len(first.observations) == 3
    assert len(second.actions) == 1


@pytest.mark.parametrize("careful", [False, True])
def test_a_final_observation_that_does_not_fit_is_left_out_and_told(
    tmp_path: Path,
    careful: bool,  # noqa: FBT001 -- a case
) -> None:
    transport = FakeTransport()
    rec = Recorder("any", transport=transport, spool_dir=tmp_path)
    if careful:
        rec.extra(logprob=0.5)
    rec.start([1, 2])
    rec.step(1, [2, 3], 1.0, False, False)
    with pytest.warns(TupliWarning, match="final observation is not recorded: float64 does not fit int64"):
        rec.step(2, [4.5, 5], 1.0, True, False)
    rec.start([4.5, 6])
    rec.step(1, [2, 3], 1.0, True, False)
    rec.close()
    first, second = recorded_runs(transport.events)
    assert (len(first.actions), len(first.observations)) == (2, 2)
    assert first.end is not None
    assert first.end.terminated
    assert second.observations == [[4.5, 6.0], [2.0, 3.0]]


def test_a_new_schema_in_the_same_stream(setup: Setup) -> None:
    rec = Recorder("any", transport=setup.transport, spool_dir=setup.folder)
    rec.start(np.zeros(2))
    rec.step(1, np.ones(2), 0.0, True, False)
    rec.start({"text": "a"})
    rec.step(1, {"text": "bc"}, 0.0, False, False, {"b": b"x"})
    rec.close()
    one, two = setup.runs()
    assert one.observations[1].tolist() == [1.0, 1.0]
    assert [o["text"] for o in two.observations] == ["a", "bc"]
    assert two.infos == [{"b": b"x"}]
    assert one.start is not None
    assert two.start is not None
    assert one.start.stream == two.start.stream


def test_extra_annotations_and_discarding(setup: Setup) -> None:
    with setup.record(Line(ends_at=3), metadata={"site": "lab"}, policy="p", publish_in="lab") as env:
        env.reset(seed=4, options={"level": 2})
        for i in range(3):
            env.extra(logprob=-0.5 * i, **({"value": np.float32(i)} if i < 2 else {}))  # then NaN
            env.step(ACT)
            env.annotate(seen=i)
        env.reset()
        env.extra(logprob=1.0)  # this episode has no `value`
        env.step(ACT)
        env.discard_episode()
    one, two = setup.runs()
    assert [x["logprob"] for x in one.extra] == [0.0, -0.5, -1.0]
    assert np.isnan(one.extra[2]["value"])
    assert two.extra == [{"logprob": 1.0}]
    assert one.start is not None
    assert one.end is not None
    assert two.end is not None
    assert (one.start.seed, one.start.options, one.start.metadata) == (4, {"level": 2}, {"site": "lab"})
    assert (one.start.policy, one.start.publish_in) == ("p", ("lab",))
    assert one.end.metadata == {"seen": 1}
    assert [event.metadata for event in one.amended] == [{"seen": 2}]
    assert (two.end.discarded, two.end.aborted) == (True, True)


def test_the_seeds_metadata_callback(setup: Setup) -> None:
    env = setup.record(Line(ends_at=3))
    env.set_wrapper_attr("metadata_callback", lambda t: {"total": float(t.state[0] + t.reward)})
    env._stream.config.rl_tuple = lambda **kw: type("T", (), kw)
    with env:
        env.reset()
        for _ in range(3):
            env.step(ACT)
    (run,) = setup.runs()
    assert run.end is not None
    assert run.end.metadata == {"total": 3.0}


def test_only_named_info_keys(setup: Setup) -> None:
    with setup.record(info=["count"]) as env:
        env.unwrapped.info["big"] = "x" * 1000
        env.reset()
        env.step(ACT)
    assert setup.runs()[0].infos == [{"count": 1}]


def test_pausing(setup: Setup) -> None:
    with setup.record() as env:
        env.reset()
        env.step(ACT)
        env.deactivate_recording()
        env.step(ACT)
        env.reset()
        env.step(ACT)
        env.activate_recording()
        env.step(ACT)
        env.reset()
        env.step(ACT)
    assert setup.ends() == [(1, "paused"), (1, "closed")]


def test_a_forgotten_wrapper_ends_its_stream(setup: Setup) -> None:
    env = setup.record()
    env.reset()
    env.step(ACT)
    del env
    gc.collect()
    with setup.record() as env:
        env.reset()
        env.step(ACT)
    assert sorted(reason for _, reason in setup.ends()) == ["abandoned", "closed"]


@pytest.mark.timeout(30)
def test_a_wrapper_may_be_collected_inside_any_lock(setup: Setup) -> None:
    """Garbage is collected on whatever thread allocates, perhaps one that is about to look after a stream."""
    env = setup.record()
    env.reset()
    env.step(ACT)
    with background()._lock:
        del env
        gc.collect()
    eventually(lambda: setup.ends() == [(1, "abandoned")])


def test_two_wrappers_share_requests(setup: Setup) -> None:
    one, two = setup.record(), setup.record()
    for env in (one, two):
        env.reset()
        for _ in range(10):
            env.step(ACT)
    one.close()
    two.close()
    assert setup.ends() == [(10, "closed"), (10, "closed")]


def test_a_copy_of_the_environment_records_nothing(setup: Setup) -> None:
    with setup.record() as env:
        env.reset()
        env.step(ACT)
        twin = copy.deepcopy(env)
        twin.step(ACT)
        twin.step(ACT)
        assert (env.unwrapped.count, twin.unwrapped.count) == (1, 3)
        env.step(ACT)
    assert setup.ends() == [(2, "closed")]


def test_infos_larger_than_a_segment_and_of_every_kind(setup: Setup) -> None:
    infos: list[dict[str, Any]] = [
        {"big": "x" * 3_000_000},
        {},
        {"array": np.arange(6).reshape(2, 3), "t": (1, 2.5), "nan": float("nan")},
        {"a.b": None, "$x": b"\x00", "deep": {"é": [True, 1, 1.0]}},
    ]
    rec = Recorder("any", transport=setup.transport, spool_dir=setup.folder)
    rec.start(np.zeros(2, np.float32), infos[0])
    for i in range(100):
        rec.step(
            np.int64(i), np.full(2, i, np.float32), 0.0, False, False, infos[i % 4] if i % 97 else {"i": i}
        )
    rec.close()
    (run,) = setup.runs()
    assert run.reset_info == infos[0]
    assert len(run.actions) == 100
    assert [len(info.get("big", "")) for info in run.infos[:9]] == [0, 0, 0, 0, 3_000_000, 0, 0, 0, 3_000_000]
    assert run.infos[97] == {"i": 97}
    assert run.observations[-1].tolist() == [99.0, 99.0]


def test_one_step_of_a_slow_loop_is_shipped_at_once(setup: Setup) -> None:
    with setup.record() as env:
        env.reset()
        env.step(ACT)
        deadline = time.monotonic() + 5
        while not any(isinstance(event, StepsRecorded) for event in setup.transport.events):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_server_that_fails_for_a_while(setup: Setup) -> None:
    failures = iter([TransportError("503"), TransportError("429", retry_after=0.05), AuthError("no token")])

    def fail(events: list[Event]) -> None:
        error = next(failures, None)
        if error is not None:
            raise error

    setup.transport.before_send = fail
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        with setup.record() as env:
            env.reset()
            for _ in range(2_000):
                env.step(ACT)
    assert setup.ends() == [(2_000, "closed")]


def test_a_bad_row_is_put_aside_and_the_rest_goes_on(setup: Setup) -> None:
    def refuse(events: list[Event]) -> None:
        for index, event in enumerate(events):
            if isinstance(event, StepsRecorded):
                rewards = event.rows().column("reward").to_pylist()
                if 13.0 in rewards:
                    raise refusal(index=index)

    setup.transport.before_send = refuse
    env = setup.record(gymnasium.wrappers.TransformReward(Line(), lambda r: r))
    env.reset()
    with telling() as told:
        env.env.func = lambda r: 13.0
        env.step(ACT)
        env.env.func = lambda r: 1.0
        for _ in range(20):
            env.step(ACT)
        env.close()
        time.sleep(0.1)
    assert any("refused" in line for line in told)
    kept = [event for event in setup.transport.events if isinstance(event, StepsRecorded)]
    numbers = {n for event in kept for n in range(event.first, event.last + 1)}
    assert numbers == set(range(3, 24))  # 1 is the start, 2 the bad row, 24 the end
    assert sorted(p.name[-8:] for p in (setup.folder / "rejected").iterdir()) == ["-2.event", "0-2.json"]


def test_a_hanging_server_does_not_hold_the_loop(setup: Setup) -> None:
    released = threading.Event()
    setup.transport.before_send = lambda events: wait_for(released)
    env = setup.record(drain_timeout=0.2)
    env.reset()
    for _ in range(30_000):
        env.step(ACT)
    with pytest.warns(TupliWarning, match="still in the spool"):
        env.close()
    assert sum(entry.rows for entry in status(setup.folder)) >= 30_000
    released.set()
    deadline = time.monotonic() + 30
    while setup.ends() != [(30_000, "closed")]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_full_spool_stops_the_recording(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUPLI_SPOOL_LIMIT", str(5 << 20))
    block = threading.Event()
    setup.transport.before_send = lambda events: wait_for(block)
    env = setup.record(drain_timeout=20)
    env.reset()

    def many_steps() -> None:
        for _ in range(200_000):
            env.step(ACT)

    with pytest.warns(TupliWarning, match="recording stopped"):
        many_steps()
    block.set()
    with pytest.raises(SpoolFull):
        env.close()
    ((steps, reason),) = setup.ends()
    assert reason == "spool full"
    assert 10_000 < steps < 200_000
    (run,) = setup.runs()
    assert [o[0] for o in run.observations] == list(range(steps + 1))


def test_a_full_spool_may_block_instead(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUPLI_SPOOL_LIMIT", str(5 << 20))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TupliWarning)
        with setup.record(on_full="block") as env:
            env.reset()
            for _ in range(150_000):
                env.step(ACT)
    assert setup.ends() == [(150_000, "closed")]


def test_a_refused_benchmark(setup: Setup) -> None:
    def refuse(command: Command) -> None:
        raise Conflict("other spaces under this name")

    setup.transport.before_command = refuse
    with pytest.raises(Conflict):
        setup.record()


def test_configuration_errors(setup: Setup) -> None:
    for bad in (
        {"on_full": "drop"},
        {"drain_timeout": -1.0},
        {"autoreset": "next_step"},
        {"url": "http://x"},
    ):
        with pytest.raises(InvalidInput):
            setup.record(**bad)
    with pytest.raises(InvalidInput):
        record(Line(), "  ", transport=setup.transport, spool_dir=setup.folder)
    with pytest.raises(InvalidInput, match="cannot be"):
        SpoolDirectory("/proc/nowhere")


def test_never_reset_and_never_stepped(setup: Setup) -> None:
    with setup.record() as env:
        env.step(ACT)
    with setup.record() as env:
        env.reset()
    assert setup.transport.events == []


def test_returns_and_digests_do_not_depend_on_how_steps_were_cut(tmp_path: Path) -> None:
    ends = []
    for pause in (0.0, 0.002):
        setup = Setup(tmp_path / str(pause))
        with setup.record(Line(ends_at=300)) as env:
            env.reset()
            for i in range(300):
                env.step(np.full(2, i, np.float32))
                if i % 10 == 0:
                    time.sleep(pause)
        (end,) = [event for event in setup.transport.events if isinstance(event, EpisodeEnded)]
        ends.append((end.n_steps, end.return_, len(end.digest)))
    assert ends == [(300, 300.0, 32)] * 2


def test_a_normalising_wrapper_under_the_recording_warns(setup: Setup) -> None:
    with pytest.warns(TupliWarning, match="NormalizeReward"):
        env = setup.record(gymnasium.wrappers.NormalizeReward(Line()))
    env.close()


def test_which_extra_facts_an_episode_has_is_known_at_its_first_step(setup: Setup) -> None:
    told: list[dict[str, Any]] = [{}, {"lp": 0.5, "opt": 3}, {"lp": 0.5, "opt": 3}, {}, {"opt": 4}]
    with setup.record(Line(ends_at=3)) as env:
        for extra in told:
            env.reset()
            for _ in range(3):
                if extra:
                    env.extra(**extra)
                env.step(ACT)
    runs = [run for run in setup.runs() if run.end is not None and not run.end.discarded]
    assert [run.extra for run in runs] == [[extra] * 3 if extra else [] for extra in told]
    assert all(run.end is not None and (run.end.n_steps, run.end.aborted) == (3, False) for run in runs)
    assert len({run.start.stream for run in runs if run.start is not None}) == 1


def test_metadata_named_like_a_field_is_told(setup: Setup) -> None:
    with setup.record(Line(ends_at=3), metadata={"status": "x"}) as env:
        env.reset()
        with pytest.warns(TupliWarning, match="'status' is named like a field"):
            env.step(ACT)
        env.annotate(seed=5, mine=1)
        with pytest.warns(TupliWarning, match="metadata.seed"):
            env.reset()
