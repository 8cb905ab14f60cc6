"""Batches of vector environments, cut into the columns of their slots."""

import numpy as np
import pytest

from tupli.recording.vector_values import batch_leaves, cast_as_batched, first_slot, slot_value
from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.spaces import structure_of_value

BATCH = np.ma.MaskedArray(np.arange(4.0).reshape(2, 2), mask=np.array([[False, True], [False, False]]))


def test_a_batch_that_is_always_masked_keeps_its_masks() -> None:
    structure = structure_of_value(slot_value({"type": "Box"}, BATCH, 0))
    (cells,) = batch_leaves(structure, BATCH, 2)
    rows = [structure.unflatten([cell]) for cell in cells]
    assert [np.ma.getmaskarray(row).tolist() for row in rows] == BATCH.mask.tolist()
    assert [row.data.tolist() for row in rows] == [[0.0, 1.0], [2.0, 3.0]]


def test_a_mask_that_comes_where_none_was_is_refused() -> None:
    structure = structure_of_value(np.zeros(2))
    with pytest.raises(SchemaMismatch, match="masked"):
        batch_leaves(structure, BATCH, 2, "observation")


def test_a_masked_value_is_not_cast() -> None:
    assert isinstance(
        cast_as_batched(structure_of_value(np.zeros(2, np.float32)), BATCH[0]), np.ma.MaskedArray
    )


def test_the_first_slots_mask_is_kept() -> None:
    assert first_slot({"logprob": BATCH})["logprob"].mask.tolist() == [False, True]
