-- A generation that was filled before there were marks (0015) gets its own. One that was lost and made anew, a moment ago,
-- does not, whatever somebody who lived through that has written meanwhile.
-- scope: generation
INSERT INTO {database}.begun (k) SELECT 0 FROM {database}.streams WHERE
(SELECT min(applied_at) FROM {database}.migrations WHERE name = '0003_streams') < now() - INTERVAL 1 MINUTE LIMIT 1;
