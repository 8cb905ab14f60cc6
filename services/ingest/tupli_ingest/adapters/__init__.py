"""What the ingest core meets in the world: SQLite, ClickHouse, files."""
