"""Catalogue commands (topic `tupli.catalog.v1`) and their verdicts.

A command is appended as it is; whether it succeeded is what the projection (a pure fold of the topic) says of
it. `command_id` is the caller's idempotency key: the same key by the same subject is the same command.
"""

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Final

import orjson

from tupli_schemas.errors import EventError, InvalidId
from tupli_schemas.ids import id_text, parse_id

GLOBAL_SCOPE: Final = "global"
KINDS: Final = ("benchmark", "episode")
MAX_IDS: Final = 10_000
MAX_NAME: Final = 256
MAX_COMMAND_ID: Final = 128
_TEXTS: Final = ("command_id", "name", "description", "difficulty", "version", "kind", "scope")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBenchmark:
    """Create a benchmark of this name, or find the caller's own of that name with the same spaces."""

    NAME: ClassVar = "CreateBenchmark"
    VERSION: ClassVar = 1

    command_id: str
    benchmark: bytes
    name: str
    descriptor: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    difficulty: str = ""
    version: str = ""
    extra: Any = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Make objects visible in a scope. `kind` is `benchmark` or `episode`."""

    NAME: ClassVar = "Publish"
    VERSION: ClassVar = 1

    command_id: str
    kind: str
    ids: tuple[bytes, ...]
    scope: str = GLOBAL_SCOPE


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpublish:
    """End the visibility of objects in a scope."""

    NAME: ClassVar = "Unpublish"
    VERSION: ClassVar = 1

    command_id: str
    kind: str
    ids: tuple[bytes, ...]
    scope: str = GLOBAL_SCOPE


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete objects for good; a benchmark takes its episodes with it."""

    NAME: ClassVar = "Delete"
    VERSION: ClassVar = 1

    command_id: str
    kind: str
    ids: tuple[bytes, ...]


Command = CreateBenchmark | Publish | Unpublish | Delete
COMMAND_TYPES: Final[dict[str, type[Command]]] = {
    kind.NAME: kind for kind in (CreateBenchmark, Publish, Unpublish, Delete)
}


def encode_command(command: Command) -> bytes:
    """The command's bytes: JSON with ids as text."""
    out: dict[str, Any] = {"event": command.NAME, "version": command.VERSION, "members": {}}
    for item in fields(command):
        value = getattr(command, item.name)
        if item.name == "benchmark":
            value = id_text(value)
        elif item.name == "ids":
            value = [id_text(one) for one in value]
        out["members"][item.name] = value
    return orjson.dumps(out, option=orjson.OPT_SORT_KEYS)


def decode_command(data: bytes) -> Command:
    """The command of its bytes.

    Raises:
        EventError: They are none, or of a version that is not known here; `place` names the member.
    """
    try:
        out = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise EventError("is not JSON", place="body") from error
    if not isinstance(out, dict):
        raise EventError("is not an object", place="body")
    name = out.get("event")
    kind = COMMAND_TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise EventError(f"{name!r} is none of {', '.join(COMMAND_TYPES)}", place="event")
    if out.get("version") != kind.VERSION:
        raise EventError(f"{out.get('version')!r} of {name} is not known", place="version")
    command = kind(**_members(kind, out.get("members")))
    _check(command)
    return command


def _members(kind: type[Command], given: Any) -> dict[str, Any]:
    """The members that a kind of command has; others are from a newer writer."""
    if not isinstance(given, dict):
        raise EventError("is not an object", place="members")
    members = {item.name: given[item.name] for item in fields(kind) if item.name in given}
    for item in fields(kind):
        if item.name not in given and item.default is MISSING and item.default_factory is MISSING:
            raise EventError("is missing", place=item.name)
    if "benchmark" in members:
        members["benchmark"] = _id(members["benchmark"], "benchmark")
    if "ids" in members:
        if not isinstance(members["ids"], list):
            raise EventError("is not a list of ids", place="ids")
        members["ids"] = tuple(_id(one, f"ids[{index}]") for index, one in enumerate(members["ids"]))
    return members


def _id(value: Any, place: str) -> bytes:
    try:
        return parse_id(value)
    except (InvalidId, TypeError, AttributeError) as error:
        raise EventError(f"{str(value)[:100]!r} is no id", place=place) from error


def _check(command: Command) -> None:
    """What holds for a command by itself, whatever the catalogue has.

    Raises:
        EventError: Something does not; `place` names the member.
    """
    for name in _TEXTS:
        if not isinstance(getattr(command, name, ""), str):
            raise EventError("is not a text", place=name)
    if not 1 <= len(command.command_id) <= MAX_COMMAND_ID:
        raise EventError(f"has not 1 to {MAX_COMMAND_ID} characters", place="command_id")
    if isinstance(command, CreateBenchmark):
        if not 1 <= len(command.name) <= MAX_NAME:
            raise EventError(f"has not 1 to {MAX_NAME} characters", place="name")
        if not isinstance(command.descriptor, dict):
            raise EventError("is not an object", place="descriptor")
        return
    if command.kind not in KINDS:
        raise EventError(f"{command.kind!r} is none of {', '.join(KINDS)}", place="kind")
    if not 1 <= len(command.ids) <= MAX_IDS:
        raise EventError(f"{len(command.ids)} ids where 1 to {MAX_IDS} belong", place="ids")
