"""What was recorded, put together from its events, and the same run collected by a plain loop."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from support.cells import cells_of
from tupli_schemas.events import EpisodeAmended, EpisodeEnded, EpisodeStarted, Event, StepsRecorded
from tupli_schemas.spaces import group_structure
from tupli_schemas.steps import StepSchema
from tupli_schemas.values import decode, from_tagged


@dataclass
class Run:
    """One episode, as a loop sees it: T+1 observations (T when the final one is not known)."""

    observations: list[Any] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)
    infos: list[dict[str, Any]] = field(default_factory=list)
    extra: list[dict[str, Any]] = field(default_factory=list)
    reset_info: Any = None
    seed: Any = None
    start: EpisodeStarted | None = None
    end: EpisodeEnded | None = None
    amended: list[EpisodeAmended] = field(default_factory=list)


def recorded_runs(events: Iterable[Event]) -> list[Run]:
    """The episodes of events, in the order of (stream, ordinal); repetitions count once.

    Raises:
        AssertionError: A number is missing, or repeated with other content.
    """
    runs: dict[tuple[bytes, int], Run] = {}
    schemas: dict[tuple[bytes, int], StepSchema] = {}
    seen: dict[tuple[bytes, int], Any] = {}
    expected: dict[bytes, int] = {}
    for event in sorted(events, key=lambda event: (event.stream, event.first)):
        assert event.first <= expected.get(event.stream, 1), (
            f"number {expected.get(event.stream, 1)} is missing"
        )
        expected[event.stream] = max(expected.get(event.stream, 1), event.last + 1)
        if isinstance(event, StepsRecorded):
            _add_rows(event, runs, schemas, seen)
            continue
        key = (event.stream, event.episode)
        if (event.stream, event.first) in seen:
            assert seen[event.stream, event.first] == event, "a repetition with other content"
            continue
        seen[event.stream, event.first] = event
        run = runs.setdefault(key, Run())
        if isinstance(event, EpisodeStarted):
            run.start, run.seed = event, event.seed
            run.reset_info = {} if event.reset_info is None else from_tagged(event.reset_info)
            schemas[key] = event.step_schema
        elif isinstance(event, EpisodeEnded):
            run.end = event
            assert event.n_steps == len(run.actions), "the end's count of steps is not that of its rows"
        else:
            run.amended.append(event)
    return [runs[key] for key in sorted(runs)]


def _add_rows(
    event: StepsRecorded,
    runs: dict[tuple[bytes, int], Run],
    schemas: dict[tuple[bytes, int], StepSchema],
    seen: dict[tuple[bytes, int], Any],
) -> None:
    batch = event.rows()
    columns = {}
    layout = schemas[event.stream, batch.column("episode")[0].as_py()].layout
    for name, cell in layout.columns:
        column = batch.column(name)
        columns[name] = column.to_pylist() if cell.is_opaque else cells_of(column, cell)
    fixed = batch.select(range(8)).to_pylist()
    for index, row in enumerate(fixed):
        content = (repr(row), *(np.asarray(column[index]).tobytes() for column in columns.values()))
        if (event.stream, event.first + index) in seen:
            assert seen[event.stream, event.first + index] == content, "a row repeated with other content"
            continue
        seen[event.stream, event.first + index] = content
        key = (event.stream, row["episode"])
        run, schema = runs[key], schemas[key]
        assert row["step"] == len(run.actions), "steps do not follow each other"
        run.observations.append(_value(schema, "observation", columns, index))
        if row["is_final"]:
            continue
        run.actions.append(_value(schema, "action", columns, index))
        if schema.extra:
            run.extra.append(_value(schema, "extra", columns, index))
        run.rewards.append(row["reward"])
        run.terminated.append(bool(row["terminated"]))
        run.truncated.append(bool(row["truncated"]))
        run.infos.append(decode(row["info"]))


def _value(schema: StepSchema, group: str, columns: dict[str, Any], index: int) -> Any:
    names = [schema.column(group, i) for i in range(len(schema.leaves(group)))]
    return group_structure(schema, group).unflatten([columns[name][index] for name in names])


def collect(
    env: gymnasium.Env[Any, Any], choose: Callable[[int], Any], steps: int, seed: int | None
) -> list[Run]:
    """The same run by a plain loop: `steps` steps, resetting after each end."""
    runs: list[Run] = []

    def begin(seed: int | None) -> Run:
        observation, info = env.reset(seed=seed)
        runs.append(Run([_copy(observation)], reset_info=_copy(info), seed=seed))
        return runs[-1]

    run = begin(seed)
    for i in range(steps):
        action = choose(i)
        observation, reward, terminated, truncated, info = env.step(action)
        run.actions.append(_copy(action))
        run.rewards.append(float(reward))
        run.terminated.append(bool(terminated))
        run.truncated.append(bool(truncated))
        run.infos.append(_copy(info))
        run.observations.append(_copy(observation))
        if (terminated or truncated) and i + 1 < steps:
            run = begin(None)
    return runs


def assert_same(recorded: Run, plain: Run, *, infos: bool = True) -> None:
    """Two episodes are the same, element by element, in value, dtype and shape."""
    assert len(recorded.actions) == len(plain.actions)
    for one, other in zip(recorded.observations, plain.observations, strict=True):
        assert_equal(one, other)
    for one, other in zip(recorded.actions, plain.actions, strict=True):
        assert_equal(one, other)
    assert recorded.rewards == plain.rewards
    assert recorded.terminated == plain.terminated
    assert recorded.truncated == plain.truncated
    if infos:
        for one, other in zip(recorded.infos, plain.infos, strict=True):
            assert_equal(one, other)
        assert_equal(recorded.reset_info, plain.reset_info)


def assert_equal(one: Any, other: Any) -> None:
    """Equal in type, dtype, shape and value; NaN equals NaN."""
    if isinstance(other, np.ndarray | np.generic):
        assert type(one) is type(other), (one, other)
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        np.testing.assert_array_equal(one, other)
    elif isinstance(other, dict):
        assert one.keys() == other.keys()
        for key in other:
            assert_equal(one[key], other[key])
    elif isinstance(other, tuple | list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    else:
        assert one == other or (one != one and other != other)  # noqa: PLR0124 -- NaN


def _copy(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_copy(item) for item in value)
    return value
