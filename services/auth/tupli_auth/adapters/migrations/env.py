"""Runs migrations on the connection that `migrate` gives, in its transaction."""

from alembic import context

from tupli_auth.adapters.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
