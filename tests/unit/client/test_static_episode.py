"""Static data becomes the same events as a live recording."""

from typing import Any

import numpy as np
import pytest

from support.cells import cells_of
from tupli.errors import InvalidInput
from tupli.models import Episode, RLTuple
from tupli.storage.static import static_episode
from tupli_schemas.digest import EpisodeDigest
from tupli_schemas.events import BenchmarkRef, EpisodeEnded, EpisodeStarted, StepsRecorded, decode_event
from tupli_schemas.framing import decode_frames
from tupli_schemas.ids import make_id

STREAM, BENCHMARK = make_id(5, 6), BenchmarkRef(make_id(1, 1), "bench")


def _arrays(steps: int, *, final: bool = True) -> Episode:
    rng = np.random.default_rng(0)
    return Episode.from_arrays(
        benchmark_id="b",
        observations=rng.standard_normal((steps + final, 3)).astype(np.float32),
        actions=rng.integers(0, 4, steps),
        rewards=rng.standard_normal(steps),
        terminated=False,
        truncated=True,
        metadata={"month": "June"},
    )


@pytest.mark.parametrize("final", [True, False])
def test_arrays_become_numbered_events(*, final: bool) -> None:
    episode = _arrays(12_000, final=final)
    made = static_episode(episode, BENCHMARK, STREAM, 9)
    events = [decode_event(f.payload) for body in made.requests() for f in decode_frames(body)]
    started, *steps, ended = events
    assert isinstance(started, EpisodeStarted)
    assert isinstance(ended, EpisodeEnded)
    numbers = [number for event in events for number in range(event.first, event.last + 1)]
    assert numbers == list(range(1, 12_000 + final + 3))
    assert (ended.n_steps, ended.has_final, ended.truncated, ended.terminated) == (12_000, final, True, False)
    digest = EpisodeDigest(started.step_schema.layout)
    observed = []
    for event in steps:
        assert isinstance(event, StepsRecorded)
        digest.update(event.rows())
        observed.append(cells_of(event.rows().column("o0"), started.step_schema.observation[0].cell))
    assert digest.hexdigest() == ended.digest
    assert len(steps) > 1
    states = [item.state for item in episode.tuples] + ([episode.final_observation] if final else [])
    np.testing.assert_array_equal(np.concatenate(observed), np.array(states))


def _first(values: list[object], space: object) -> tuple[np.dtype[np.generic], object]:
    """The dtype of an observation's first leaf in the step schema, and its cells."""
    tuples = [RLTuple(value, 0, 1.0, terminal=i == len(values) - 1) for i, value in enumerate(values)]
    made = static_episode(
        Episode("b", tuples=tuples), BENCHMARK, STREAM, 9, descriptor={"observation_space": space}
    )
    started, steps, _ = made.events
    assert isinstance(started, EpisodeStarted)
    assert isinstance(steps, StepsRecorded)
    cell = started.step_schema.observation[0].cell
    return cell.dtype, cells_of(steps.rows().column("o0"), cell).tolist()


@pytest.mark.parametrize(
    ("space", "values", "dtype", "cells"),
    [
        ("<f4", [[0.5, 1.0], [1, 2]], "f4", [[0.5, 1.0], [1.0, 2.0]]),
        ("<f4", [(0.1, np.nan), [np.inf, True]], "f4", [[np.float32(0.1), np.nan], [np.inf, 1.0]]),
        ("<f4", [np.ones(2, np.float32), [0.1, 0.2]], "f4", [[1.0, 1.0], np.array([0.1, 0.2], np.float32)]),
        ("<f4", [[np.float32(0.1), np.float32(0.2)]], "f4", [np.array([0.1, 0.2], np.float32)]),
        ("<f8", [[0.1, 0.2]], "f8", [[0.1, 0.2]]),
        ("<f8", [[1, 2]], "f8", [[1.0, 2.0]]),
        ("|u1", [[0, 255], [1.0, True]], "u1", [[0, 255], [1, 1]]),
    ],
)
def test_lists_take_the_dtype_of_the_benchmarks_box(
    space: str, values: list[object], dtype: str, cells: list[object]
) -> None:
    found = _first(values, {"type": "Box", "dtype": space, "shape": [2]})
    assert found[0] == np.dtype(dtype)
    np.testing.assert_array_equal(found[1], np.array(cells))


def test_numbers_inside_dicts_and_tuples_take_the_dtypes_of_their_spaces() -> None:
    inner = {"type": "Tuple", "spaces": [{"type": "Discrete", "n": 3, "dtype": "<i4"}]}
    space = {"type": "Dict", "spaces": [["a", BOX], ["b", inner]]}
    tuples = [RLTuple({"b": [2], "a": [0.1, 1, 2]}, 0, 1.0, terminal=True)]
    lists = static_episode(
        Episode("b", tuples=tuples), BENCHMARK, STREAM, 9, descriptor={"observation_space": space}
    )
    arrays = _of({"a": np.array([0.1, 1, 2], np.float32), "b": (np.int32(2),)}, 0)
    same = static_episode(arrays, BENCHMARK, STREAM, 9, descriptor={"observation_space": space})
    assert isinstance(lists.events[0], EpisodeStarted)
    assert isinstance(same.events[0], EpisodeStarted)
    assert lists.events[0].step_schema.observation == same.events[0].step_schema.observation
    assert isinstance(lists.events[1], StepsRecorded)
    assert isinstance(same.events[1], StepsRecorded)
    assert lists.events[1].body == same.events[1].body


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("<f4", [1e300, 0.0]), ("|u1", [256, 0]), ("|u1", [0.5, 0.0]), ("|u1", [-1, 0]), ("<i4", [2**31, 0]),
        ("<f4", [2**2000, 0]), ("<f4", [[1.0], [1.0, 2.0]]), ("<f4", [np.float64(0.1), np.float64(0.2)]),
        ("<f4", ["1", "2"]),
    ],
)  # fmt: skip
def test_numbers_that_the_benchmarks_dtype_does_not_have_are_refused(dtype: str, value: object) -> None:
    with pytest.raises(InvalidInput, match="where the benchmark's Box has") as caught:
        _first([value], {"type": "Box", "dtype": dtype, "shape": [2]})
    assert caught.value.place == "observation"


def test_the_return_is_the_sum_in_step_order() -> None:
    rewards = [1e16, 1.0, -1e16, 0.25]
    tuples = [RLTuple([0.0], 0, reward, terminal=i == 3) for i, reward in enumerate(rewards)]
    *_, ended = static_episode(Episode("b", tuples=tuples), BENCHMARK, STREAM, 9).events
    assert isinstance(ended, EpisodeEnded)
    assert ended.return_ == 0.25  # 1.25 with a sum that carries what is rounded away along


def test_tuples_of_mixed_numbers_get_their_common_type() -> None:
    tuples = [RLTuple([0, 1], 1, 1.0), RLTuple([0.5, 2], 2, 0.5, terminal=True)]
    made = static_episode(Episode("b", tuples=tuples), BENCHMARK, STREAM, 9)
    started, steps, ended = made.events
    assert isinstance(started, EpisodeStarted)
    assert isinstance(steps, StepsRecorded)
    assert isinstance(ended, EpisodeEnded)
    assert ended.return_ == 1.5
    assert not ended.has_final
    assert steps.rows().num_rows == 2


def test_what_cannot_be_an_episode_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one"):
        static_episode(Episode("b"), BENCHMARK, STREAM, 9)
    glued = Episode("b", tuples=[RLTuple([0.0], 0, 0.0, terminal=True), RLTuple([0.0], 0, 0.0)])
    with pytest.raises(InvalidInput, match=r"tuples\[0\]"):
        static_episode(glued, BENCHMARK, STREAM, 9)
    with pytest.raises(InvalidInput, match="observations"):
        Episode.from_arrays(
            benchmark_id="b", observations=np.zeros((5, 2)), actions=np.zeros(3), rewards=np.zeros(3), terminated=False,
            truncated=False,
        )  # fmt: skip


BOX = {"type": "Box", "dtype": "<f4", "shape": [3]}
DICT = {
    "type": "Dict",
    "spaces": [["a", BOX], ["b", {"type": "Tuple", "spaces": [{"type": "Discrete", "n": 3}]}]],
}


def _of(observation: object, action: object = 1) -> Episode:
    return Episode("b", tuples=[RLTuple(observation, action, 1.0, terminal=True)])


@pytest.mark.parametrize(
    ("space", "observation", "place", "told"),
    [
        (BOX, np.zeros(3), "observation", "float64[3], where the benchmark's Box has float32[3]"),
        (BOX, np.zeros(4, np.float32), "observation", "float32[4], where the benchmark's Box has float32[3]"),
        (BOX, "text", "observation", "no array"),
        (
            {"type": "Discrete", "n": 3},
            0.5,
            "observation",
            "float64[], where the benchmark's Discrete has int64[]",
        ),
        ({"type": "MultiBinary", "shape": [2]}, np.zeros(3, np.int8), "observation", "int8[3]"),
        (
            {"type": "MultiDiscrete", "dtype": "<i8", "nvec": [2, 3]},
            np.zeros(3, int),
            "observation",
            "int64[2]",
        ),
        (DICT, {"a": np.zeros(3, np.float32)}, "observation", "a Dict of ['a', 'b']"),
        (DICT, {"a": np.zeros(2, np.float32), "b": (1,)}, "observation.a", "float32[2]"),
        (DICT, {"a": np.zeros(3, np.float32), "b": (1, 2)}, "observation.b", "a Tuple of [0]"),
        (DICT, {"a": np.zeros(3, np.float32), "b": (0.5,)}, "observation.b[0]", "float64[]"),
        ({"type": "Dict", "spaces": [["n.x", BOX]]}, {"n.x": "text"}, "observation.`n.x`", "no array"),
    ],
)
def test_what_the_benchmarks_spaces_do_not_allow_is_refused_with_its_leaf(
    space: dict[str, object], observation: object, place: str, told: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        static_episode(_of(observation), BENCHMARK, STREAM, 9, descriptor={"observation_space": space})
    assert caught.value.place == place
    assert told in str(caught.value)
    with pytest.raises(InvalidInput) as caught:
        static_episode(_of(0, observation), BENCHMARK, STREAM, 9, descriptor={"action_space": space})
    assert caught.value.place == place.replace("observation", "action")


@pytest.mark.parametrize(
    ("space", "observation"),
    [
        (BOX, np.zeros(3, np.float32)),
        (BOX, np.zeros(3, np.float16)),
        (BOX, [0.5, 1.0, 2.0]),
        (BOX, [1, 2, 3]),
        ({"type": "Discrete", "n": 3}, 1),
        ({"type": "Discrete", "n": 3}, np.int32(1)),
        ({"type": "MultiBinary", "shape": [2]}, np.zeros(2, np.bool_)),
        (DICT, {"a": np.zeros(3, np.float32), "b": (1,)}),
        ({"type": "Text"}, "text"),
        ({"type": "Sequence", "space": BOX}, (1, 2)),
        ({"type": "unknown", "class": "x.Y"}, 5),
        ({"type": "Box"}, 5),
        ({"type": "Dict", "spaces": 5}, 5),
        ({"type": "Dict", "spaces": [[1, BOX]]}, {1: np.zeros(2)}),
        (None, np.zeros(9)),
        ("no space", 5),
    ],
)
def test_what_the_benchmarks_spaces_allow_or_do_not_say_is_recorded(
    space: object, observation: object
) -> None:
    made = static_episode(_of(observation), BENCHMARK, STREAM, 9, descriptor={"observation_space": space})
    assert len(made.events) == 3


@pytest.mark.parametrize("flags", ["False", [0, 0, float("nan")], [0, 0, 2], None, ["no", "no", "yes"]])
@pytest.mark.parametrize("name", ["terminated", "truncated"])
def test_flags_that_are_none_are_refused(flags: object, name: str) -> None:
    given: dict[str, Any] = {"terminated": False, "truncated": False, name: flags}
    with pytest.raises(InvalidInput) as caught:
        Episode.from_arrays(
            benchmark_id="b", observations=np.zeros(4), actions=np.zeros(3), rewards=np.zeros(3), **given
        )
    assert caught.value.place == name


@pytest.mark.parametrize(
    "flags", [True, np.True_, 1, [0, 0, 1], [0.0, 0.0, 1.0], np.array([False, False, True])]
)
def test_flags_are_booleans_or_zeros_and_ones(flags: object) -> None:
    made = Episode.from_arrays(
        benchmark_id="b",
        observations=np.zeros(4),
        actions=np.zeros(3),
        rewards=np.zeros(3),
        terminated=flags,
        truncated=False,
    )
    assert [item.terminal for item in made.tuples] == [False, False, True]


def test_every_event_says_which_benchmark_it_is_for() -> None:
    _, *rest = static_episode(_arrays(3), BENCHMARK, STREAM, 9).events
    assert [event.benchmark_id for event in rest if not isinstance(event, EpisodeStarted)] == [
        BENCHMARK.id
    ] * 2
