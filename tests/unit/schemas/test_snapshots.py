"""Events are for good: contracts only grow by members with defaults, and the first bytes still mean the same.

A contract that changed on purpose gets a new file beside the old one (`tests/support/golden.py` holds what is
written); the old bytes stay and must go on being read.
"""

import json
from importlib.resources import files
from typing import Any

import orjson
import pytest

from support import golden
from support.sameness import same
from tupli_schemas.catalog import decode_command, encode_command
from tupli_schemas.events import EVENT_TYPES, StepsRecorded, decode_event, encode_event
from tupli_schemas.records import Position, Record
from tupli_schemas.spaces import group_structure
from tupli_schemas.values import decode, from_tagged

SNAPSHOTS = files("tupli_schemas") / "snapshots"
COMMITTED: dict[str, Any] = json.loads((SNAPSHOTS / "contracts.json").read_text("utf-8"))
GOLDEN: dict[str, str] = json.loads((SNAPSHOTS / "golden_v1.json").read_text("utf-8"))


def golden_bytes(name: str) -> bytes:
    return bytes.fromhex(GOLDEN[name])


@pytest.mark.parametrize("kind", golden.CONTRACTS, ids=lambda kind: kind.__name__)
def test_the_contract_is_the_committed_one(kind: type[Any]) -> None:
    assert golden.described(kind) == COMMITTED[kind.__name__]


def test_every_contract_is_committed() -> None:
    assert sorted(COMMITTED) == sorted(kind.__name__ for kind in golden.CONTRACTS)
    assert set(EVENT_TYPES) <= set(COMMITTED)


@pytest.mark.parametrize("event", golden.events(), ids=lambda event: event.NAME)
def test_the_first_bytes_of_an_event_still_mean_the_same(event: Any) -> None:
    then = decode_event(golden_bytes(event.NAME))
    if isinstance(event, StepsRecorded):
        assert isinstance(then, StepsRecorded)
        assert same(then.rows().to_pydict(), event.rows().to_pydict())
    else:
        assert then == event


@pytest.mark.parametrize("event", golden.events(), ids=lambda event: event.NAME)
def test_events_are_written_as_they_were(event: Any) -> None:
    """Another writer may write other Arrow bytes for the same rows; everything else is ours."""
    head = encode_event(event).removesuffix(getattr(event, "body", b""))
    assert golden_bytes(event.NAME).startswith(head)


@pytest.mark.parametrize("command", golden.commands(), ids=lambda command: command.NAME)
def test_the_first_bytes_of_a_command_still_mean_the_same(command: Any) -> None:
    assert decode_command(golden_bytes(command.NAME)) == command
    assert encode_command(command) == golden_bytes(command.NAME)


def test_the_first_bytes_of_a_log_record_still_mean_the_same() -> None:
    want = golden.record()
    got = Record.from_bytes(Position(1, 0, 9), want.key, golden_bytes("record"))
    assert (got.envelope, got.payload) == (want.envelope, want.payload)
    assert want.to_bytes() == golden_bytes("record")


def test_the_values_in_the_first_events_are_what_they_were() -> None:
    started, steps = (decode_event(golden_bytes(name)) for name in ("EpisodeStarted", "StepsRecorded"))
    assert same(from_tagged(started.metadata), {"site": "lab", 1: float("inf")})  # type: ignore[union-attr] # the first is EpisodeStarted
    schema = started.step_schema  # type: ignore[union-attr] # as above
    row = steps.rows().slice(1, 1)  # type: ignore[union-attr] # the second is StepsRecorded
    observation = group_structure(schema, "observation")
    value = observation.unflatten([row.column(name)[0].as_py() for name in ("o0", "o1", "o2")])
    assert value["position"].tolist() == [0.5, 0.75]
    assert value["note"] == "ü"
    assert value["half"].tobytes() == b"\x00<\x00~"
    assert decode(row.column("info")[0].as_py())["a.b"] == 0.5


def test_a_member_of_a_newer_writer_is_ignored_and_a_missing_default_is_filled_in() -> None:
    raw = golden_bytes("EpisodeAmended")
    head = orjson.loads(raw[4:])
    for change in ({"new_member": 5}, {}):
        data = {name: value for name, value in (head | change).items() if name != "discarded"}
        text = orjson.dumps(data)
        event = decode_event(len(text).to_bytes(4, "little") + text)
        assert event.discarded is False  # type: ignore[union-attr] # it is EpisodeAmended


def test_the_comparison_sees_a_member_that_was_added_without_a_default_or_removed() -> None:
    committed = COMMITTED["EpisodeAmended"]
    for name in ("metadata", "stream"):
        fewer = {key: value for key, value in committed["members"].items() if key != name}
        assert golden.described(golden.CONTRACTS[3]) != committed | {"members": fewer}
