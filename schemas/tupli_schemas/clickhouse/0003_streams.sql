-- Facts about recording streams, folded from the episodes topic alone: owner and numbers that have come.
-- scope: generation
CREATE TABLE IF NOT EXISTS {database}.streams
(
    stream FixedString(16),
    owner FixedString(16),
    received Array(Tuple(UInt64, UInt64)),
    open_episodes Array(UInt32),
    first_received_at Int64,
    last_received_at Int64,
    log_generation UInt32,
    partition UInt32,
    offset UInt64,
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY stream
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
