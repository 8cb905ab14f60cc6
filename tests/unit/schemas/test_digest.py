"""The digest depends on the rows alone, not on how they were cut, and on every part of them."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tupli_schemas.digest import EpisodeDigest
from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.steps import Layout, as_cells

LAYOUT = Layout.parse("o=f4[3]|raw;a=i8[];x=b1[2]")


def episode(count: int, seed: int = 0) -> pa.RecordBatch:
    """`count` rows of an episode, the last one final."""
    rng = np.random.default_rng(seed)
    is_final = np.zeros(count, "u1")
    is_final[-1:] = 1
    columns = {
        "episode": np.full(count, 7, "u4"),
        "step": np.arange(count, dtype="u8"),
        "is_final": is_final,
        "reward": rng.random(count),
        "terminated": np.zeros(count, "u1"),
        "truncated": np.zeros(count, "u1"),
        "time": np.arange(count),
        "info": pa.array([b"{}" if i % 3 else b'{"a":%d}' % i for i in range(count)], pa.binary()),
        "o0": as_cells(rng.random((count, 3), "f4"), LAYOUT.observation[0]),
        "o1": pa.array([bytes(i % 5) for i in range(count)], pa.binary()),
        "a0": rng.integers(0, 9, count),
        "x0": as_cells(rng.random((count, 2)) < 0.5, LAYOUT.extra[0]),
    }
    return pa.record_batch(columns, schema=LAYOUT.arrow_schema)


def digest_of(*batches: pa.RecordBatch) -> str:
    digest = EpisodeDigest(LAYOUT)
    for batch in batches:
        digest.update(batch)
    return digest.hexdigest()


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([1, 5, 1023, 1024, 1025, 2048, 2500]), st.lists(st.integers(0, 2500), max_size=6))
def test_cuts_do_not_matter(count: int, cuts: list[int]) -> None:
    batch = episode(count)
    places = sorted({0, count, *(cut for cut in cuts if cut < count)})
    parts = [batch.slice(a, b - a) for a, b in pairwise(places)]
    assert digest_of(*parts) == digest_of(batch)


@pytest.mark.parametrize("name", [field.name for field in LAYOUT.arrow_schema])
def test_every_column_counts_but_the_ordinal_of_the_episode(name: str) -> None:
    batch = episode(10)
    index = batch.schema.get_field_index(name)
    other = episode(10, seed=1)
    changed = {
        "step": None,
        "info": pa.array([b"{}"] * 10, pa.binary()),
        "o1": pa.array([b"x"] * 10, pa.binary()),
    }
    column = changed.get(name, other.column(index))
    if name in ("is_final", "terminated", "truncated"):
        column = pa.array(np.ones(10, "u1"))
    if name == "time":
        column = pa.array(np.arange(1, 11))
    if name == "episode":
        column = pa.array(np.full(10, 8, "u4"))
    if column is None:
        return
    different = batch.set_column(index, batch.schema.field(index), column)
    assert (digest_of(different) == digest_of(batch)) is (name == "episode")


def test_where_one_cell_of_bytes_ends_counts() -> None:
    layout = Layout.parse("o=raw;a=;x=")
    rows = episode(2).select([field.name for field in layout.arrow_schema][:-1])
    digests = set()
    for cells in ([b"ab", b"c"], [b"a", b"bc"], [b"abc", b""]):
        digest = EpisodeDigest(layout)
        digest.update(rows.append_column("o0", pa.array(cells, pa.binary())))
        digests.add(digest.hexdigest())
    assert len(digests) == 3


def test_order_and_further_columns_do_not_matter() -> None:
    batch = episode(20)
    names = batch.schema.names[::-1]
    more = batch.select(names).append_column("offset", pa.array(range(20)))
    assert digest_of(more) == digest_of(batch)


def test_the_layout_counts() -> None:
    assert EpisodeDigest(LAYOUT).hexdigest() != EpisodeDigest(Layout.parse("o=;a=;x=")).hexdigest()


def test_the_digest_of_a_fixed_episode_never_changes() -> None:
    """Digests are kept for good: another value here means that stored ones no longer match."""
    assert digest_of(fixed_episode()) == "ba4dbb0b3891a03e4d382fb8a60ce7a7"


def fixed_episode() -> pa.RecordBatch:
    """Rows that no random generator has a part in."""
    count = 1030
    columns = {name: np.arange(count) % 2 for name in ("is_final", "terminated", "truncated")}
    return (
        pa.record_batch(
            {
                "episode": np.ones(count, "u4"),
                "step": np.arange(count, dtype="u8"),
                **{name: column.astype("u1") for name, column in columns.items()},
                "reward": np.arange(count) / 8,
                "time": np.arange(count),
                "info": pa.array([b'{"a":%d}' % i for i in range(count)], pa.binary()),
                "o0": as_cells(
                    (np.arange(count * 3) / 4).reshape(count, 3).astype("f4"), LAYOUT.observation[0]
                ),
                "o1": pa.array([b"x" * (i % 5) for i in range(count)], pa.binary()),
                "a0": np.arange(count),
                "x0": as_cells((np.arange(count * 2) % 3 == 0).reshape(count, 2), LAYOUT.extra[0]),
            },
            schema=None,
        )
        .select(LAYOUT.arrow_schema.names)
        .cast(LAYOUT.arrow_schema)
    )


@pytest.mark.parametrize(
    "batch",
    [
        episode(3).slice(1),
        pa.concat_batches([episode(2), episode(2)]),
        episode(3).drop_columns(["o1"]),
        episode(3).set_column(3, "reward", pa.array(np.zeros(3, "f4"))),
        episode(3).set_column(3, "reward", pa.array([1.0, None, 2.0])),
        pa.concat_batches([episode(1), episode(5).slice(4)]),
    ],
)
def test_rows_that_are_not_the_episodes_are_refused(batch: pa.RecordBatch) -> None:
    with pytest.raises(SchemaMismatch):
        digest_of(batch)
