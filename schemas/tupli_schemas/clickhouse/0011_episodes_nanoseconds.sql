-- All times are Unix nanoseconds. received_at was in milliseconds: a number below 10^15, which no
-- time after 12 January 1970 is in nanoseconds. Therefore it may run twice.
-- scope: generation
ALTER TABLE {database}.episodes
    UPDATE received_at = received_at * 1000000
    WHERE received_at < 1000000000000000
    SETTINGS mutations_sync = 1;
