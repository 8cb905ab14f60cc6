"""Static data: a whole episode as the same events that a live recording is made of. Pure, but for what is given.

The episode gets a stream of its own, is its first episode, and is numbered as every stream is: the start is 1,
then every row, then the end.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from tupli.errors import InvalidInput
from tupli.models import Episode
from tupli.spool.slots import sum_in_order
from tupli.storage.allowed import allow, typed
from tupli_schemas.digest import EpisodeDigest
from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.events import (
    MAX_RECORD_BYTES,
    BenchmarkRef,
    EpisodeEnded,
    EpisodeStarted,
    Event,
    StepsRecorded,
    encode_event,
    encode_rows,
)
from tupli_schemas.framing import Kind, encode_frame
from tupli_schemas.ids import episode_id
from tupli_schemas.spaces import Structure, step_schema_of, structure_of_values
from tupli_schemas.steps import Cell, StepSchema, as_cells
from tupli_schemas.values import encode, to_tagged

ORDINAL: Final = 1
MAX_REQUEST_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True)
class StaticEpisode:
    """An episode as events, framed into requests."""

    id: bytes
    stream: bytes
    events: tuple[Event, ...]

    def requests(self) -> Iterator[bytes]:
        """Bodies for the gateway, in order; each may be sent again."""
        body: list[bytes] = []
        size = 0
        for event in self.events:
            frame = encode_frame(Kind.EVENT, encode_event(event))
            if body and size + len(frame) > MAX_REQUEST_BYTES:
                yield b"".join(body)
                body, size = [], 0
            body.append(frame)
            size += len(frame)
        yield b"".join(body)


def static_episode(
    episode: Episode,
    benchmark: BenchmarkRef,
    stream: bytes,
    now_ns: int,
    *,
    publish_in: tuple[str, ...] = (),
    versions: dict[str, str] | None = None,
    descriptor: Mapping[str, Any] | None = None,
) -> StaticEpisode:
    """The events of an episode.

    `descriptor` is the benchmark's: where it has spaces, observations and actions have the dtypes and shapes that these
    allow (ranges are not looked at), and Python's numbers and lists get the dtypes of the spaces. (A live recording
    keeps what its environment gives, and warns.)

    Raises:
        InvalidInput: It has no steps, ends before its last step, its values do not fit together, or the benchmark's
            spaces do not allow them.
    """
    _check(episode)
    schema, batch = _rows(episode, now_ns, descriptor or {})
    digest = EpisodeDigest(schema.layout)
    digest.update(batch)
    started = EpisodeStarted(
        stream=stream,
        first=1,
        episode=ORDINAL,
        benchmark=benchmark,
        step_schema=schema,
        started_at=now_ns,
        metadata=to_tagged(episode.metadata),
        publish_in=publish_in,
        versions=versions or {},
    )
    steps = tuple(_records(schema, batch, stream, benchmark.id))
    last = episode.tuples[-1]
    ended = EpisodeEnded(
        stream=stream,
        first=batch.num_rows + 2,
        episode=ORDINAL,
        n_steps=len(episode.tuples),
        ended_at=now_ns,
        terminated=bool(last.terminal),
        truncated=bool(last.timeout),
        aborted=not (last.terminal or last.timeout),
        reason="" if last.terminal or last.timeout else "ended without a flag",
        return_=_finite(sum_in_order(0.0, np.array([float(item.reward) for item in episode.tuples]))),
        has_final=episode.final_observation is not None,
        digest=digest.hexdigest(),
        benchmark_id=benchmark.id,
    )
    return StaticEpisode(episode_id(stream, ORDINAL), stream, (started, *steps, ended))


def _check(episode: Episode) -> None:
    if not episode.tuples:
        raise InvalidInput("an episode has at least one tuple", place="tuples")
    for index, item in enumerate(episode.tuples[:-1]):
        if item.terminal or item.timeout:
            raise InvalidInput("the episode ends here, and goes on: make two of it", place=f"tuples[{index}]")


def _rows(episode: Episode, now_ns: int, descriptor: Mapping[str, Any]) -> tuple[StepSchema, pa.RecordBatch]:
    """All rows, the final one last where there is one."""
    tuples, final = episode.tuples, episode.final_observation
    count = len(tuples) + (final is not None)
    spaces = descriptor.get("observation_space"), descriptor.get("action_space")
    states = [item.state for item in tuples] + ([final] if final is not None else [])
    observations = list(map(typed(spaces[0]), states))
    actions = list(map(typed(spaces[1]), (item.action for item in tuples)))
    if any(np.ma.is_masked(item.reward) for item in tuples):
        raise InvalidInput("rewards are numbers, none of them masked", place="tuples.reward")
    try:
        rewards = np.asarray([item.reward for item in tuples])
    except ValueError as error:  # lists of different lengths
        raise InvalidInput("rewards are numbers", place="tuples.reward") from error
    if rewards.ndim != 1 or rewards.dtype.kind not in "fiub":
        raise InvalidInput("rewards are numbers", place="tuples.reward")
    try:
        observed, acted = _structure(observations), _structure(actions)
        allow(spaces[0], observed, "observation")
        allow(spaces[1], acted, "action")
        schema = step_schema_of(observed, acted, reward_dtype=_reward_dtype(rewards))
        leaves = _columns(observed, observations, count) + _columns(acted, actions, count)
    except SchemaMismatch as error:
        raise InvalidInput(f"the tuples do not fit together: {error}", place="tuples") from error
    padded = np.zeros(count)
    padded[: len(tuples)] = rewards
    steps = np.arange(count, dtype=np.uint64)
    fixed = [
        np.full(count, ORDINAL, np.uint32),
        steps,
        (steps >= len(tuples)).astype(np.uint8),
        padded,
        _flags([item.terminal for item in tuples], count),
        _flags([item.timeout for item in tuples], count),
        np.full(count, now_ns, np.int64),
        pa.array([encode(item.info) for item in tuples] + [b"{}"] * (count - len(tuples)), pa.binary()),
    ]
    arrays = [column if isinstance(column, pa.Array) else pa.array(column) for column in fixed]
    return schema, pa.RecordBatch.from_arrays([*arrays, *leaves], schema=schema.layout.arrow_schema)


def _structure(values: Sequence[Any]) -> Structure:
    """The structure that holds all of the values; of values that look alike one is enough."""
    kinds = {_kind(value): value for value in values}
    return structure_of_values(None, *kinds.values())


def _kind(value: Any) -> Any:
    """Equal for values of the same structure."""
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in "OUS":
            return type(value), value.dtype.str, value.shape
    elif isinstance(value, dict):
        return dict, tuple((name, _kind(member)) for name, member in value.items())
    elif isinstance(value, list | tuple):
        return type(value), tuple(map(_kind, value))
    elif type(value) in {bool, float, str}:
        return type(value)
    elif type(value) is int and -(2**63) <= value < 2**63:
        return int
    return id(value)


def _columns(structure: Structure, values: Sequence[Any], count: int) -> list[pa.Array]:
    """One column a leaf; rows without a value (the action of the final row) are zeros or empty."""
    rows = [structure.flatten(value) for value in values]
    return [_column([row[i] for row in rows], leaf.cell, count) for i, leaf in enumerate(structure.leaves())]


def _column(cells: list[Any], cell: Cell, count: int) -> pa.Array:
    if cell.is_opaque:
        return pa.array([*map(bytes, cells), *[b""] * (count - len(cells))], pa.binary())
    out = np.zeros((count, *cell.shape), cell.dtype)
    out[: len(cells)] = np.asarray(cells, cell.dtype).reshape(len(cells), *cell.shape)
    return as_cells(out, cell)


def _records(
    schema: StepSchema, batch: pa.RecordBatch, stream: bytes, benchmark: bytes
) -> Iterator[StepsRecorded]:
    rows = max(1, int(batch.num_rows * MAX_RECORD_BYTES / max(batch.nbytes, 1)))
    for start in range(0, batch.num_rows, rows):
        part = batch.slice(start, rows)
        whole = pa.Table.from_batches([part]).combine_chunks().to_batches()[0]
        first = start + 2
        yield StepsRecorded(
            stream=stream,
            first=first,
            last=first + part.num_rows - 1,
            layout=schema.layout.text,
            body=encode_rows(whole),
            benchmark_id=benchmark,
        )


def _flags(flags: list[bool], count: int) -> Any:
    out = np.zeros(count, np.uint8)
    out[: len(flags)] = np.asarray(flags, bool)
    return out


def _reward_dtype(rewards: Any) -> str:
    return str(rewards.dtype) if rewards.dtype.kind in "fiu" and rewards.dtype.itemsize <= 8 else "float64"


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
