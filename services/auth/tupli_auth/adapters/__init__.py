"""The database, the keys that sign, and the hashing of passwords."""
