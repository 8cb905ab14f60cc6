"""Metadata, options and reset infos that no event has room for are left out and told; the episode is kept."""

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from support.loop_oracle import recorded_runs
from tupli.recording import record
from tupli.recording.facts import MAX_FACTS_BYTES
from tupli.transport import FakeTransport
from tupli_ingest.core.validation import Sender, accept_frames
from tupli_schemas.events import encode_event
from tupli_schemas.framing import Frame, Kind
from tupli_schemas.ids import make_id

MIB = 1 << 20


class Told(gymnasium.Env[Any, Any]):
    """Two steps an episode; `info` is the reset's."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(-1e9, 1e9, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.count, self.info = 0, dict[str, Any]()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.count = 0
        return np.zeros(2, np.float32), self.info

    def step(self, action: Any) -> Any:
        self.count += 1
        return np.full(2, self.count, np.float32), 1.0, self.count == 2, False, {}


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


def play(env: Any, **reset: Any) -> None:
    env.reset(**reset)
    env.step(0)
    env.step(0)


def heard(transport: FakeTransport, folder: Path, act: Any, **options: Any) -> list[str]:
    """The warnings of a recording whose events a gateway takes, both episodes whole."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with record(Told(), "told", transport=transport, spool_dir=folder, **options) as env:
            act(env)
            play(env)
    frames = [Frame(Kind.EVENT, encode_event(event)) for event in transport.events]
    accept_frames(frames, Sender(subject=make_id(1, 1), received_at=1, client="", request_id=""))
    ends = [run.end for run in recorded_runs(transport.events)]
    assert [(end.n_steps, end.terminated) for end in ends if end is not None] == [(2, True)] * 2
    return [str(item.message) for item in caught]


@pytest.mark.parametrize("when", ["before", "running", "ended"])
@pytest.mark.parametrize("size", [9 * MIB, 40 * MIB])
def test_large_metadata(when: str, size: int, transport: FakeTransport, tmp_path: Path) -> None:
    def act(env: Any) -> None:
        env.reset()
        if when == "before":
            env.annotate(score=1, blob=b"0" * size)
        env.step(0)
        if when == "running":
            env.annotate(score=1, blob=b"0" * size)
        env.step(0)
        if when == "ended":
            env.annotate(score=1, blob=b"0" * size)

    (told,) = heard(transport, tmp_path, act)
    assert "metadata 'blob'" in told
    run = recorded_runs(transport.events)[0]
    assert run.end is not None
    assert [run.end.metadata, *(event.metadata for event in run.amended)][-1] == {"score": 1}


def test_large_options(transport: FakeTransport, tmp_path: Path) -> None:
    (told,) = heard(
        transport, tmp_path, lambda env: play(env, seed=3, options={"x": b"0" * 9 * MIB}), metadata={"a": 1}
    )
    assert "options" in told
    start = recorded_runs(transport.events)[0].start
    assert start is not None
    assert (start.seed, start.options, start.metadata) == (3, None, {"a": 1})


def test_of_several_only_the_largest_is_left_out(transport: FakeTransport, tmp_path: Path) -> None:
    def act(env: Any) -> None:
        env.unwrapped.info = {"i": "x" * 7 * MIB}
        play(env, options={"o": "x" * 3 * MIB})
        env.unwrapped.info = {}

    (told,) = heard(transport, tmp_path, act, metadata={"m": "x" * 2 * MIB})
    assert "reset info" in told
    run = recorded_runs(transport.events)[0]
    assert run.start is not None
    assert run.start.reset_info is None
    assert (len(run.start.options["o"]), len(run.start.metadata["m"])) == (3 * MIB, 2 * MIB)


def test_what_just_fits_is_kept(transport: FakeTransport, tmp_path: Path) -> None:
    """The descriptor of the environment stands in the start, too."""
    room = "x" * (MAX_FACTS_BYTES - 20_000)

    def act(env: Any) -> None:
        play(env, options={"o": room})
        env.annotate(blob=room)

    assert heard(transport, tmp_path, act) == []
    run = recorded_runs(transport.events)[0]
    assert run.start is not None
    assert len(run.start.options["o"]) == len(run.amended[0].metadata["blob"]) == len(room)
