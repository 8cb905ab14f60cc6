"""Keys of filters: the words of API.md for benchmarks, episodes and tuples, parsed once.

A key is a *root* (`reward`, `observation`, `info`) and, for some roots, a *rest*: the path of a leaf with
indices (`.position[0]`), or the path of a value inside an info, metadata or extra (`a.b` is `b` in a dict
`a`). A `.` or `%` inside a name is escaped as in `paths`. Synonyms of PyTupli are understood and disappear
here.
"""

import enum
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from tupli_schemas.errors import FilterError
from tupli_schemas.paths import quoted
from tupli_schemas.steps import Leaf, StepSchema


class UnknownKey(FilterError):
    """A key that this level does not have; `known` lists those it has."""

    def __init__(self, message: str, *, place: str = "", known: tuple[str, ...] = ()) -> None:
        super().__init__(message, place=place)
        self.known = known


class Level(enum.StrEnum):
    """What a filter chooses."""

    BENCHMARK = "benchmark"
    EPISODE = "episode"
    TUPLE = "tuple"


BENCHMARK_FIELDS: Final = (
    "id",
    "name",
    "owner",
    "description",
    "difficulty",
    "version",
    "hash",
    "created_by",
    "created_at",
    "published_in",
)
EPISODE_FIELDS: Final = (
    "id",
    "benchmark_id",
    "created_by",
    "created_at",
    "started_at",
    "ended_at",
    "status",
    "n_tuples",
    "return",
    "seed",
    "run",
    "policy",
    "stream",
    "slot",
    "terminated",
    "truncated",
    "timeout",
    "published_in",
    "alignment",
)
TUPLE_FIELDS: Final = ("reward", "terminated", "truncated", "step", "time")
ARRAYS: Final = ("observation", "action", "next_observation")
TUPLE_SYNONYMS: Final = {"state": "observation", "terminal": "terminated", "timeout": "truncated"}

KNOWN: Final[dict[Level, tuple[str, ...]]] = {
    Level.BENCHMARK: (*BENCHMARK_FIELDS, "extra.<path>"),
    Level.EPISODE: (*EPISODE_FIELDS, "metadata.<path>"),
    Level.TUPLE: (*ARRAYS, *TUPLE_FIELDS, "info.<path>", "extra.<name>", "episode.<episode key>"),
}

_SPLIT: Final = re.compile(r"(?P<root>[^.\[]*)(?P<rest>.*)", re.DOTALL)
_INDEX: Final = re.compile(r"\[([^\[\]]*)\]")
_INDICES: Final = re.compile(r"(?:\[[^\[\]]*\])*")
_LOOSE_PERCENT: Final = re.compile(r"%(?!2E|25)")


@dataclass(frozen=True, slots=True)
class Key:
    """A key of one level. `root` is a field, an array or `info`, `extra`, `metadata`, `episode`.

    `rest` is the path inside the root: escaped names joined by dots for `info`, `metadata` and a benchmark's
    `extra`; for arrays and a tuple's `extra` the text behind the root, which `find_element` reads;
    for `episode` the episode's key. `text` is the whole path.
    """

    level: Level
    root: str
    rest: str
    text: str

    @property
    def written(self) -> str:
        """The key as people write it: what messages call it."""
        return quoted(self.text)


@dataclass(frozen=True, slots=True)
class Element:
    """What a key of an array names: a leaf of the step schema and, in an array leaf, one element.

    `flat` counts elements in row-major order from 0; None for a scalar leaf, or the whole of an array.
    """

    group: str
    index: int
    leaf: Leaf
    flat: int | None

    @property
    def is_whole_array(self) -> bool:
        """Whether the leaf is an array of which no element was named."""
        return self.flat is None and self.leaf.cell.shape != ()


def parse_key(
    text: str, level: Level, *, metadata_keys: Collection[str] | None = None, place: str = "key"
) -> Key:
    """The key of its text.

    Args:
        text: What was written, `info.success`.
        level: What the filter chooses.
        metadata_keys: Paths of metadata that the visible episodes have, for bare keys of episodes.
        place: How the caller calls the key.

    Raises:
        UnknownKey: The level has no such key.
    """
    if level is Level.BENCHMARK:
        return _benchmark_key(text, place)
    if level is Level.EPISODE:
        return _episode_key(text, metadata_keys, place)
    return _tuple_key(text, metadata_keys, place)


def bare_metadata_key(text: str, level: Level) -> str | None:
    """The metadata path that a key names if episodes have it: what must be looked up before `parse_key`."""
    if level is Level.TUPLE:
        root, rest = _split(text)
        return (
            bare_metadata_key(rest[1:], Level.EPISODE) if root == "episode" and rest.startswith(".") else None
        )
    if level is Level.BENCHMARK or text in EPISODE_FIELDS or _split(text)[0] == "metadata":
        return None
    return _path(text)


def find_element(key: Key, schema: StepSchema, *, place: str = "key") -> Element:
    """The leaf and the element that a key of an array or of `extra` names.

    Raises:
        UnknownKey: The schema has no such leaf.
        FilterError: An index is no whole number, negative, or outside the shape.
    """
    group = "observation" if key.root == "next_observation" else key.root
    leaves = schema.leaves(group)
    fitting = [(i, leaf) for i, leaf in enumerate(leaves) if _fits(leaf.path, key.rest)]
    if not fitting:
        known = tuple(leaf_key(key.root, leaf.path) for leaf in leaves)
        raise UnknownKey(_unknown(key.text, "the step schema", known), place=place, known=known)
    index, leaf = max(fitting, key=lambda item: len(item[1].path))
    behind = key.rest[_prefix(leaf.path, key.rest) :]
    return Element(group, index, leaf, _flat_index(behind, leaf, key, place))


def leaf_key(root: str, path: str) -> str:
    """The key of a step schema's leaf as people write it: observation.`n.x`."""
    return quoted(f"{root}{_spelled(path)}")


def _benchmark_key(text: str, place: str) -> Key:
    plain = text.removeprefix("metadata.")
    root, rest = _split(plain)
    if plain in BENCHMARK_FIELDS:
        return Key(Level.BENCHMARK, plain, "", text)
    if root == "extra" and len(rest) > 1 and rest[0] == ".":
        return Key(Level.BENCHMARK, root, _path(rest[1:]), text)
    raise _unknown_key(text, Level.BENCHMARK, place)


def _episode_key(text: str, metadata_keys: Collection[str] | None, place: str) -> Key:
    root, rest = _split(text)
    if text == "timeout":
        return Key(Level.EPISODE, "truncated", "", text)
    if text in EPISODE_FIELDS:
        return Key(Level.EPISODE, text, "", text)
    if root == "metadata" and len(rest) > 1 and rest[0] == ".":
        return Key(Level.EPISODE, root, _path(rest[1:]), text)
    path = _path(text)
    if metadata_keys is not None and path in metadata_keys:
        return Key(Level.EPISODE, "metadata", path, text)
    raise _unknown_key(text, Level.EPISODE, place, metadata_keys)


def _tuple_key(text: str, metadata_keys: Collection[str] | None, place: str) -> Key:
    written, rest = _split(text)
    root = TUPLE_SYNONYMS.get(written, written)
    if root in TUPLE_FIELDS and not rest:
        return Key(Level.TUPLE, root, "", text)
    if root in TUPLE_FIELDS:
        raise FilterError(f"{written} is a single value; {quoted(rest)!r} names nothing in it", place=place)
    if root in ARRAYS:
        return Key(Level.TUPLE, root, rest, text)
    if len(rest) > 1 and rest[0] == ".":
        if root == "info":
            return Key(Level.TUPLE, root, _path(rest[1:]), text)
        if root == "extra":
            return Key(Level.TUPLE, root, rest, text)
        if root == "episode":
            inner = _episode_key(rest[1:], metadata_keys, place)
            return Key(Level.TUPLE, root, inner.text, text)
    if root in {"info", "extra", "episode"}:
        raise FilterError(
            f"{root} as a whole cannot be compared; name a value in it, as in {root}.name", place=place
        )
    raise _unknown_key(text, Level.TUPLE, place)


def _split(text: str) -> tuple[str, str]:
    match = _SPLIT.fullmatch(text)
    return (match["root"], match["rest"]) if match else (text, "")


def _path(text: str) -> str:
    """The path as the index has it: a `%` that escapes nothing was meant as itself."""
    return _LOOSE_PERCENT.sub("%25", text)


def _spelled(path: str) -> str:
    return path if not path or path[0] in ".[" else f".{path}"


def _prefix(path: str, rest: str) -> int:
    """How much of `rest` the leaf's path takes, or -1."""
    spelled = _spelled(path)
    return len(spelled) if rest.startswith(spelled) else -1


def _fits(path: str, rest: str) -> bool:
    taken = _prefix(path, rest)
    return taken >= 0 and _INDICES.fullmatch(rest, taken) is not None


def _flat_index(behind: str, leaf: Leaf, key: Key, place: str) -> int | None:
    shape = leaf.cell.shape if leaf.shape is None else leaf.shape
    if not behind:
        return None
    numbers = [part.strip() for group in _INDEX.findall(behind) for part in group.split(",")]
    described = f"{leaf_key(key.root, leaf.path)} has shape {list(shape)}"
    if not all(re.fullmatch(r"[0-9]{1,9}", number) for number in numbers):
        raise FilterError(f"indices are whole numbers from 0, not {behind!r}; {described}", place=place)
    indices = [int(number) for number in numbers]
    if len(indices) != len(shape):
        need = f"takes {len(shape)} indices" if shape else "is a single value and takes no index"
        raise FilterError(f"{key.written} names {len(indices)} indices; {described} and {need}", place=place)
    flat = 0
    for i, size in zip(indices, shape, strict=True):
        if i >= size:
            raise FilterError(f"{key.written}: index {i} is out of range; {described}", place=place)
        flat = flat * size + i
    return flat


def _unknown(text: str, where: str, known: Collection[str]) -> str:
    return f"{quoted(text)!r} is no key of {where}; known: {', '.join(known) or 'none'}"


def _unknown_key(
    text: str, level: Level, place: str, metadata_keys: Collection[str] | None = None
) -> UnknownKey:
    known = KNOWN[level]
    message = _unknown(text, f"a {level}" if level != "episode" else "an episode", known)
    if level is Level.EPISODE and metadata_keys is not None:
        shown = sorted(metadata_keys)[:100]
        message += f"; metadata of these episodes: {', '.join(map(_written, shown)) or 'none'}"
        known = (*known, *(f"metadata.{quoted(path)}" for path in shown))
    return UnknownKey(message, place=place, known=known)


def _written(path: str) -> str:
    """A path of metadata as people write it: bare, unless that is a field or has to be quoted."""
    return path if quoted(path) == path and path not in EPISODE_FIELDS else f"metadata.{quoted(path)}"
