-- How large an episode's header is, for readers that take headers in portions of bytes: to ask is as cheap as a
-- number. Rows that were written before are measured when they are read.
-- scope: generation
ALTER TABLE {database}.episodes
    ADD COLUMN IF NOT EXISTS header_bytes UInt64 MATERIALIZED
        length(seed) + length(options) + length(reset_info) + length(run) + length(ifNull(policy, ''))
        + length(environment) + length(versions) + length(metadata) + length(arrayStringConcat(publish_in))
        + length(reason) + length(conflict_reason);
