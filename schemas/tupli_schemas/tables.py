"""ClickHouse: names of databases and tables, the step table of a layout, and the pinned settings."""

from typing import Final

from tupli_schemas.steps import Layout

CONTROL_DATABASE: Final = "tupli"
GENERATION_PREFIX: Final = "tupli_g"


def generation_database(generation: int) -> str:
    """The database that holds one generation: `tupli_g1`."""
    return f"{GENERATION_PREFIX}{generation}"


FINAL_SETTINGS: Final[dict[str, int]] = {
    # A predicate or an index that is tried before FINAL has chosen would let a later duplicate win.
    "optimize_move_to_prewhere_if_final": 0,
    "use_skip_indexes_if_final_exact_mode": 1,
    "do_not_merge_across_partitions_select_final": 0,
    "apply_row_policy_after_final": 1,
}
INSERT_SETTINGS: Final[dict[str, int]] = {
    "async_insert": 0,
    "insert_deduplicate": 0,
    # A block is not merged with itself when it is written, which is half of an insert's work: FINAL and
    # merges do it.
    "optimize_on_insert": 0,
}

WIDE_PART_BYTES: Final = 64 * 1024 * 1024
"""Step rows of smaller parts stand in one file: a synced insert of many columns takes a quarter less time."""

STEP_COLUMNS: Final[tuple[tuple[str, str], ...]] = (
    ("benchmark", "FixedString(16)"),
    ("owner", "FixedString(16)"),
    ("episode", "FixedString(16)"),
    ("step", "UInt64 CODEC(DoubleDelta, LZ4)"),
    ("is_final", "UInt8"),
    ("reward", "Float64"),
    ("terminated", "UInt8"),
    ("truncated", "UInt8"),
    ("time", "Int64 CODEC(Delta, LZ4)"),
    ("info", "String CODEC(ZSTD(1))"),
    ("info_num", "Map(LowCardinality(String), Float64)"),
    ("info_int", "Map(LowCardinality(String), Int64)"),
    ("info_str", "Map(LowCardinality(String), String)"),
    ("info_other", "Array(LowCardinality(String))"),
    ("log_generation", "UInt32"),
    ("partition", "UInt32"),
    ("offset", "UInt64"),
)


def step_table_ddl(database: str, layout: Layout) -> str:
    """The statement that creates a layout's step table, when it is not there.

    First wins: of rows with one identity, FINAL keeps the greatest `v = bitNot(offset)`, the first in the
    log.
    """
    leaves = []
    for name, cell in layout.columns:
        codec = " CODEC(ZSTD(1))" if cell.is_opaque or cell.code in {"u1", "b1"} else ""
        leaves.append((name, cell.clickhouse_type + codec))
    columns = ",\n    ".join(f"{name} {kind}" for name, kind in (*STEP_COLUMNS, *leaves))
    return (
        f"CREATE TABLE IF NOT EXISTS {database}.{layout.table}\n(\n    {columns},\n"
        "    v UInt64 MATERIALIZED bitNot(offset)\n)\n"
        "ENGINE = ReplacingMergeTree(v)\nORDER BY (benchmark, owner, episode, step)\n"
        "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,\n"
        f"    min_bytes_for_wide_part = {WIDE_PART_BYTES}"
    )
