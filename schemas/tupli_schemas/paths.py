"""Paths into nested values: keys joined by dots, with dots (and the mark of an escape) escaped inside a key.

The info `{"TimeLimit.truncated": True, "a": {"b": 1}}` has the paths `TimeLimit%2Etruncated`, `a` and `a.b`.
"""


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
