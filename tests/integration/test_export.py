"""Files of exported batches hold exactly what was exported."""

import csv
import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tupli.errors import InvalidInput
from tupli.export import export
from tupli_schemas.filters import F

ENDINGS = ["csv", "npz", "parquet", "arrow"]
TEXTS = np.array(["plain", "ends\0", ""], object)


def test_npz_refuses_texts_that_numpy_would_cut(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"NUL at the end of a text in observation\.name") as caught:
        export([{"observation": {"name": TEXTS}}], tmp_path / "rows.npz")
    assert caught.value.place == "output"
    assert list(tmp_path.iterdir()) == []


def test_npz_keeps_other_texts_exactly(tmp_path: Path) -> None:
    texts = np.array(["a", "in\0side", "\0first", "\ud800"], object)
    assert export([{"observation": texts}], tmp_path / "rows.npz") == 4
    with np.load(tmp_path / "rows.npz") as data:
        assert data["observation"].tolist() == texts.tolist()


def test_parquet_keeps_every_nul(tmp_path: Path) -> None:
    export([{"observation": TEXTS}], tmp_path / "rows.parquet")
    assert pq.read_table(tmp_path / "rows.parquet")["observation"].to_pylist() == TEXTS.tolist()


@pytest.mark.parametrize("ending", ENDINGS)
def test_names_with_signs_of_paths_stand_in_backquotes_and_none_is_lost(tmp_path: Path, ending: str) -> None:
    leaves = ["a.b", "a", "x[0]", "x", "100%", "`q`", "tick`"]
    values = [
        np.array([0.0]),
        {"b": np.array([1.0])},
        np.array([2.0]),
        (np.array([3.0]),),
        *map(np.array, ([4.0], [5.0], [6.0])),
    ]
    assert export([{"observation": dict(zip(leaves, values, strict=True))}], tmp_path / f"rows.{ending}") == 1
    names = ["`a.b`", "a.b", "`x[0]`", "x[0]", "`100%`", "```q```", "tick`"]
    columns = [f"observation.{name}" for name in names]
    assert _read(tmp_path / f"rows.{ending}") == {name: [float(i)] for i, name in enumerate(columns)}
    paths = ["a%2Eb", "a.b", "x[0]", "x[0]", "100%25", "`q`", "tick`"]
    assert [F(name).key for name in columns] == [f"observation.{path}" for path in paths]


def _read(path: Path) -> dict[str, list[float]]:
    if path.suffix == ".npz":
        with np.load(path) as data:
            return {name: data[name].tolist() for name in data.files}
    if path.suffix == ".csv":
        header, *rows = csv.reader(path.read_text("utf-8").splitlines())
        return {name: [float(row[i]) for row in rows] for i, name in enumerate(header)}
    table = pq.read_table(path) if path.suffix == ".parquet" else pa.ipc.open_file(path).read_all()
    return dict(zip(table.column_names, (column.to_pylist() for column in table.columns), strict=True))


@pytest.mark.parametrize("ending", ENDINGS)
def test_two_columns_of_one_name_are_refused(tmp_path: Path, ending: str) -> None:
    batch = {"a": {"b": np.zeros(1)}, "a.b": np.zeros(1)}
    with pytest.raises(InvalidInput, match=r"two columns are called a\.b") as caught:
        export([batch], tmp_path / f"rows.{ending}")
    assert caught.value.place == "output"
    assert list(tmp_path.iterdir()) == []


def test_csv_refuses_elements_of_the_name_of_a_column(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"two columns are called a\[0\]"):
        export([{"a": np.zeros((1, 2)), "a[0]": np.zeros(1)}], tmp_path / "rows.csv")


def test_npz_refuses_names_that_zip_would_cut_to_the_same(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"two columns are called o\.n"):
        export([{"o": {"n\0a": np.zeros(1), "n\0b": np.zeros(1)}}], tmp_path / "rows.npz")


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.uint8])
@pytest.mark.parametrize("rows", [0, 2])
def test_arrays_without_elements_are_lists_of_nothing(
    tmp_path: Path, ending: str, dtype: type, rows: int
) -> None:
    path = tmp_path / f"rows.{ending}"
    batches = [{"o": np.zeros((rows, 0, 3), dtype), "r": np.arange(rows)}] * 2
    assert export(batches, path) == 2 * rows
    table = pq.read_table(path) if ending == "parquet" else pa.ipc.open_file(path).read_all()
    assert table["o"].to_pylist() == [[]] * 2 * rows
    assert pa.types.is_list(table["o"].type)
    assert table.schema.field("o").metadata[b"shape"] == (b"0,3,2" if dtype is np.complex64 else b"0,3")


TIMES = np.array([[1, -2], [3, 4]])
UNLIKE = [  # what Arrow has no type for: the array, what the file holds, and its shape
    (np.array([[1.5, 2.0]], ">f4"), [[1.5, 2.0]], b"2"),
    (np.array([7], ">i8"), [7], None),
    (np.array([1 + 2j], np.complex64), [[1.0, 2.0]], b"2"),
    (np.array([[1 + 2j, 3]], ">c16"), [[1.0, 2.0, 3.0, 0.0]], b"2,2"),
    (np.array(["2026-03", "NaT"], "M8[M]"), [dt.date(2026, 3, 1), None], None),
    (np.array(["2026-03-01T05"], "M8[h]"), [dt.datetime(2026, 3, 1, 5)], None),  # noqa: DTZ001 - NumPy's have no zone
    (np.array([30], "M8[10s]"), [dt.datetime(1970, 1, 1, 0, 5)], None),  # noqa: DTZ001 - as above
    (np.array([[2, 3]], "m8[W]"), [[dt.timedelta(14), dt.timedelta(21)]], b"2"),
]


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize(("array", "held", "shape"), UNLIKE, ids=[str(one[0].dtype) for one in UNLIKE])
def test_what_arrow_has_no_type_for_becomes_what_holds_it_and_says_so(
    tmp_path: Path, ending: str, array: npt.NDArray[Any], held: list[Any], shape: bytes | None
) -> None:
    path = tmp_path / f"rows.{ending}"
    export([{"o": array}], path)
    table = pq.read_table(path) if ending == "parquet" else pa.ipc.open_file(path).read_all()
    assert table["o"].to_pylist() == held
    metadata = table.schema.field("o").metadata
    assert (metadata[b"dtype"], metadata.get(b"shape")) == (array.dtype.str.encode(), shape)


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.ones(2, np.longdouble), "longdouble|float128"),
        (np.array([1, 2], "M8[ps]"), "time unit"),
        (np.array([1, 2], "m8[M]"), "time unit"),
        (np.array([2**62], "M8[Y]"), "beyond 64 bits"),
        (np.array([2**40], "M8[D]"), "beyond 32 bits"),
        (np.array(["a", "\ud800"], object), "surrogates"),
    ],
    ids=["longdouble", "picoseconds", "months", "years", "days", "surrogates"],
)
def test_what_arrow_cannot_hold_is_refused_with_its_column(
    tmp_path: Path, ending: str, array: npt.NDArray[Any], told: str
) -> None:
    with pytest.raises(InvalidInput, match=f"o of .*{told}") as caught:
        export([{"o": array}], tmp_path / f"rows.{ending}")
    assert caught.value.place == "output"
    assert list(tmp_path.iterdir()) == []


def test_parquet_refuses_seconds_that_it_would_have_to_cut(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="overflow"):
        export([{"o": np.array([2**62], "M8[s]")}], tmp_path / "rows.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [">f4", "M8[us]", "m8[10s]", ">M8[D]", "longdouble", "c8"])
def test_npz_keeps_every_dtype(tmp_path: Path, dtype: str) -> None:
    array = TIMES.astype(dtype)
    assert export([{"o": array}, {"o": array[:1]}], tmp_path / "rows.npz") == 3
    with np.load(tmp_path / "rows.npz") as data:
        assert data["o"].dtype == array.dtype
        assert data["o"].tobytes() == array.tobytes() + array[:1].tobytes()


BATCH = {"reward": np.zeros(2)}


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_new_file_has_the_permissions_that_the_umask_leaves(
    tmp_path: Path, ending: str, umask: int, mode: int
) -> None:
    was = os.umask(umask)
    try:
        export([BATCH], tmp_path / f"rows.{ending}")
    finally:
        os.umask(was)
    assert _mode(tmp_path / f"rows.{ending}") == mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444])
def test_a_file_that_is_replaced_hands_its_permissions_on(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old")
    path.chmod(mode)
    seen: list[int] = []

    def batches() -> Iterator[dict[str, Any]]:
        seen.extend(_mode(other) for other in tmp_path.iterdir() if other != path)
        yield BATCH

    assert export(batches(), path) == 2
    assert path.read_text() != "old"
    assert (_mode(path), seen) == (mode, [0o600])
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    path.write_text("old")
    path.chmod(0o640)
    with pytest.raises(InvalidInput):
        export([{"observation": TEXTS}], path)
    assert (path.read_text(), _mode(path), list(tmp_path.iterdir())) == ("old", 0o640, [path])
