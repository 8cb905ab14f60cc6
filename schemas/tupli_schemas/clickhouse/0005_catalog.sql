-- The projection of the catalogue topic. version is 1 + offset of the command.
-- scope: generation
CREATE TABLE IF NOT EXISTS {database}.benchmarks
(
    id FixedString(16),
    owner FixedString(16),
    name String,
    descriptor String,
    hash String,
    description String,
    difficulty String,
    benchmark_version String,
    extra String,
    extra_num Map(LowCardinality(String), Float64),
    extra_int Map(LowCardinality(String), Int64),
    extra_str Map(LowCardinality(String), String),
    extra_other Array(LowCardinality(String)),
    created_at Int64,
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
