"""Brings a database to this version; several processes may begin at once."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tupli_auth.adapters.database import Database
from tupli_auth.core.errors import UnfitSetting

_FOLDER: Final = Path(__file__).parent / "migrations"


def migrate(database: Database) -> str:
    """Run what has not run, all of it or nothing; the version that the database is at.

    Raises:
        Unavailable: The database does not answer.
        UnfitSetting: It was brought further by a newer program.
    """
    config = Config(attributes={})
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with database.alone() as connection:
        at = MigrationContext.configure(connection).get_current_revision()
        if at is not None and at not in known:
            raise UnfitSetting(
                f"the database is at version {at}, of a newer program: this one knows none after it"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return str(MigrationContext.configure(connection).get_current_revision())
