"""The database's migrations (Alembic), numbered; they go forward only."""
