"""Write a dataset to a file: Parquet, Arrow (IPC file), NPZ or CSV, batch by batch, whole or not at all.

Columns are called by the filter's words; members of Dict and Tuple observations by their path (`observation.position`),
names with dots of their own in backquotes, as `F` reads them (observation.`n.x`).
Arrays keep their dtype: in Arrow and Parquet as fixed-size lists (lists without elements as lists of any size),
row-major, with the shape in the field's metadata (`shape`), in CSV one column an element (`observation[0]`, `image[3,1]`). Infos are JSON text (see `tupli_schemas.values`).
What Arrow has no type for becomes what holds it exactly, and the field's metadata names the dtype that it had (`dtype`): complex numbers are lists of
two floats (the shape ends on 2), other byte orders are native, datetime64 and timedelta64 of a unit that Arrow has not are days or seconds.
"""

import csv
import os
import secrets
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tupli.errors import InvalidInput
from tupli_schemas import values
from tupli_schemas.paths import quoted_key

Batch = Mapping[str, Any]
FORMATS: Final = ("parquet", "arrow", "npz", "csv")
_ARROWS_UNITS: Final = {
    "M": {"Y": "D", "M": "D", "W": "D", "h": "s", "m": "s"},
    "m": {"W": "s", "D": "s", "h": "s", "m": "s"},
}
"""Units of datetime64 and timedelta64 that Arrow has not, and the nearest of its own that holds each exactly."""
_MAX_DAYS: Final = 2**31 - 1
"""Arrow's dates have 32 bits, and it cuts longer ones off."""
_Column = TypeVar("_Column")


def export(batches: Iterable[Batch], path: Path) -> int:
    """Write batches (word -> array of shape `(n, ...)`, or a dict or tuple of them) to `path`; the rows written.

    The file appears under its name only when it is complete. One that it replaces hands its permissions on; a new one
    has those that the umask leaves.

    Raises:
        InvalidInput: The name ends in none of `FORMATS`, two columns have one name, or the format cannot keep a value
            or a dtype.
    """
    kind = path.suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise InvalidInput(
            f"{path.name}: the name must end in {', '.join('.' + f for f in FORMATS)}", place="output"
        )
    writers = {"parquet": _write_parquet, "arrow": _write_arrow, "npz": _write_npz, "csv": _write_csv}
    mode = _mode_of(path)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    # The kernel takes the umask off a new file's mode. What is to replace another is nobody else's before it has its mode.
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if mode is None else 0o600))
    try:
        rows = writers[kind]((flatten(batch) for batch in batches), partial)
        if mode is not None:
            partial.chmod(mode)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return rows


def _mode_of(path: Path) -> int | None:
    """The permissions of a file, None where there is none."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return None


def flatten(batch: Batch) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a batch by the path of their leaf: `observation`, `observation.position`, `observation[0]`.

    Raises:
        InvalidInput: Two leaves have one path.
    """
    out: list[tuple[str, npt.NDArray[Any]]] = []

    def walk(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, member in value.items():
                walk(f"{name}.{quoted_key(str(key))}", member)
        elif isinstance(value, tuple | list):
            for index, member in enumerate(value):
                walk(f"{name}[{index}]", member)
        else:
            out.append((name, np.asarray(value)))

    for word, value in batch.items():
        walk(word, value)
    return _distinct(out)


def _distinct(columns: Iterable[tuple[str, _Column]]) -> dict[str, _Column]:
    """The columns by their names, none of which is lost."""
    out: dict[str, _Column] = {}
    for name, column in columns:
        if name in out:
            raise InvalidInput(f"two columns are called {name}: choose other columns", place="output")
        out[name] = column
    return out


def _table(arrays: Mapping[str, npt.NDArray[Any]]) -> pa.Table:
    fields, columns = [], []
    for name, given in arrays.items():
        try:
            array = _in_arrows_types(given)
            column = _column(array)
        except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
            told = f"{name} of {given.dtype} cannot be written: {error}: write .npz or .csv, or choose other columns"
            raise InvalidInput(told, place="output") from error
        metadata = {"shape": ",".join(map(str, array.shape[1:]))} if array.ndim > 1 else {}
        if array.dtype != given.dtype:
            metadata["dtype"] = given.dtype.str
        fields.append(pa.field(name, column.type, metadata=metadata or None))
        columns.append(column)
    return pa.table(columns, schema=pa.schema(fields))


def _in_arrows_types(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array in a dtype that Arrow has, where there is one that holds it exactly.

    Raises:
        OverflowError: A time lies beyond what the unit can hold.
    """
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind == "c":
        return np.ascontiguousarray(array).view(array.real.dtype).reshape(*array.shape, 2)
    if array.dtype.kind not in "mM":
        return array
    given = np.datetime_data(array.dtype)[0]
    if given == "generic":
        return array
    unit = _ARROWS_UNITS[array.dtype.kind].get(given, given)
    out = array.astype(f"{array.dtype.kind}8[{unit}]", copy=False)
    if not np.array_equal(out.astype(array.dtype).view("i8"), array.view("i8")):
        raise OverflowError(f"a time is beyond 64 bits in units of {unit}")
    if unit == "D" and np.any(np.abs(out[~np.isnat(out)].view("i8")) > _MAX_DAYS):
        raise OverflowError("a date is beyond 32 bits in days")
    return out


def _column(array: npt.NDArray[Any]) -> pa.Array:
    if array.dtype == object:
        return pa.array([_text(value) for value in array], pa.string())
    if array.dtype.kind in "US":
        return pa.array(array.tolist())
    if array.ndim == 1:
        return pa.array(array)
    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    size = int(np.prod(array.shape[1:], dtype=int))
    if size == 0:  # Arrow makes no array of fixed-size lists of nothing
        return pa.ListArray.from_arrays(np.zeros(len(array) + 1, np.int32), flat)
    return pa.FixedSizeListArray.from_arrays(flat, size)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else values.encode(value).decode("utf-8", "surrogatepass")


def _put(writer: Any, table: pa.Table) -> None:
    try:
        writer.write_table(table)
    except pa.ArrowException as error:
        # Such as seconds: Parquet has none, and may not hold them as milliseconds.
        raise InvalidInput(f"the file cannot hold a value: {error}", place="output") from error


def _write_parquet(batches: Iterator[dict[str, npt.NDArray[Any]]], path: Path) -> int:
    rows, writer = 0, None
    for batch in batches:
        table = _table(batch)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        _put(writer, table)
        rows += table.num_rows
    if writer is not None:
        writer.close()
    return rows


def _write_arrow(batches: Iterator[dict[str, npt.NDArray[Any]]], path: Path) -> int:
    rows, writer = 0, None
    for batch in batches:
        table = _table(batch)
        writer = writer or pa.ipc.new_file(path, table.schema)
        _put(writer, table)
        rows += table.num_rows
    if writer is not None:
        writer.close()
    return rows


def _write_npz(batches: Iterator[dict[str, npt.NDArray[Any]]], path: Path) -> int:
    """One array a column, each written from a temporary file, so that memory holds one batch."""
    rows = 0
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        parts: dict[str, _GrowingArray] = {}
        for batch in batches:
            # ZIP cuts a name at a NUL.
            columns = _distinct((name.partition("\0")[0], array) for name, array in batch.items())
            for index, (name, array) in enumerate(columns.items()):
                if array.dtype == object:
                    array = _fixed_texts(name, array)  # noqa: PLW2901 - the same column
                parts.setdefault(name, _GrowingArray(Path(folder) / str(index), array)).append(array)
            rows += len(next(iter(batch.values()), ()))
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, part in parts.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as target:
                    part.save(target)
    return rows


def _fixed_texts(name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.str_]:
    """Texts as NumPy keeps them in a file: padded with NULs, so that one's own at the end would be lost."""
    texts = [_text(value) for value in array]
    if any(text.endswith("\0") for text in texts):
        raise InvalidInput(
            f".npz cannot keep the NUL at the end of a text in {name}: write .parquet or .arrow, or other columns",
            place="output",
        )
    return np.array(texts, dtype=np.str_)


class _GrowingArray:
    """Rows of one column in a file, as long as nobody knows how many there will be."""

    def __init__(self, path: Path, first: npt.NDArray[Any]) -> None:
        self._path = path
        self._shape = first.shape[1:]
        self._texts: list[npt.NDArray[Any]] | None = [] if first.dtype.kind == "U" else None
        self._dtype = first.dtype
        self._rows = 0

    def append(self, array: npt.NDArray[Any]) -> None:
        self._rows += len(array)
        if self._texts is not None:
            self._texts.append(array)
            return
        with self._path.open("ab") as out:
            plain = np.ascontiguousarray(array)
            if plain.dtype.kind in "mM":  # they have no plain memory
                plain = plain.view("i8")
            out.write(plain.data)

    def save(self, target: Any) -> None:
        if self._texts is not None:
            np.lib.format.write_array(target, np.concatenate(self._texts), allow_pickle=False)
            return
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False}
        np.lib.format.write_array_header_2_0(target, header | {"shape": (self._rows, *self._shape)})
        if self._path.exists():
            with self._path.open("rb") as source:
                while chunk := source.read(1 << 20):
                    target.write(chunk)


def _write_csv(batches: Iterator[dict[str, npt.NDArray[Any]]], path: Path) -> int:
    rows = 0
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as out:
        writer = csv.writer(out)
        for batch in batches:
            columns = _distinct(_elements(batch))
            if rows == 0:
                writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
            rows += len(next(iter(batch.values()), ()))
    return rows


def _elements(batch: Mapping[str, npt.NDArray[Any]]) -> Iterator[tuple[str, list[Any]]]:
    for name, array in batch.items():
        if array.dtype == object:
            yield name, [_text(value) for value in array]
        elif array.ndim == 1:
            yield name, array.tolist()
        else:
            for index in np.ndindex(*array.shape[1:]):
                yield f"{name}[{','.join(map(str, index))}]", array[(slice(None), *index)].tolist()
