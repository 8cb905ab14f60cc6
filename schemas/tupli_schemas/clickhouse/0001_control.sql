-- Which generation serves. One row counts: the greatest version.
-- scope: control
CREATE TABLE IF NOT EXISTS {control}.serving
(
    k UInt8,
    generation UInt32,
    switched_at DateTime64(3, 'UTC'),
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY k
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
