"""The embedded composition root: ingest and query in one process on loopback (`tupli up`)."""
