"""What the nodes of a structure have in common; `structures` has the kinds of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

import numpy.typing as npt

from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.graphs import Graph, MakeGraph
from tupli_schemas.steps import Leaf

FlatCell = npt.NDArray[Any] | bytes
"""One cell: an array of exactly the cell's shape and dtype, or bytes where `cell.is_opaque`."""


class Structure(ABC):
    """A node of the tree, and so the tree below it. A subclass names the `kinds` of JSON that are its own."""

    _kinds: ClassVar[dict[str, type["Structure"]]] = {}

    def __init_subclass__(cls, *, kinds: tuple[str, ...] = ()) -> None:
        super().__init_subclass__()
        Structure._kinds.update(dict.fromkeys(kinds, cls))

    def leaves(self) -> tuple[Leaf, ...]:
        """The leaves, with their paths from here."""
        return self._leaves

    def flatten(self, value: Any) -> list[FlatCell]:
        """One cell a leaf. Arrays may share memory with the value.

        Raises:
            SchemaMismatch: The value does not fit, or not without a loss; `place` is the leaf's path.
        """
        out: list[FlatCell] = []
        self._flatten(value, out, "")
        return out

    def unflatten(self, cells: list[Any]) -> Any:
        """The value of one row's cells (numeric cells: arrays or anything that `numpy.asarray` takes).

        Arrays share memory with their cells where they can.
        """
        self._check_count(len(cells))
        return self._unflatten(iter(cells))

    def unflatten_batch(self, columns: list[Any]) -> Any:
        """Columns of n rows as arrays of shape `(n, *shape)`, in dicts and tuples as the value is.

        A numeric column is an array `(n, *shape)`, a column of bytes a list. What has no dtype becomes an
        array of n objects.
        """
        self._check_count(len(columns))
        return self._unflatten_batch(iter(columns))

    @staticmethod
    def from_json(data: Any, *, graph: MakeGraph = Graph) -> "Structure":
        """The structure of its JSON; `graph` makes graphs of (nodes, edges, edge_links).

        Raises:
            SchemaMismatch: It is none.
        """
        try:
            return read_node(data, graph)
        except SchemaMismatch:
            raise
        except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
            raise SchemaMismatch(f"not a structure ({type(error).__name__})") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Structure) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(repr(self.to_json()))

    def __repr__(self) -> str:
        return f"Structure({self.to_json()!r})"

    @classmethod
    @abstractmethod
    def _of_json(cls, data: Any, graph: MakeGraph) -> "Structure":
        """The node of its JSON; raises whatever comes of one that is none."""

    @abstractmethod
    def to_json(self) -> Any:
        """The structure as JSON."""

    @abstractmethod
    def _paths(self, path: str) -> Iterator[Leaf]:
        """The leaves below, whose paths start with `path`."""

    @abstractmethod
    def _flatten(self, value: Any, out: list[FlatCell], place: str) -> None:
        """Append the value's cells."""

    @abstractmethod
    def _unflatten(self, cells: Iterator[Any]) -> Any:
        """Take this node's cells and make its value."""

    @abstractmethod
    def _unflatten_batch(self, columns: Iterator[Any]) -> Any:
        """Take this node's columns and make its arrays."""

    @cached_property
    def _leaves(self) -> tuple[Leaf, ...]:
        return tuple(self._paths(""))

    def _check_count(self, count: int) -> None:
        if count != len(self._leaves):
            raise SchemaMismatch(f"{count} cells for {len(self._leaves)} leaves")


def read_node(data: Any, graph: MakeGraph) -> Structure:
    """The node of its JSON; raises whatever comes of one that is none (`Structure.from_json` tells it)."""
    return Structure._kinds[data["kind"]]._of_json(data, graph)  # noqa: SLF001 -- the same module
