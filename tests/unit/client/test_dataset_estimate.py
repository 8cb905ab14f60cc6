"""What a dataset takes is told in units that people read."""

import pytest

from tupli.datasets.estimate import loaded_bytes, size_text
from tupli_schemas.steps import Cell, Leaf, StepSchema


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (24_500_000, "24.5 MB"),
        (3_200_000_000_000, "3,200.0 GB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


def test_a_row_has_its_observation_twice() -> None:
    def row(cell: str) -> int:
        return loaded_bytes(StepSchema((Leaf("", Cell.parse(cell)),), (Leaf("", Cell("i8")),)))

    assert row("f4[17]") - row("f4[]") == 2 * 16 * 4
    assert row("raw") > row("f8[]")
