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
    ("name", "members", "place"),
    [
        ("CreateBenchmark", {"benchmark": "x"}, "benchmark"),
        ("CreateBenchmark", {"benchmark": ...}, "benchmark"),
        ("CreateBenchmark", {"name": 5}, "name"),
        ("CreateBenchmark", {"name": ""}, "name"),
        ("CreateBenchmark", {"name": "x" * 257}, "name"),
        ("CreateBenchmark", {"descriptor": []}, "descriptor"),
        ("CreateBenchmark", {"description": None}, "description"),
        ("CreateBenchmark", {"command_id": ""}, "command_id"),
        ("CreateBenchmark", {"command_id": ["x"]}, "command_id"),
        ("CreateBenchmark", {"command_id": "x" * 129}, "command_id"),
        ("Publish", {"kind": "user"}, "kind"),
        ("Publish", {"kind": 5}, "kind"),
        ("Publish", {"scope": 5}, "scope"),
        ("Publish", {"ids": []}, "ids"),
        ("Publish", {"ids": "abc"}, "ids"),
        ("Publish", {"ids": [5]}, "ids[0]"),
        ("Publish", {"ids": 5}, "ids"),
        ("Delete", {"ids": ...}, "ids"),
        ("Delete", {"command_id": ...}, "command_id"),
    ],
)
def test_a_command_that_breaks_the_contract_is_refused_with_its_place(
    name: str, members: dict[str, Any], place: str
) -> None:
    with pytest.raises(EventError) as caught:
        decode_command(with_members(name, **members))
    assert caught.value.place == place
    assert "Error(" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b"{}", "event"),
        (b'{"event":[]}', "event"),
        (b'{"event":"Delete"}', "version"),
        (b'{"event":"Delete","version":9}', "version"),
        (b'{"event":"Delete","version":1}', "members"),
        (b'{"event":"Delete","version":1,"members":[]}', "members"),
    ],
)
def test_what_is_no_command_says_where(data: bytes, place: str) -> None:
    with pytest.raises(EventError) as caught:
        decode_command(data)
    assert caught.value.place == place


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
