"""What users give as columns of an episode, taken by position: arrays of any library, lists, dicts and tuples."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import numpy.typing as npt

from tupli.errors import InvalidInput


def column(values: Any, place: str) -> Any:
    """The values as what `values[i]` gives row i of: a NumPy array, a list, or dicts and tuples of such.

    A series, a tensor or another library's array becomes NumPy's, whatever labels it has. Iterators are read.

    Raises:
        InvalidInput: They are none: text, one number, a table without one dtype, or an array that NumPy cannot take.
    """
    if isinstance(values, Mapping):
        return {name: column(member, place) for name, member in values.items()}
    if isinstance(values, tuple):
        return tuple(column(member, place) for member in values)
    return rows(values, place)


def rows(values: Any, place: str) -> Any:
    """As `column`, where a row is a value of its own (a reward, an info, a flag): a tuple of rows is a list.

    Raises:
        InvalidInput: As `column`; a dict has no rows, a set no order.
    """
    if isinstance(values, str | bytes | Mapping | AbstractSet):
        raise InvalidInput(f"{type(values).__name__} where values of each step belong", place=place)
    if not isinstance(values, Sequence) and hasattr(values, "__array__"):
        return _array(values, place)
    try:
        return list(values)
    except TypeError as error:
        raise InvalidInput(
            f"{type(values).__name__} where values of each step belong", place=place
        ) from error


def length(values: Any, place: str) -> int:
    """Rows of a `column`.

    Raises:
        InvalidInput: Its members have different numbers of them, or it has no members.
    """
    if not isinstance(values, Mapping | tuple):
        return len(values)
    members = values.values() if isinstance(values, Mapping) else values
    lengths = {length(member, place) for member in members}
    if len(lengths) != 1:
        raise InvalidInput(f"members of different lengths {sorted(lengths)}", place=place)
    return lengths.pop()


def row(values: Any, index: int) -> Any:
    """Row `index` of a `column`."""
    if isinstance(values, Mapping):
        return {name: row(member, index) for name, member in values.items()}
    if isinstance(values, tuple):
        return tuple(row(member, index) for member in values)
    return values[index]


def _array(values: Any, place: str) -> npt.NDArray[Any]:
    if not hasattr(values, "dtype"):
        kind = type(values).__name__
        raise InvalidInput(
            f"a {kind} has no dtype of its own: give an array (`.to_numpy()`), or a dict of its columns",
            place=place,
        )
    try:
        array = values if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    except Exception as error:  # the other library's: a tensor on another device, or one that wants gradients
        raise InvalidInput(f"NumPy cannot take this {type(values).__name__}: {error}", place=place) from error

    if array.ndim == 0:
        raise InvalidInput("one value where those of each step belong", place=place)
    return array
