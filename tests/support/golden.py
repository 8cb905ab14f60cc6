"""One event of each kind, one command of each kind and one log record, whose bytes are committed as they were first
written (`schemas/tupli_schemas/snapshots`)."""

import dataclasses
import re
import typing
from typing import Any

import numpy as np
import pyarrow as pa

from tupli_schemas.catalog import Command, CreateBenchmark, Delete, Publish, Unpublish
from tupli_schemas.events import (
    BenchmarkRef,
    EpisodeAmended,
    EpisodeEnded,
    EpisodeStarted,
    Event,
    StepsRecorded,
    encode_event,
    encode_rows,
)
from tupli_schemas.ids import LOCAL_SUBJECT, make_id
from tupli_schemas.records import Envelope, NewRecord
from tupli_schemas.spaces import step_schema_of, structure_of_value
from tupli_schemas.steps import Layout, StepSchema
from tupli_schemas.values import encode, to_tagged

STREAM = make_id(1_700_000_000_000, 0x123456789AB)
BENCHMARK = make_id(1_600_000_000_000, 7)
SCHEMA = step_schema_of(
    structure_of_value({"position": np.zeros(2, "f4"), "note": "x", "half": np.zeros(2, "f2")}),
    structure_of_value(np.int64(1)),
    {"logprob": structure_of_value(0.5)},
    action_space_json={"type": "Discrete", "n": 3, "start": 0, "dtype": "<i8"},
)


def rows(layout: Layout) -> pa.RecordBatch:
    """Two transitions and the final row of an episode of `SCHEMA`."""
    positions = pa.array(np.arange(6, dtype="f4") / 4)
    columns = {
        "episode": pa.array([1, 1, 1], pa.uint32()),
        "step": pa.array([0, 1, 2], pa.uint64()),
        "is_final": pa.array([0, 0, 1], pa.uint8()),
        "reward": pa.array([1.0, -0.0, 0.0], pa.float64()),
        "terminated": pa.array([0, 1, 0], pa.uint8()),
        "truncated": pa.array([0, 0, 0], pa.uint8()),
        "time": pa.array([10, 20, 30], pa.int64()),
        "info": pa.array([b"{}", encode({"a.b": np.float32(0.5), "n": float("nan")}), b"{}"], pa.binary()),
        "o0": pa.FixedSizeListArray.from_arrays(positions, type=layout.observation[0].arrow_type),
        "o1": pa.array([b"", "ü".encode(), b"end"], pa.binary()),
        "o2": pa.array([bytes(4), b"\x00<\x00~", bytes(4)], pa.binary()),
        "a0": pa.array([1, 2, 0], pa.int64()),
        "x0": pa.array([-0.5, float("inf"), 0.0], pa.float64()),
    }
    return pa.record_batch(columns, schema=layout.arrow_schema)


def events() -> tuple[Event, ...]:
    """One event of each kind, with every member set."""
    layout = SCHEMA.layout
    return (
        EpisodeStarted(
            stream=STREAM,
            first=1,
            episode=1,
            benchmark=BenchmarkRef(BENCHMARK, "cart-pole ü", {"id": "CartPole-v1"}),
            step_schema=SCHEMA,
            started_at=1_700_000_000_123_456_789,
            slot=3,
            seed=42,
            options=to_tagged({"low": np.float64(-0.5)}),
            reset_info=to_tagged({"x": (1, 2)}),
            run="run-1",
            policy="ppo",
            environment={"id": "CartPole-v1"},
            versions={"gymnasium": "1.4.0"},
            metadata=to_tagged({"site": "lab", 1: float("inf")}),
            publish_in=("lab", "global"),
        ),
        StepsRecorded(stream=STREAM, first=2, last=4, layout=layout.text, body=encode_rows(rows(layout))),
        EpisodeEnded(
            stream=STREAM,
            first=5,
            episode=1,
            n_steps=2,
            ended_at=1_700_000_001_000_000_000,
            terminated=True,
            truncated=True,
            aborted=True,
            reason="closed",
            return_=1.5,
            has_final=True,
            metadata=to_tagged({"success": True}),
            digest="0123456789abcdef0123456789abcdef",
            discarded=True,
        ),
        EpisodeAmended(stream=STREAM, first=6, episode=1, metadata=to_tagged({"late": 1}), discarded=True),
    )


def commands() -> tuple[Command, ...]:
    """One command of each kind, with every member set."""
    return (
        CreateBenchmark(
            command_id="c-1",
            benchmark=BENCHMARK,
            name="cart-pole ü",
            descriptor={"id": "CartPole-v1"},
            description="a pole",
            difficulty="easy",
            version="1",
            extra=to_tagged({"a": (1,)}),
        ),
        Publish(command_id="c-2", kind="benchmark", ids=(BENCHMARK,), scope="lab"),
        Unpublish(command_id="c-3", kind="benchmark", ids=(BENCHMARK,), scope="lab"),
        Delete(command_id="c-4", kind="episode", ids=(STREAM, BENCHMARK)),
    )


def record() -> NewRecord:
    """A log record of an event."""
    ended = events()[2]
    envelope = Envelope(
        event=ended.NAME,
        version=ended.VERSION,
        subject=LOCAL_SUBJECT,
        received_at=1_700_000_002_000,
        client="tupli/0.1.0",
        key_id="k",
        request_id="r-1",
    )
    return NewRecord(STREAM, envelope, encode_event(ended))


def described(kind: type[Any]) -> dict[str, Any]:
    """A contract's members as they are committed: their types, and their defaults or that they are required."""
    members = {}
    for item in dataclasses.fields(kind):
        members[item.name] = {"type": _type_text(item.type), "default": _default_text(item)}
    return {"version": getattr(kind, "VERSION", None), "members": members}


def _type_text(annotation: Any) -> str:
    plain = isinstance(annotation, type) and not typing.get_args(annotation)
    text = annotation.__name__ if plain else str(annotation)
    return re.sub(r"[\w.]+\.(\w+)", r"\1", text)  # the module's name depends on the Python version


def _default_text(item: "dataclasses.Field[Any]") -> str:
    if item.default_factory is not dataclasses.MISSING:
        return repr(item.default_factory())
    return "required" if item.default is dataclasses.MISSING else repr(item.default)


CONTRACTS: tuple[type[Any], ...] = (
    EpisodeStarted,
    StepsRecorded,
    EpisodeEnded,
    EpisodeAmended,
    BenchmarkRef,
    StepSchema,
    CreateBenchmark,
    Publish,
    Unpublish,
    Delete,
    Envelope,
)
