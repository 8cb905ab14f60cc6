"""The words of a dataset's columns, and the arrays that they become.

observation action         every leaf of the group, shaped and typed as recorded (dicts and tuples of arrays)
extra                      a dict of the extra facts; where an episode lacks one, `has_extra` is False under
                           its name and the value means nothing (NaN, 0, None)
next_observation           the observation after the step; where none is known `has_next` is False and the
                           values mean nothing
reward terminated truncated step time episode info

Rewards are always float64, as they are kept: `StepSchema.reward_dtype` notes what the first one was, and says
nothing of those after it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tupli.datasets.infos import Infos
from tupli.errors import IntegrityError, InvalidInput
from tupli_schemas.errors import ContractError
from tupli_schemas.spaces import Structure, group_structure
from tupli_schemas.steps import Cell, StepSchema
from tupli_schemas.structures import DictNode

WORDS: Final = (
    "observation", "action", "reward", "next_observation", "terminated", "truncated", "episode", "step",
    "time", "info", "extra",
)  # fmt: skip
DEFAULT_WORDS: Final = WORDS[:8]
SYNONYMS: Final = {"state": "observation", "terminal": "terminated", "next_state": "next_observation"}
HAS_NEXT: Final = "has_next"
HAS_EXTRA: Final = "has_extra"
COMPANIONS: Final = {HAS_NEXT: "next_observation", HAS_EXTRA: "extra"}
"""Columns that come with a word, and say which of its values there are."""
PLAIN: Final = {"reward": Cell("f8"), "terminated": Cell("b1"), "truncated": Cell("b1"), "time": Cell("i8")}
"""Words whose column is the same in every dataset."""


@dataclass(frozen=True, slots=True)
class Source:
    """One column to collect: its name in the answer, its cell (None: infos), whether the next row's value is meant."""

    column: str
    cell: Cell | None
    of_next: bool = False


def check_words(words: Iterable[str]) -> tuple[str, ...]:
    """The words, synonyms replaced; one text is one word.

    Raises:
        InvalidInput: One of them is no column.
    """
    given = (words,) if isinstance(words, str) else words
    out = tuple(dict.fromkeys(SYNONYMS.get(word, word) for word in given))
    for word in out:
        if word not in WORDS:
            raise InvalidInput(f"{word!r} is no column; there are {', '.join(WORDS)}", place="columns")
    if not out:
        raise InvalidInput("no columns are asked for", place="columns")
    return out


def sources(schema: StepSchema, words: Iterable[str]) -> dict[str, list[Source]]:
    """What has to be collected for each word, but `episode` and `step`, which every row has."""
    out: dict[str, list[Source]] = {}
    for word in words:
        if word in PLAIN:
            out[word] = [Source(word, PLAIN[word])]
        elif word == "info":
            out[word] = [Source(word, None)]
        elif word not in {"episode", "step"}:
            group = "observation" if word == "next_observation" else word
            out[word] = [
                Source(schema.column(group, index), leaf.cell, word == "next_observation")
                for index, leaf in enumerate(schema.leaves(group))
            ]
    return out


def values_of(schema: StepSchema, word: str, columns: list[Any]) -> Any:
    """The user's arrays of a word from its collected columns.

    Raises:
        IntegrityError: Bytes that the step schema cannot read.
    """
    if word in PLAIN:
        return columns[0]
    if word == "info":
        return Infos(columns[0])
    try:
        return _grouped(schema, word)(columns)
    except ContractError as error:
        raise IntegrityError(f"{word} does not fit its step schema: {error}") from error


def _grouped(schema: StepSchema, word: str) -> Callable[[list[Any]], Any]:
    structure = _structure(schema, word)
    if structure is not None:
        return structure.unflatten_batch
    leaves = schema.leaves(_group(word))
    paths = [leaf.path.removeprefix(".") for leaf in leaves]

    def group(columns: list[Any]) -> Any:
        arrays = [objects(c) if leaf.cell.is_opaque else c for c, leaf in zip(columns, leaves, strict=True)]
        return arrays[0] if paths == [""] else dict(zip(paths, arrays, strict=True))

    return group


def extra_names(schema: StepSchema) -> dict[str, range]:
    """The extra facts, and the numbers of the leaves of each: none of an empty tuple or dict."""
    structure = _structure(schema, "extra")
    if not isinstance(structure, DictNode):
        return {leaf.path.removeprefix("."): range(i, i + 1) for i, leaf in enumerate(schema.extra)}
    out, index = {}, 0
    for name, node in structure.items.items():
        out[name] = range(index, index + len(node.leaves()))
        index = out[name].stop
    return out


def spread(value: Any, there: npt.NDArray[np.bool_]) -> Any:
    """Arrays of the rows where something is there as arrays of all rows; NaN, 0 or None in the others."""
    if isinstance(value, dict):
        return {name: spread(member, there) for name, member in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(spread(member, there) for member in value)
    fill = {"f": np.nan, "c": np.nan, "M": np.datetime64("NaT"), "m": np.timedelta64("NaT"), "O": None}
    out = np.full((len(there), *value.shape[1:]), fill.get(value.dtype.kind, 0), value.dtype)
    out[there] = value
    return out


def _group(word: str) -> str:
    return "observation" if word == "next_observation" else word


def _structure(schema: StepSchema, word: str) -> Structure | None:
    """The structure of a group; None for leaves of a writer that gave none."""
    group = _group(word)
    if getattr(schema, f"{group}_structure") is None and schema.leaves(group):
        return None
    return group_structure(schema, group, graph=_graph)


def _graph(*members: Any) -> Any:
    from gymnasium.spaces import GraphInstance  # noqa: PLC0415 -- a tenth of a second, and most data has no graphs

    return GraphInstance(*members)


def objects(rows: Any) -> npt.NDArray[np.object_]:
    """Rows as an array of objects, whatever they are."""
    out = np.empty(len(rows), object)
    for index, row in enumerate(rows):
        out[index] = row
    return out


def tuples_of(value: Any) -> Any:
    """A word's arrays with tuples in the place of lists: for who takes a list for an array."""
    if isinstance(value, Mapping):
        return {name: tuples_of(member) for name, member in value.items()}
    if isinstance(value, tuple | list):
        return tuple(map(tuples_of, value))
    return value


def take(value: Any, rows: Any) -> Any:
    """The rows (indices or a slice) of a word's arrays."""
    if isinstance(value, Mapping):
        return {name: take(member, rows) for name, member in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(take(member, rows) for member in value)
    return value[rows]
