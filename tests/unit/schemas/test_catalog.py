"""Catalogue commands survive their bytes; what is none is refused."""

from typing import Any

import orjson
import pytest

from support import golden
from tupli_schemas.catalog import COMMAND_TYPES, MAX_IDS, Command, Delete, decode_command, encode_command
from tupli_schemas.errors import EventError

COMMANDS = {command.NAME: command for command in golden.commands()}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_commands_survive_their_bytes(command: Command) -> None:
    assert decode_command(encode_command(command)) == command


def test_every_kind_of_command_is_among_them() -> None:
    assert set(COMMANDS) == set(COMMAND_TYPES)


def with_members(name: str, /, **members: Any) -> bytes:
    out = orjson.loads(encode_command(COMMANDS[name]))
    out["members"] = {key: value for key, value in (out["members"] | members).items() if value is not ...}
    return orjson.dumps(out)


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("CreateBenchmark", {"benchmark": "x"}),
        ("CreateBenchmark", {"benchmark": ...}),
        ("CreateBenchmark", {"name": 5}),
        ("CreateBenchmark", {"name": ""}),
        ("CreateBenchmark", {"name": "x" * 257}),
        ("CreateBenchmark", {"descriptor": []}),
        ("CreateBenchmark", {"description": None}),
        ("CreateBenchmark", {"command_id": ""}),
        ("CreateBenchmark", {"command_id": ["x"]}),
        ("CreateBenchmark", {"command_id": "x" * 129}),
        ("Publish", {"kind": "user"}),
        ("Publish", {"kind": 5}),
        ("Publish", {"scope": 5}),
        ("Publish", {"ids": []}),
        ("Publish", {"ids": "abc"}),
        ("Publish", {"ids": [5]}),
        ("Publish", {"ids": 5}),
        ("Delete", {"ids": ...}),
        ("Delete", {"command_id": ...}),
    ],
)
def test_a_command_that_breaks_the_contract_is_refused(name: str, members: dict[str, Any]) -> None:
    with pytest.raises(EventError):
        decode_command(with_members(name, **members))


def test_a_command_names_a_bounded_number_of_objects() -> None:
    for count, fits in ((MAX_IDS, True), (MAX_IDS + 1, False)):
        raw = encode_command(Delete(command_id="c", kind="episode", ids=(golden.STREAM,) * count))
        if fits:
            decode_command(raw)
        else:
            with pytest.raises(EventError, match="ids"):
                decode_command(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"5",
        b"[]",
        b"{}",
        b'{"event":"New","version":1,"members":{}}',
        b'{"event":["Delete"],"version":1,"members":{}}',
        b'{"event":"Delete","version":2,"members":{}}',
        b'{"event":"Delete","version":1,"members":5}',
        b'{"event":"Delete","version":1,"members":{}}',
        b'{"event":"Delete","version":1}',
    ],
)
def test_bytes_that_are_no_command_are_refused(raw: bytes) -> None:
    with pytest.raises(EventError):
        decode_command(raw)


def test_members_of_a_newer_writer_are_ignored() -> None:
    assert decode_command(with_members("Delete", newer=1)) == COMMANDS["Delete"]
