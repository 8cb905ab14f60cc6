-- Which generation is being filled to serve next (0: none), and why one that was being filled is not any more.
-- scope: control
ALTER TABLE {control}.serving
    ADD COLUMN IF NOT EXISTS filling UInt32 DEFAULT 0,
    ADD COLUMN IF NOT EXISTS note String DEFAULT '';
