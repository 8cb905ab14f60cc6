-- All times are Unix nanoseconds. first_received_at and last_received_at were in milliseconds: a number below
-- 10^15, which no time after 12 January 1970 is in nanoseconds. Therefore it may run twice.
-- scope: generation
ALTER TABLE {database}.streams
    UPDATE first_received_at = first_received_at * 1000000, last_received_at = last_received_at * 1000000
    WHERE last_received_at < 1000000000000000
    SETTINGS mutations_sync = 1;
