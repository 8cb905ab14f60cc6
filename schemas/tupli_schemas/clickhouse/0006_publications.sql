-- Who published what where. A row takes effect only for objects that `subject` owns: joined at query time.
-- scope: generation
CREATE TABLE IF NOT EXISTS {database}.publications
(
    kind LowCardinality(String),
    id FixedString(16),
    scope String,
    subject FixedString(16),
    published UInt8,
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (kind, id, scope, subject)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
