"""What a recording keeps where values change their type, the disk is full, or the server refuses what it is sent."""

import errno
import shutil
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

from support.loop_oracle import Run, recorded_runs
from support.telling import telling
from tupli.errors import NotFound, SpoolFull, TransportError, TupliWarning
from tupli.recording import Recorder, lifetime, record, shipper
from tupli.spool.directory import SpoolDirectory
from tupli.spool.manifest import Manifest
from tupli.transport import FakeTransport
from tupli.transport.base import Body, SendResult
from tupli.transport.fake import refusal
from tupli_schemas.events import Event, StepsRecorded

GIB = 1 << 30
WHOLE = 3


class Meddling(gymnasium.Env[Any, Any]):
    """Calls `meddle` in its second step; ends after `WHOLE` steps."""

    def __init__(self, kind: str) -> None:
        space = gymnasium.spaces.Box(-1e9, 1e9, (2,), np.float32)
        self.observation_space = space if kind == "vectors" else gymnasium.spaces.Box(-9, 9, (), np.float64)
        self.action_space = space
        self.kind, self.count = kind, 0
        self.meddle: Any = None

    def _observe(self) -> Any:
        return np.full(2, self.count, np.float32) if self.kind == "vectors" else float(self.count)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.count = 0
        return self._observe(), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        if self.count == 2 and self.meddle is not None:
            self.meddle()
        return self._observe(), 1.0, False, False, {}


def quiet(transport: FakeTransport, folder: Path, **options: Any) -> Recorder:
    return Recorder("any", transport=transport, spool_dir=folder, **options)


def runs_of(transport: FakeTransport) -> list[Run]:
    return recorded_runs(transport.events)


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


# --- what is told from inside a step --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vectors", "scalars"])
def test_a_callback_set_inside_a_step_loses_no_step(
    kind: str, transport: FakeTransport, tmp_path: Path
) -> None:
    with record(Meddling(kind), "any", transport=transport, spool_dir=tmp_path) as env:
        env.unwrapped.meddle = lambda: setattr(env, "metadata_callback", lambda t: {})
        env.reset()
        for i in range(4):
            env.step(np.full(2, i, np.float32))
    (run,) = runs_of(transport)
    assert [a[0] for a in run.actions] == [0, 1, 2, 3]
    assert [np.ravel(o)[0] for o in run.observations] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["vectors", "scalars"])
def test_an_extra_fact_told_inside_a_step_loses_no_step_before_it(
    kind: str, transport: FakeTransport, tmp_path: Path
) -> None:
    with (
        warnings.catch_warnings(record=True),
        record(Meddling(kind), "any", transport=transport, spool_dir=tmp_path) as env,
    ):
        env.unwrapped.meddle = lambda: env.extra(value=0.5)
        for _ in range(2):
            env.reset()
            for i in range(4):
                env.step(np.full(2, i, np.float32))
    first, second = runs_of(transport)
    assert [a[0] for a in first.actions] == [0, 1]  # what was told has no column in the first schema
    assert [a[0] for a in second.actions] == [0, 1, 2, 3]
    assert np.isnan([x["value"] for x in second.extra]).tolist() == [True, True, False, True]


def test_an_extra_fact_told_inside_a_vector_step_is_of_the_next(
    transport: FakeTransport, tmp_path: Path
) -> None:
    envs = gymnasium.vector.SyncVectorEnv(
        [lambda: Meddling("vectors")] * 2, autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP
    )
    with (
        warnings.catch_warnings(record=True),
        record(envs, "any", transport=transport, spool_dir=tmp_path) as env,
    ):
        inner: Any = envs.envs[0].unwrapped
        inner.meddle = lambda: env.extra(value=np.full(2, 0.5))
        for _ in range(2):
            env.reset()
            for _ in range(4):
                env.step(np.zeros((2, 2), np.float32))
    runs = runs_of(transport)
    assert [len(run.actions) for run in runs] == [2, 2, 4, 4]
    assert np.isnan([x["value"] for x in runs[3].extra]).tolist() == [True, True, False, True]


# --- what does not fit ----------------------------------------------------------------------------------------------


def episode(rec: Recorder, observations: list[Any], actions: list[Any], extras: list[Any]) -> None:
    rec.start(observations[0])
    for observation, action, extra in zip(observations[1:], actions, extras, strict=True):
        rec.extra(**extra)
        rec.step(action, observation, 0.0, False, False)
    rec.end()


PLAIN = [np.zeros(2, np.float32)] * (WHOLE + 1)
A32, A64 = np.zeros(2, np.float32), np.full(2, 0.1)
CASES: dict[str, tuple[list[Any], list[Any], list[Any]]] = {
    "action dtype": (PLAIN, [A64] * WHOLE, [{}] * WHOLE),
    "action dtype midway": (PLAIN, [A32, A32, A64], [{}] * WHOLE),
    "action shape": (PLAIN, [np.zeros(3, np.float32)] * WHOLE, [{}] * WHOLE),
    "extra": (PLAIN, [A32] * WHOLE, [{"v": 1.0}] * WHOLE),
    "extra from the second step": (PLAIN, [A32] * WHOLE, [{}, {"v": 1}, {"v": 2}]),
    "extra missing midway": (PLAIN, [A32] * WHOLE, [{"v": 1}, {}, {"v": 2}]),
    "observation": ([0, 1, 4.5, 2], [A32] * WHOLE, [{}] * WHOLE),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_misfit_costs_one_episode(case: str, transport: FakeTransport, tmp_path: Path) -> None:
    rec = quiet(transport, tmp_path)
    with warnings.catch_warnings(record=True):
        episode(rec, PLAIN, [A32] * WHOLE, [{}] * WHOLE)
        for _ in range(4):
            episode(rec, *CASES[case])
        rec.close()
    runs = runs_of(transport)
    assert [len(run.actions) for run in runs][-2:] == [WHOLE, WHOLE]
    observations, actions, extras = CASES[case]
    for run in runs[-2:]:
        assert [np.asarray(o).tolist() for o in run.observations] == [
            np.asarray(o).tolist() for o in observations
        ]
        assert [a.tolist() for a in run.actions] == [a.tolist() for a in actions]
        assert [x.get("v") for x in run.extra if x] == [x.get("v") for x in extras if x or any(extras)]


def test_a_vectors_misfit_costs_one_episode(transport: FakeTransport, tmp_path: Path) -> None:
    envs = gymnasium.vector.SyncVectorEnv(
        [lambda: Meddling("vectors")] * 2, autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP
    )
    with (
        warnings.catch_warnings(record=True),
        record(envs, "any", transport=transport, spool_dir=tmp_path) as env,
    ):
        for _ in range(3):
            env.reset()
            for i in range(WHOLE):
                env.step(np.full((2, 2), 0.1) if i else np.zeros((2, 2), np.float32))
    assert [len(run.actions) for run in runs_of(transport)] == [1, 1, 3, 3, 3, 3]


# --- room -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_without_room_for_a_stream_stops_the_recording(
    code: int, transport: FakeTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(self: Manifest, directory: Path) -> None:
        raise OSError(code, "no room")

    monkeypatch.setattr(Manifest, "write", write)
    rec = quiet(transport, tmp_path)
    rec.start(np.zeros(2))
    with pytest.warns(TupliWarning, match="recording stopped"):
        rec.step(0, np.zeros(2), 0.0, False, False)
    with pytest.raises(SpoolFull):
        rec.close()
    assert list(tmp_path.glob("*/*")) == []


def test_blocking_begins_with_the_first_segment(
    transport: FakeTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = iter([SpoolFull("no room")] * 3)

    def make_room(self: SpoolDirectory, size: int) -> None:
        error = next(refusals, None)
        if error is not None:
            raise error

    monkeypatch.setattr(SpoolDirectory, "make_room", make_room)
    with warnings.catch_warnings(record=True):
        rec = quiet(transport, tmp_path, on_full="block")
        rec.start(np.zeros(2))
        rec.step(0, np.zeros(2), 0.0, False, False)
        rec.close()
    assert [len(run.actions) for run in runs_of(transport)] == [1]


def test_a_small_disk_leaves_its_share_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"bytes": 40 << 20}

    def usage(path: Path) -> Any:
        return SimpleNamespace(total=GIB // 8, free=free["bytes"])

    monkeypatch.setattr(shutil, "disk_usage", usage)
    spool = SpoolDirectory(tmp_path)
    spool.make_room(1 << 20)
    free["bytes"] = 7 << 20
    with pytest.raises(SpoolFull, match=str(GIB // 8 // 20)):
        spool.make_room(1 << 20)


def test_where_there_is_plenty_a_part_is_given_without_another_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, looks, used = [1_000.0], [], [0]

    def seen(_: SpoolDirectory) -> int:
        looks.append(now[0])
        return used[0]

    monkeypatch.setattr("tupli.spool.directory.time.monotonic", lambda: now[0])
    monkeypatch.setattr(SpoolDirectory, "used", seen)
    spools = [SpoolDirectory(tmp_path, limit=400 << 20) for _ in range(3)]  # of one process: they share it
    for number in range(100):  # the first look gave a quarter of what was free behind it
        spools[number % 3].make_room(1 << 20)
    assert len(looks) == 1
    spools[0].make_room(1 << 20)
    assert len(looks) == 2
    now[0] += 6.0  # what was seen is too old
    spools[1].make_room(1 << 20)
    assert len(looks) == 3
    used[0] = 200 << 20  # no plenty: each one looks
    spools[0].look()
    with pytest.raises(SpoolFull):
        spools[1].make_room(201 << 20)
    for _ in range(2):
        spools[2].make_room(1 << 20)
    assert len(looks) == 7


# --- what the server does not take ----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["observation", "action", "extra", "together"])
def test_a_step_that_is_too_large_aborts_its_episode(
    place: str, transport: FakeTransport, tmp_path: Path
) -> None:
    rec = quiet(transport, tmp_path)
    size = (7 << 20) if place == "together" else (9 << 20)
    rec.start("a")
    rec.extra(note="")
    rec.step("a", "b", 0.0, False, False)
    big = {
        name: "x" * size if place in (name, "together") else "c"
        for name in ("action", "observation", "extra")
    }
    rec.extra(note=big["extra"])
    with pytest.warns(TupliWarning, match="bytes"):
        rec.step(big["action"], big["observation"], 0.0, False, False)
    rec.end()
    rec.start("a")
    rec.extra(note="")
    rec.step("a", "b", 0.0, False, False)
    rec.close()
    first, second = runs_of(transport)
    assert first.end is not None
    assert "bytes" in first.end.reason
    assert len(first.actions) == (2 if place == "observation" else 1)
    assert len(second.actions) == 1
    assert not (tmp_path / "rejected").exists()


def test_refused_events_are_not_waited_for(transport: FakeTransport, tmp_path: Path) -> None:
    def refuse(events: list[Event]) -> None:
        for index, event in enumerate(events):
            if isinstance(event, StepsRecorded):
                raise refusal("not_found", index=index, detail="no such benchmark")

    transport.before_send = refuse
    rec = quiet(transport, tmp_path, drain_timeout=20.0)
    rec.start(np.zeros(2))
    rec.step(0, np.zeros(2), 0.0, False, False)
    begun = time.monotonic()
    with telling() as told:
        rec.close()
    assert time.monotonic() - begun < 10
    assert any("refused 1 events" in text and "rejected" in text for text in told)
    assert not any("not visible" in text for text in told)


def test_a_stream_that_is_gone_is_not_waited_for(transport: FakeTransport, tmp_path: Path) -> None:
    class Gone(FakeTransport):
        def stream_state(self, stream: bytes) -> dict[str, Any]:
            raise NotFound("no such stream")

    gone = Gone()
    rec = quiet(gone, tmp_path, drain_timeout=20.0)
    rec.start(np.zeros(2))
    rec.step(0, np.zeros(2), 0.0, False, False)
    while not gone.events:
        time.sleep(0.01)
    gone.before_send = lambda events: (_ for _ in ()).throw(refusal("not_found"))
    rec.step(0, np.zeros(2), 0.0, False, False)
    begun = time.monotonic()
    with warnings.catch_warnings(record=True):
        rec.close()
    assert time.monotonic() - begun < 10


class Refusing(FakeTransport):
    """Refuses every event, one at a time, once it is told to; cannot be reached before."""

    refusing = False

    def send_events(self, body: Body) -> SendResult:
        if not self.refusing:
            raise TransportError("not yet")
        raise refusal()


def test_many_refused_events_in_one_request(tmp_path: Path) -> None:
    transport = Refusing()
    rec = quiet(transport, tmp_path, drain_timeout=30.0)
    for _ in range(400):
        rec.start(np.zeros(2))
        rec.step(0, np.zeros(2), 0.0, True, False)
    transport.refusing = True
    with telling() as told:
        rec.close()
    rejected = len(list((tmp_path / "rejected").glob("*.event")))
    assert rejected == 4 * 400  # a record of two steps is looked at row by row
    assert any(f"refused {rejected} events" in text for text in told)


def test_rows_that_stay_are_told_of_once(
    transport: FakeTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(events: list[Event]) -> None:
        raise TransportError("down")

    transport.before_send = fail
    rec = quiet(transport, tmp_path, drain_timeout=0.1)
    rec.start(np.zeros(2))
    rec.step(0, np.zeros(2), 0.0, False, False)
    with pytest.warns(TupliWarning, match="still in the spool"):
        rec.close()
    job = rec._stream.job
    assert job is not None
    monkeypatch.setattr(lifetime, "EXIT_SECONDS", 0.1)
    monkeypatch.setattr(shipper.background(), "jobs", lambda: [job])
    with telling() as told:
        lifetime._drain_at_exit()
    assert told == []
    monkeypatch.undo()
    shipper.background().forget(job)
