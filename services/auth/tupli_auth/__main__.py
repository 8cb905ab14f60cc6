"""`python -m tupli_auth serve | migrate | rotate-key`: the auth service, and what its operator does by hand."""

import argparse
import json
import os
import sys
from collections.abc import Sequence

import structlog
from pydantic import ValidationError

from tupli_auth.adapters.database import Database
from tupli_auth.adapters.migrate import migrate
from tupli_auth.adapters.sealing import Sealer
from tupli_auth.adapters.signing_keys import KeyTimes, SigningKeys
from tupli_auth.app import AuthParts, make_app
from tupli_auth.clock import now_ms
from tupli_auth.core.errors import AuthError
from tupli_auth.logs import configure_logging
from tupli_auth.serving import serve
from tupli_auth.settings import AuthSettings
from tupli_schemas.addresses import port
from tupli_schemas.problems import error_document
from tupli_schemas.variables import unknown_variables, variables_of, wrong_variables


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of them; 0 when it was asked to end, 2 for what cannot start."""
    given = _parser().parse_args(arguments)
    try:
        settings = AuthSettings.from_environment()
        configure_logging(form=settings.log_format, level=settings.log_level)
        _tell_unknown_variables()
        return int(given.run(given, settings))
    except ValidationError as error:
        return _refused(given, error, wrong_variables(error, (AuthSettings,)))
    except (AuthError, OSError) as error:
        return _refused(given, error, str(error))


def _refused(given: argparse.Namespace, error: Exception, detail: str) -> int:
    told = (
        json.dumps(error_document(error, detail)) if given.json else f"tupli_auth {given.command}: {detail}"
    )
    sys.stderr.write(told + "\n")
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tupli_auth", description="Who is calling a Tupli deployment.")
    parser.add_argument("--json", action="store_true", help="tell also what goes wrong as JSON")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="serve OAuth 2.0 and the pages for people")
    serving.add_argument("--host", default="127.0.0.1")
    serving.add_argument("--port", type=port, default=8083)
    serving.set_defaults(run=_serve)
    commands.add_parser("migrate", help="bring the database to this version").set_defaults(run=_migrate)
    rotate = commands.add_parser("rotate-key", help="make the key that signs next")
    rotate.add_argument(
        "--now", action="store_true", help="it signs at once; services learn of it when they see it"
    )
    rotate.set_defaults(run=_rotate)
    return parser


def _serve(given: argparse.Namespace, settings: AuthSettings) -> int:
    parts = AuthParts(settings)
    try:
        if link := parts.start():
            # Not by the log: it may be kept for long, and read by many.
            sys.stdout.write(
                f"The administrator {settings.administrator!r} has no password yet. Set it once: {link}\n"
            )
            sys.stdout.flush()
        return serve(make_app(parts), given.host, given.port)
    finally:
        parts.close()


def _migrate(_: argparse.Namespace, settings: AuthSettings) -> int:
    database = Database(settings.database)
    try:
        sys.stdout.write(json.dumps({"version": migrate(database)}) + "\n")
    finally:
        database.close()
    return 0


def _rotate(given: argparse.Namespace, settings: AuthSettings) -> int:
    database = Database(settings.database)
    try:
        with database.transaction() as connection:
            keys = SigningKeys(connection, Sealer(settings.secret.get_secret_value()))
            kid = keys.rotate(now_ms(), ahead_ms=0 if given.now else KeyTimes().ahead_ms)
    finally:
        database.close()
    sys.stdout.write(json.dumps({"kid": kid}) + "\n")
    return 0


def _tell_unknown_variables() -> None:
    """Warn of each variable of ours that nobody reads; never of what it holds."""
    known = variables_of("TUPLI_AUTH_", AuthSettings.model_fields)
    elsewhere = ("TUPLI_INGEST_", "TUPLI_QUERY_", "TUPLI_KAFKA_", "TUPLI_CLICKHOUSE_")
    for name, nearest in unknown_variables(os.environ, known, elsewhere).items():
        structlog.get_logger("tupli_auth.settings").warning(
            "unknown variable", variable=name, nearest=nearest
        )


if __name__ == "__main__":
    sys.exit(main())
