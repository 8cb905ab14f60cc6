"""Files of exported batches hold exactly what was exported."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tupli.errors import InvalidInput
from tupli.export import export

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
