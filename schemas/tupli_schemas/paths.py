"""Paths into nested values: keys joined by dots, with dots (and the mark of an escape) escaped inside a key.

The info `{"TimeLimit.truncated": True, "a": {"b": 1}}` has the paths `TimeLimit%2Etruncated`, `a` and `a.b`.
People write a key with dots of its own in backquotes instead: info.`TimeLimit.truncated`.
"""

import re
from typing import Final

_QUOTED: Final = re.compile("`([^`]*)`")
_PART: Final = re.compile(r"(?P<name>.*?)(?P<indices>(?:\[[0-9, ]*\])*)", re.DOTALL)


def escape_key(key: str) -> str:
    """One key as a part of a path: `%` and `.` escaped."""
    return key.replace("%", "%25").replace(".", "%2E")


def unescape_key(part: str) -> str:
    """The key of a part of a path."""
    return part.replace("%2E", ".").replace("%25", "%")


def split_path(path: str) -> tuple[str, ...]:
    """The keys of a path."""
    return tuple(unescape_key(part) for part in path.split("."))


def join_path(*keys: str) -> str:
    """The path of these keys."""
    return ".".join(map(escape_key, keys))


def read_quoted(text: str) -> str:
    """The path of what people write: keys in backquotes are escaped."""
    return _QUOTED.sub(lambda match: escape_key(match[1]), text)


def quoted(path: str) -> str:
    """A path, perhaps with indices, as people write it; `read_quoted` makes the path of it again."""
    return ".".join(map(_quoted_part, path.split(".")))


def _quoted_part(part: str) -> str:
    match = _PART.fullmatch(part)
    name, indices = (match["name"], match["indices"]) if match else (part, "")
    key = unescape_key(name)
    return part if key == name or "`" in key else f"`{key}`{indices}"
