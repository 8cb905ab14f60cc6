-- Readiness inserts a row here: the first insert of a process takes a second, and a full disk shows.
-- scope: control
CREATE TABLE IF NOT EXISTS {control}.probe
(
    k UInt8,
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY k
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
