"""Step schemas: which columns a transition has, and how they are called in Arrow and in ClickHouse.

A *leaf* is one array of an observation, an action or the extra facts of a step. A *layout* is the list of the
leaves' dtypes and shapes without their names: columns are named by position (`o0, o1, a0, x0`), and
benchmarks of the same layout share one step table. Layouts have a short text (`o=f4[17]|i8[];a=f4[6];x=`),
which every record of steps carries, so that its Arrow schema can be checked without knowing the stream.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from tupli_schemas.errors import SchemaMismatch

MAX_LEAVES: Final = 1_000
MAX_CELL_BYTES: Final = 8 * 1024 * 1024

GROUPS: Final = {"o": "observation", "a": "action", "x": "extra"}

NUMERIC: Final[dict[str, tuple[str, pa.DataType, str]]] = {
    # code: NumPy dtype, Arrow type, ClickHouse type. Booleans travel as bytes: Arrow's bits cannot be shared.
    "b1": ("bool", pa.uint8(), "UInt8"),
    "i1": ("int8", pa.int8(), "Int8"),
    "i2": ("int16", pa.int16(), "Int16"),
    "i4": ("int32", pa.int32(), "Int32"),
    "i8": ("int64", pa.int64(), "Int64"),
    "u1": ("uint8", pa.uint8(), "UInt8"),
    "u2": ("uint16", pa.uint16(), "UInt16"),
    "u4": ("uint32", pa.uint32(), "UInt32"),
    "u8": ("uint64", pa.uint64(), "UInt64"),
    "f4": ("float32", pa.float32(), "Float32"),
    "f8": ("float64", pa.float64(), "Float64"),
}
OPAQUE: Final = ("text", "raw")
"""`text`: UTF-8 (surrogates passed).

`raw`: exact little-endian bytes of one dtype and shape, or canonical bytes.
"""

MAX_DIMENSIONS: Final = 32
_LEAF = re.compile(r"(?P<code>[a-z]+[0-9]?)(?:\[(?P<dims>(?:[0-9]{1,10}(?:,[0-9]{1,10})*)?)\])?")


@dataclass(frozen=True, slots=True)
class Cell:
    """The type of one column: a code of `NUMERIC` with a shape, or an opaque code without one."""

    code: str
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.code not in NUMERIC and self.code not in OPAQUE:
            raise SchemaMismatch(f"unknown column type {self.code!r}")
        if self.code in OPAQUE and self.shape:
            raise SchemaMismatch(f"a {self.code} column has no shape")
        if len(self.shape) > MAX_DIMENSIONS or any(n < 0 for n in self.shape):
            raise SchemaMismatch(f"{list(self.shape)} is not a shape of up to {MAX_DIMENSIONS} dimensions")
        # Without its zeros, because NumPy refuses shapes whose other sizes are too large even when it has no
        # element.
        if self.is_numeric and prod(filter(None, self.shape)) * self.dtype.itemsize > MAX_CELL_BYTES:
            raise SchemaMismatch(f"one value of {self.text} has more than {MAX_CELL_BYTES} bytes")

    @property
    def is_numeric(self) -> bool:
        """Whether elements are numbers that can be compared."""
        return self.code in NUMERIC

    @property
    def is_opaque(self) -> bool:
        """Whether the column holds bytes; so do numeric cells without elements."""
        return not self.is_numeric or self.size == 0

    @property
    def size(self) -> int:
        """Elements of one cell; 1 for a scalar."""
        return prod(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of a numeric cell."""
        return np.dtype(NUMERIC[self.code][0])

    @property
    def storage_dtype(self) -> np.dtype[Any]:
        """The NumPy dtype that the cell has in memory shared with Arrow (booleans are bytes there)."""
        return np.dtype("uint8") if self.code == "b1" else self.dtype

    @property
    def text(self) -> str:
        """`f4[17]`, `i8[]`, `raw`."""
        return f"{self.code}[{','.join(map(str, self.shape))}]" if self.is_numeric else self.code

    @property
    def arrow_type(self) -> pa.DataType:
        """A primitive for a scalar, a fixed-size list (row-major) for an array, binary for bytes."""
        if self.is_opaque:
            return pa.binary()
        primitive = NUMERIC[self.code][1]
        return (
            primitive
            if self.shape == ()
            else pa.list_(pa.field("item", primitive, nullable=False), self.size)
        )

    @property
    def clickhouse_type(self) -> str:
        """The column's type in a step table."""
        if self.is_opaque:
            return "String"
        primitive = NUMERIC[self.code][2]
        return primitive if self.shape == () else f"Array({primitive})"

    @staticmethod
    def parse(text: str) -> "Cell":
        """The cell of its text.

        Raises:
            SchemaMismatch: The text is none.
        """
        match = _LEAF.fullmatch(text)
        if match is None:
            raise SchemaMismatch(f"{text!r} is not a column type")
        dims = match["dims"]
        if (dims is None) == (match["code"] in NUMERIC):
            raise SchemaMismatch(f"{text!r}: numbers have a shape, bytes have none")
        return Cell(match["code"], tuple(int(d) for d in dims.split(",")) if dims else ())


STEP_FIELDS: Final = (
    # Of every record of steps, before the leaves. `episode` is the ordinal within the stream.
    pa.field("episode", pa.uint32(), nullable=False),
    pa.field("step", pa.uint64(), nullable=False),
    pa.field("is_final", pa.uint8(), nullable=False),
    pa.field("reward", pa.float64(), nullable=False),
    pa.field("terminated", pa.uint8(), nullable=False),
    pa.field("truncated", pa.uint8(), nullable=False),
    pa.field("time", pa.int64(), nullable=False),  # Unix nanoseconds, by the recorder's clock
    pa.field("info", pa.binary(), nullable=False),  # canonical bytes, see `values`
)


@dataclass(frozen=True)
class Layout:
    """The columns of a step table: cells of observation, action and extra, in order."""

    observation: tuple[Cell, ...]
    action: tuple[Cell, ...]
    extra: tuple[Cell, ...] = ()

    def __post_init__(self) -> None:
        if len(self.cells) > MAX_LEAVES:
            raise SchemaMismatch(f"a step has at most {MAX_LEAVES} columns, not {len(self.cells)}")

    @cached_property
    def columns(self) -> tuple[tuple[str, Cell], ...]:
        """(`o0`, cell), (`o1`, cell), ..., (`a0`, cell), ..."""
        groups = (("o", self.observation), ("a", self.action), ("x", self.extra))
        return tuple((f"{prefix}{i}", cell) for prefix, cells in groups for i, cell in enumerate(cells))

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, in the order of their columns."""
        return (*self.observation, *self.action, *self.extra)

    @cached_property
    def text(self) -> str:
        """`o=f4[17];a=f4[6];x=`."""
        groups = (("o", self.observation), ("a", self.action), ("x", self.extra))
        return ";".join(f"{prefix}={'|'.join(cell.text for cell in cells)}" for prefix, cells in groups)

    @cached_property
    def table(self) -> str:
        """The name of the step table: `steps_` and 16 hexadecimal digits of the text's SHA-256."""
        return f"steps_{hashlib.sha256(self.text.encode()).hexdigest()[:16]}"

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The exact schema of a record of steps."""
        leaves = (pa.field(name, cell.arrow_type, nullable=False) for name, cell in self.columns)
        return pa.schema([*STEP_FIELDS, *leaves])

    @cached_property
    def schema_message(self) -> bytes:
        """The IPC message that an Arrow stream of that schema begins with, by the Arrow that runs here."""
        return bytes(self.arrow_schema.serialize())

    @staticmethod
    def parse(text: str) -> "Layout":
        """The layout of its text.

        Raises:
            SchemaMismatch: The text is none.
        """
        groups = [part.partition("=") for part in text.split(";")]
        if [prefix for prefix, _, _ in groups] != list(GROUPS) or len(text) > 64 * MAX_LEAVES:
            raise SchemaMismatch(f"{text[:80]!r} is not a layout (o=...;a=...;x=...)")
        cells = [tuple(Cell.parse(item) for item in body.split("|") if body) for _, _, body in groups]
        layout = Layout(*cells)
        if layout.text != text:
            raise SchemaMismatch(
                f"{text[:80]!r} is not the usual spelling of its layout, {layout.text[:80]!r}"
            )
        return layout


@dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf: its path within the group (empty for the whole, else `.position`, `[0].x`) and its cell.

    `dtype` is the NumPy dtype that the user's arrays have, where the cell alone does not say it
    (`<f2`, `<c16` in `raw` cells), with their `shape`; empty for canonical bytes.
    """

    path: str
    cell: Cell
    dtype: str = ""
    shape: tuple[int, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """The leaf as JSON."""
        out: dict[str, Any] = {"path": self.path, "cell": self.cell.text}
        if self.dtype:
            out |= {"dtype": self.dtype, "shape": list(self.shape or ())}
        return out

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Leaf":
        """The leaf of its JSON.

        Raises:
            TypeError: A member is of another type.
        """
        path, dtype, shape = data["path"], data.get("dtype", ""), data.get("shape")
        if not isinstance(path, str) or not isinstance(dtype, str):
            raise TypeError("a leaf's path and dtype are texts")
        if shape is not None and any(type(size) is not int or size < 0 for size in shape):
            raise TypeError("a shape is a list of whole numbers")
        return Leaf(path, Cell.parse(data["cell"]), dtype, None if shape is None else tuple(shape))


@dataclass(frozen=True)
class StepSchema:
    """What one step of an episode holds, leaf by leaf, and how leaves become values again.

    `observation_structure`, `action_structure` and `extra_structure` are the JSON of `spaces.Structure`;
    `observation_space` and `action_space` the JSON of the declared space, or None. `reward_dtype` is a note
    of what was first seen: rewards are kept, and come back, as float64.
    """

    observation: tuple[Leaf, ...]
    action: tuple[Leaf, ...]
    extra: tuple[Leaf, ...] = ()
    observation_structure: Any = None
    action_structure: Any = None
    observation_space: Any = None
    action_space: Any = None
    reward_dtype: str = "float64"
    extra_structure: Any = None

    @cached_property
    def layout(self) -> Layout:
        """The schema without its names."""
        groups = (self.observation, self.action, self.extra)
        return Layout(*(tuple(leaf.cell for leaf in leaves) for leaves in groups))

    def leaves(self, group: str) -> tuple[Leaf, ...]:
        """The leaves of `observation`, `action` or `extra`."""
        return {"observation": self.observation, "action": self.action, "extra": self.extra}[group]

    def column(self, group: str, index: int) -> str:
        """The column of a group's leaf: `o0`."""
        return f"{group[0] if group != 'extra' else 'x'}{index}"

    def to_json(self) -> dict[str, Any]:
        """The schema as JSON."""
        return {
            "observation": [leaf.to_json() for leaf in self.observation],
            "action": [leaf.to_json() for leaf in self.action],
            "extra": [leaf.to_json() for leaf in self.extra],
            "observation_structure": self.observation_structure,
            "action_structure": self.action_structure,
            "extra_structure": self.extra_structure,
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "reward_dtype": self.reward_dtype,
        }

    @cached_property
    def json(self) -> bytes:
        """`to_json` as UTF-8 with sorted keys: every episode of a stream says it again."""
        return orjson.dumps(self.to_json(), option=orjson.OPT_SORT_KEYS)

    @staticmethod
    def from_json(data: dict[str, Any]) -> "StepSchema":
        """The schema of its JSON.

        Raises:
            SchemaMismatch: It is not one.
        """
        try:
            groups = {name: tuple(Leaf.from_json(leaf) for leaf in data[name]) for name in GROUPS.values()}
            return StepSchema(
                **groups,
                observation_structure=data.get("observation_structure"),
                action_structure=data.get("action_structure"),
                extra_structure=data.get("extra_structure"),
                observation_space=data.get("observation_space"),
                action_space=data.get("action_space"),
                reward_dtype=str(data.get("reward_dtype", "float64")),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise SchemaMismatch(f"not a step schema ({error!r})", place="step_schema") from error


def as_cells(values: npt.NDArray[Any], cell: Cell) -> pa.Array:
    """Rows of a numeric leaf (shape `(n, *cell.shape)`, the cell's dtype) as an Arrow column, not copied.

    Raises:
        SchemaMismatch: Shape or dtype differ.
    """
    if values.shape[1:] != cell.shape or values.dtype not in (cell.dtype, cell.storage_dtype):
        raise SchemaMismatch(f"{values.dtype}{list(values.shape[1:])} where {cell.text} belongs")
    if cell.is_opaque:
        return pa.array([b""] * len(values), pa.binary())
    flat = pa.array(np.ascontiguousarray(values).reshape(-1).view(cell.storage_dtype))
    return flat if cell.shape == () else pa.FixedSizeListArray.from_arrays(flat, type=cell.arrow_type)
