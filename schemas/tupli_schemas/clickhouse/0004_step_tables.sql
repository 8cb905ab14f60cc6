-- The step tables of this generation and the layouts they hold.
-- scope: generation
CREATE TABLE IF NOT EXISTS {database}.step_tables
(
    name String,
    layout String
)
ENGINE = ReplacingMergeTree
ORDER BY name
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
