"""Columns from Arrow: shared memory, exact types, nothing ragged."""

import numpy as np
import pyarrow as pa
import pytest

from tupli.datasets.buffers import BytesBuffer, ChunkedBuffer, NumericBuffer, numbers
from tupli.datasets.infos import Infos
from tupli.errors import IntegrityError
from tupli_schemas.steps import Cell
from tupli_schemas.values import encode


def test_a_slice_of_a_list_column_is_that_slice() -> None:
    column = pa.array([[float(i), i + 0.5] for i in range(6)], pa.list_(pa.float32()))
    values = numbers(column.slice(2, 3), Cell("f4", (2,)))
    np.testing.assert_array_equal(values, np.array([[2, 2.5], [3, 3.5], [4, 4.5]], np.float32))


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        (pa.array([[1.0], [2.0, 3.0]], pa.list_(pa.float32())), Cell("f4", (2,))),
        (pa.array([[1.0, 2.0]], pa.list_(pa.float64())), Cell("f4", (2,))),
        (pa.array([1, 2], pa.int32()), Cell("i8")),
        (pa.array([1, None], pa.int64()), Cell("i8")),
    ],
)
def test_what_is_not_of_the_schema_is_refused(column: pa.Array, cell: Cell) -> None:
    with pytest.raises(IntegrityError):
        numbers(column, cell)


def test_booleans_and_empty_cells_come_back() -> None:
    flags = numbers(pa.array([1, 0], pa.uint8()), Cell("b1"))
    assert flags.dtype == bool
    assert flags.tolist() == [True, False]
    assert numbers(pa.array([b"", b""], pa.binary()), Cell("f4", (0, 3))).shape == (2, 0, 3)
    assert numbers(pa.array([], pa.list_(pa.float32())), Cell("f4", (2,))).shape == (0, 2)


def test_buffers_keep_what_they_gave() -> None:
    buffer = NumericBuffer(Cell("i8"), 1, fill=-1)
    buffer.append(pa.array([1, 2, 3], pa.int64()), None)
    buffer.append(pa.array([4, 5], pa.int64()), np.array([1, -1]))
    given = buffer.view(2)
    buffer.drop(2)
    buffer.set_last(pa.array([9], pa.int64()), 0)
    assert given.tolist() == [1, 2]
    assert buffer.view(3).tolist() == [3, 5, 9]
    texts = BytesBuffer()
    texts.append(pa.array([b"a", b"b"], pa.binary()), np.array([1, 0]))
    texts.set_last(pa.array([b"c"], pa.binary()), 0)
    assert texts.view(2) == [b"b", b"c"]


def test_infos_are_decoded_when_looked_at() -> None:
    buffer = ChunkedBuffer()
    buffer.append(pa.array([encode({"i": i}) for i in range(4)], pa.binary()), np.array([0, 2, 3]))
    infos = Infos(buffer.view(3))
    assert list(infos) == [{"i": 0}, {"i": 2}, {"i": 3}]
    assert infos[-1] == {"i": 3}
    assert list(infos[1:]) == [{"i": 2}, {"i": 3}]
    assert list(infos[np.array([True, False, True])]) == [{"i": 0}, {"i": 3}]
    assert np.asarray(infos)[1] == {"i": 2}
