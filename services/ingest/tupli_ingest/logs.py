"""Structured logs: JSON lines for machines, a readable form for terminals.

Every line carries its request's id.
"""

import logging
import sys
from contextvars import ContextVar
from typing import Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

request_id: Final[ContextVar[str]] = ContextVar("request_id", default="")


def configure_logging(*, form: str, level: str) -> None:
    """Send structlog to stderr as `json` or `console`, from `level` (`debug` ... `error`) on."""
    structlog.configure(
        processors=[*_COMMON, _renderer(form)],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def adopt_standard_logging(*, form: str, level: str) -> None:
    """Let what is logged through the standard library come out as the same lines.

    For a process of its own.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), _drop_colors, *_COMMON],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(form)],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def _renderer(form: str) -> Processor:
    if form == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())


def _add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if value := request_id.get():
        event["request_id"] = value
    return event


def _drop_colors(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Uvicorn says everything twice, the second time with colours for a terminal of its own."""
    event.pop("color_message", None)
    return event


_COMMON: Final[tuple[Processor, ...]] = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _add_request_id,
    structlog.processors.format_exc_info,
)
