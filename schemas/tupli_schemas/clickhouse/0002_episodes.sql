-- Facts about episodes, folded from the episodes topic alone. The row with the greatest version (1 + offset
-- of the last record that changed it) counts. Readers see steps below `prefix`.
-- scope: generation
CREATE TABLE IF NOT EXISTS {database}.episodes
(
    benchmark FixedString(16),
    owner FixedString(16),
    episode FixedString(16),
    slot UInt32,
    layout String,
    step_schema String,
    started_at Int64,
    ended_at Int64,
    received_at Int64,
    seed String,
    options String,
    reset_info String,
    run String,
    policy Nullable(String),
    environment String,
    versions String,
    metadata String,
    metadata_num Map(LowCardinality(String), Float64),
    metadata_int Map(LowCardinality(String), Int64),
    metadata_str Map(LowCardinality(String), String),
    metadata_other Array(LowCardinality(String)),
    publish_in Array(String),
    has_start UInt8,
    ended UInt8,
    terminated UInt8,
    truncated UInt8,
    aborted UInt8,
    discarded UInt8,
    reason String,
    n_steps UInt64,
    prefix UInt64,
    has_final UInt8,
    received Array(Tuple(UInt64, UInt64)),
    return Nullable(Float64),
    digest String,
    conflict UInt8,
    conflict_reason String,
    status LowCardinality(String),
    log_generation UInt32,
    partition UInt32,
    offset UInt64,
    ended_offset UInt64,
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (benchmark, owner, episode)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
