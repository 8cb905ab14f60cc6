"""Paths into nested values: keys joined by dots, with dots (and the mark of an escape) escaped inside a key.

The info `{"TimeLimit.truncated": True, "a": {"b": 1}}` has the paths `TimeLimit%2Etruncated`, `a` and `a.b`.
People write a key with dots of its own in backquotes instead: info.`TimeLimit.truncated`. A backquote inside them is
doubled, as in SQL: the key a`.b is written `a``.b`. In a path a backquote is a letter like any other; `KeyPath` marks a
text as a path, so that it is not read a second time.
"""

import re
from typing import Final

_QUOTED: Final = re.compile(r"(?<![^.])`((?:[^`]|``)*)`(?=[.\[]|\Z)")
"""A whole part of a path: what has a backquote in its middle only is meant as it is."""
_PART: Final = re.compile(r"(?P<name>.*?)(?P<indices>(?:\[[0-9, ]*\])*)", re.DOTALL)
_SIGNS: Final = re.compile(r"[.%\[]|\A`")


class KeyPath(str):
    """A path, as the index has it; `read_quoted` leaves it alone. Its `repr` is for people, who write backquotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(quoted(self))


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


def read_quoted(text: str) -> KeyPath:
    """The path of what people write: keys in backquotes are escaped. What is a path already stays as it is."""
    if isinstance(text, KeyPath):
        return text
    return KeyPath(_QUOTED.sub(lambda match: escape_key(match[1].replace("``", "`")), text))


def quoted_key(key: str) -> str:
    """One key as people write it, in backquotes where it has signs that mean something in a path."""
    return _in_backquotes(key) if _SIGNS.search(key) else key


def quoted(path: str) -> str:
    """A path, perhaps with indices, as people write it; `read_quoted` makes the path of it again."""
    return ".".join(map(_quoted_part, path.split(".")))


def _quoted_part(part: str) -> str:
    match = _PART.fullmatch(part)
    name, indices = (match["name"], match["indices"]) if match else (part, "")
    key = unescape_key(name)
    plain = key == name or "`" in key
    return part if plain and key[:1] != "`" else f"{_in_backquotes(key)}{indices}"


def _in_backquotes(key: str) -> str:
    return "`{}`".format(key.replace("`", "``"))
