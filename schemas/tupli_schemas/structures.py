"""Structures: how a value (observation, action, extra) is cut into leaves, one a column, and put together.

A structure is an immutable tree. Its inner nodes are dicts, tuples and lists; its leaves are

- `array`: numbers of one dtype and shape, in typed cells, or exact little-endian bytes where the engine has
  no such type (float16, complex, datetime64). `box` says what comes back: an `ndarray`, a NumPy `scalar`, or
  `python` numbers (a number, or lists of them);
- `text`: a string;
- `value`: anything, as the canonical bytes of `values`;
- `graph`: `Graph`, as canonical bytes.

Cells are in the order of `leaves`. A node is made once and used for every step.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tupli_schemas.casts import exact_cast
from tupli_schemas.errors import SchemaMismatch, ValueCodecError
from tupli_schemas.graphs import GRAPH_TYPE, Graph, MakeGraph, with_graphs
from tupli_schemas.paths import escape_key
from tupli_schemas.steps import MAX_LEAVES, NUMERIC, Cell, Leaf
from tupli_schemas.structure_nodes import FlatCell, Structure, read_node
from tupli_schemas.values import decode, encode

__all__ = [
    "ArrayLeaf",
    "DictNode",
    "FlatCell",
    "Graph",
    "GraphLeaf",
    "Structure",
    "TextLeaf",
    "TupleNode",
    "ValueLeaf",
    "check_leaves",
]

CODES: Final = {np.dtype(name): code for code, (name, _, _) in NUMERIC.items()}
BOXES: Final = ("ndarray", "scalar", "python")
ARRAY_KINDS: Final = "biufcmM"
_GRAPH_MARK: Final = GRAPH_TYPE.encode()


class ArrayLeaf(Structure, kinds=("array",)):
    """Numbers of one dtype and shape."""

    def __init__(self, dtype: npt.DTypeLike, shape: tuple[int, ...], box: str = "ndarray") -> None:
        self.dtype = np.dtype(dtype)
        self.shape = tuple(shape)
        self.box = box
        if self.dtype.kind not in ARRAY_KINDS or box not in BOXES or any(n < 0 for n in self.shape):
            raise SchemaMismatch(f"no array of {self.dtype}{list(self.shape)} ({box})")
        self._native = self.dtype.newbyteorder("=")
        self._stored = self.dtype.newbyteorder("<")
        code = CODES.get(self._native)
        self.cell = Cell("raw") if code is None else Cell(code, self.shape)
        self._as_bytes = self.cell.is_opaque
        named = code is None or self.dtype != self._native
        self._leaf = Leaf("", self.cell, self.dtype.str if named else "", self.shape if named else None)

    @classmethod
    def _of_json(cls, data: Any, graph: MakeGraph) -> "Structure":
        del graph
        return cls(_dtype(data["dtype"]), tuple(int(n) for n in data["shape"]), data["box"])

    def to_json(self) -> Any:
        """The structure as JSON."""
        return {"kind": "array", "dtype": self.dtype.str, "shape": list(self.shape), "box": self.box}

    def _paths(self, path: str) -> Iterator[Leaf]:
        yield Leaf(path, self.cell, self._leaf.dtype, self._leaf.shape)

    def _flatten(self, value: Any, out: list[FlatCell], place: str) -> None:
        array = value if type(value) is np.ndarray else plain_array(value, place)
        if array.shape != self.shape:
            raise SchemaMismatch(f"shape {list(array.shape)} where {list(self.shape)} belongs", place=place)
        if array.dtype != self._native:
            array = exact_cast(array, self._native, place)
        out.append(array.astype(self._stored, copy=False).tobytes() if self._as_bytes else array)

    def _unflatten(self, cells: Iterator[Any]) -> Any:
        cell = next(cells)
        if self._as_bytes:
            array = self._of_bytes([cell])[0] if self.shape else self._of_bytes([cell]).reshape(())
        else:
            array = np.asarray(cell, self._native).astype(self.dtype, copy=False)
        if array.shape != self.shape:
            array = array.reshape(self.shape)
        if self.box == "ndarray":
            return array
        return array[()] if self.box == "scalar" else array.tolist()

    def _unflatten_batch(self, columns: Iterator[Any]) -> Any:
        column = next(columns)
        if self._as_bytes:
            return self._of_bytes(column)
        array = np.asarray(column)
        if array.dtype != self._native:
            if array.dtype != self.cell.storage_dtype:
                raise SchemaMismatch(f"{array.dtype} where {self.cell.text} belongs")
            array = array.view(self._native)
        return array.astype(self.dtype, copy=False)

    def _of_bytes(self, cells: Any) -> npt.NDArray[Any]:
        """The arrays of cells that are bytes, as one of shape `(n, *shape)`."""
        rows = [bytes(cell) for cell in cells]
        size = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        if any(len(row) != size for row in rows):
            raise SchemaMismatch(f"a cell without the {size} bytes of {self.dtype}{list(self.shape)}")
        if size == 0:
            return np.empty((len(rows), *self.shape), self.dtype)
        flat = np.frombuffer(b"".join(rows), self._stored).reshape(len(rows), *self.shape)
        return flat.astype(self.dtype)


class _BytesLeaf(Structure):
    """A leaf whose cell is bytes without a dtype."""

    kind: str
    cell = Cell("raw")

    def to_json(self) -> Any:
        """The structure as JSON."""
        return {"kind": self.kind}

    def _paths(self, path: str) -> Iterator[Leaf]:
        yield Leaf(path, self.cell)

    def _unflatten(self, cells: Iterator[Any]) -> Any:
        return self._value(bytes(next(cells)))

    def _unflatten_batch(self, columns: Iterator[Any]) -> Any:
        cells = list(next(columns))
        out = np.empty(len(cells), object)
        for i, cell in enumerate(cells):
            out[i] = self._value(bytes(cell))
        return out

    @abstractmethod
    def _value(self, cell: bytes) -> Any:
        """The value of one cell."""


class TextLeaf(_BytesLeaf, kinds=("text",)):
    """A string."""

    kind = "text"
    cell = Cell("text")

    @classmethod
    def _of_json(cls, data: Any, graph: MakeGraph) -> "Structure":
        del data, graph
        return cls()

    def _flatten(self, value: Any, out: list[FlatCell], place: str) -> None:
        if not isinstance(value, str):
            raise SchemaMismatch(f"{type(value).__name__} where a string belongs", place=place)
        out.append(value.encode("utf-8", "surrogatepass"))

    def _value(self, cell: bytes) -> str:
        try:
            return cell.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise SchemaMismatch("the cell is no text") from error


class ValueLeaf(_BytesLeaf, kinds=("value",)):
    """Anything, as canonical bytes."""

    kind = "value"

    def __init__(self, graph: MakeGraph = Graph) -> None:
        self._graph = graph

    @classmethod
    def _of_json(cls, data: Any, graph: MakeGraph) -> "Structure":
        del data
        return cls(graph)

    def _flatten(self, value: Any, out: list[FlatCell], place: str) -> None:
        del place
        out.append(encode(value))

    def _value(self, cell: bytes) -> Any:
        try:
            value = decode(cell)
        except ValueCodecError as error:
            raise SchemaMismatch(error.reason) from error
        return with_graphs(value, self._graph) if _GRAPH_MARK in cell else value


class GraphLeaf(ValueLeaf, kinds=("graph",)):
    """A graph: nodes, edges and links of any number."""

    kind = "graph"

    def _flatten(self, value: Any, out: list[FlatCell], place: str) -> None:
        if not isinstance(value, tuple) or len(value) != 3:
            raise SchemaMismatch(f"{type(value).__name__} where a graph belongs", place=place)
        out.append(encode(tuple.__getitem__(value, slice(None))))

    def _value(self, cell: bytes) -> Any:
        members = super()._value(cell)
        if type(members) is not tuple or len(members) != 3:
            raise SchemaMismatch("the cell is no graph")
        return self._graph(*members)


class DictNode(Structure, kinds=("dict",)):
    """A dict of these keys, in this order."""

    def __init__(self, items: Mapping[str, Structure]) -> None:
        self.items = dict(items)

    @classmethod
    def _of_json(cls, data: Any, graph: MakeGraph) -> "Structure":
        return cls({str(key): read_node(item, graph) for key, item in data["items"]})

    def to_json(self) -> Any:
        """The structure as JSON."""
        return {"kind": "dict", "items": [[key, node.to_json()] for key, node in self.items.items()]}

    def _paths(self, path: str) -> Iterator[Leaf]:
        for key, node in self.items.items():
            yield from node._paths(f"{path}.{escape_key(key)}")  # noqa: SLF001 -- the same class

    def _flatten(self, value: Any, out: list[FlatCell], place: str) -> None:
        if not isinstance(value, Mapping) or len(value) != len(self.items):
            raise SchemaMismatch(
                f"{_names_of(value)} where a dict of {list(self.items)} belongs", place=place
            )
        for key, node in self.items.items():
            if key not in value:
                raise SchemaMismatch(f"no member {key!r}", place=place)
            node._flatten(value[key], out, f"{place}.{escape_key(key)}")  # noqa: SLF001 -- the same class

    def _unflatten(self, cells: Iterator[Any]) -> Any:
        return {key: node._unflatten(cells) for key, node in self.items.items()}  # noqa: SLF001 -- the same class

    def _unflatten_batch(self, columns: Iterator[Any]) -> Any:
        return {key: node._unflatten_batch(columns) for key, node in self.items.items()}  # noqa: SLF001 -- the same class


class TupleNode(Structure, kinds=("tuple", "list")):
    """A tuple or a list of this length."""

    def __init__(self, items: tuple[Structure, ...], *, is_list: bool = False) -> None:
        self.items = items
        self.is_list = is_list

    @classmethod
    def _of_json(cls, data: Any, graph: MakeGraph) -> "Structure":
        return cls(tuple(read_node(i, graph) for i in data["items"]), is_list=data["kind"] == "list")

    def to_json(self) -> Any:
        """The structure as JSON."""
        return {"kind": "list" if self.is_list else "tuple", "items": [node.to_json() for node in self.items]}

    def _paths(self, path: str) -> Iterator[Leaf]:
        for i, node in enumerate(self.items):
            yield from node._paths(f"{path}[{i}]")  # noqa: SLF001 -- the same class

    def _flatten(self, value: Any, out: list[FlatCell], place: str) -> None:
        if not isinstance(value, tuple | list) or len(value) != len(self.items):
            raise SchemaMismatch(
                f"{_describe(value)} where a sequence of {len(self.items)} belongs", place=place
            )
        for i, node in enumerate(self.items):
            node._flatten(value[i], out, f"{place}[{i}]")  # noqa: SLF001 -- the same class

    def _unflatten(self, cells: Iterator[Any]) -> Any:
        values = [node._unflatten(cells) for node in self.items]  # noqa: SLF001 -- the same class
        return values if self.is_list else tuple(values)

    def _unflatten_batch(self, columns: Iterator[Any]) -> Any:
        values = [node._unflatten_batch(columns) for node in self.items]  # noqa: SLF001 -- the same class
        return values if self.is_list else tuple(values)


def _dtype(text: Any) -> np.dtype[Any]:
    if (
        not isinstance(text, str)
        or len(text) > 32
        or not text.replace("[", "").replace("]", "")[1:].isalnum()
    ):
        raise SchemaMismatch(f"{text!r} is not a dtype")
    return np.dtype(text)


def plain_array(value: Any, place: str) -> npt.NDArray[Any]:
    """The value as an array.

    Raises:
        SchemaMismatch: It is none, or a masked one: a column of numbers has no place for a mask.
    """
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise SchemaMismatch("a masked array where a plain one belongs", place=place)
    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise SchemaMismatch(f"{type(value).__name__} where an array belongs", place=place) from error


def _names_of(value: Any) -> str:
    return f"a dict of {list(value)[:20]}" if isinstance(value, Mapping) else _describe(value)


def _describe(value: Any) -> str:
    size = f" of {len(value)}" if hasattr(value, "__len__") else ""
    return f"{type(value).__name__}{size}"


def check_leaves(structure: Structure) -> Structure:
    """The structure itself, when a step schema can hold it.

    Raises:
        SchemaMismatch: It has too many leaves.
    """
    count = len(structure.leaves())
    if count > MAX_LEAVES:
        raise SchemaMismatch(f"a step has at most {MAX_LEAVES} columns, not {count}")
    return structure
