"""Settings that are misspelt are told at a process's start."""

from collections.abc import Iterable

import structlog
from pydantic_settings import BaseSettings

from tupli_schemas.variables import unknown_variables


def tell_unknown_variables(
    given: Iterable[str], settings: Iterable[type[BaseSettings]], elsewhere: tuple[str, ...]
) -> None:
    """Warn of each variable of ours that nobody reads; never of what it holds, which may be a secret.

    Args:
        given: Names of all variables that are set.
        settings: What this process reads, its clients' aside.
        elsewhere: How names begin that other processes read.
    """
    known = {name for one in settings for name in variables_of(one)}
    log = structlog.get_logger("tupli_ingest.settings")
    for name, nearest in unknown_variables(given, known, elsewhere).items():
        log.warning("unknown variable", variable=name, nearest=nearest, told="nothing reads it")


def variables_of(settings: type[BaseSettings]) -> set[str]:
    """The variables that settings are read from."""
    prefix = settings.model_config["env_prefix"]
    return {f"{prefix}{name}".upper() for name in settings.model_fields}
