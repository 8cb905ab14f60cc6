"""Settings that are misspelt are told at a process's start."""

from collections.abc import Iterable

import structlog
from pydantic_settings import BaseSettings

from tupli_schemas.variables import unknown_variables, variables_of


def tell_unknown_variables(
    given: Iterable[str], settings: Iterable[type[BaseSettings]], elsewhere: tuple[str, ...]
) -> None:
    """Warn of each variable of ours that nobody reads; never of what it holds, which may be a secret.

    Args:
        given: Names of all variables that are set.
        settings: What this process reads, its clients' aside.
        elsewhere: How names begin that other processes read.
    """
    by_class = (variables_of(one.model_config["env_prefix"], one.model_fields) for one in settings)
    known = set().union(*by_class)
    log = structlog.get_logger("tupli_ingest.settings")
    for name, nearest in unknown_variables(given, known, elsewhere).items():
        log.warning("unknown variable", variable=name, nearest=nearest, told="nothing reads it")
