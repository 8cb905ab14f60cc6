-- One row, from before the first record of the log was written into this generation: a store without it is not the one
-- that the consumer group of its generation has filled.
-- scope: generation
CREATE TABLE IF NOT EXISTS {database}.begun
(
    k UInt8,
    begun_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree
ORDER BY k
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
