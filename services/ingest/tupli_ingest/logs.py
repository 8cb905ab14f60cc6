"""Structured logs: JSON lines for machines, a readable form for terminals.

Every line carries the name of its service, and the ids of its request and its trace, where it has them.
"""

import logging
import sys
from contextvars import ContextVar
from typing import Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

request_id: Final[ContextVar[str]] = ContextVar("request_id", default="")
trace_id: Final[ContextVar[str]] = ContextVar("trace_id", default="")

DEFAULT_SERVICE: Final = "tupli"


def configure_logging(*, form: str, level: str, service: str = DEFAULT_SERVICE) -> None:
    """Send structlog to stderr as `json` or `console`, from `level` (`debug` ... `error`) on."""
    structlog.configure(
        processors=[*_common(service), _renderer(form)],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def adopt_standard_logging(*, form: str, level: str, service: str = DEFAULT_SERVICE) -> None:
    """Let what is logged through the standard library come out as the same lines.

    For a process of its own.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), _drop_colors, *_common(service)],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(form)],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def _renderer(form: str) -> Processor:
    if form == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())


def _add_ids(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What the line's caller has said of itself goes before."""
    if value := request_id.get():
        event.setdefault("request_id", value)
    if value := trace_id.get():
        event.setdefault("trace_id", value)
    return event


def _drop_colors(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Uvicorn says everything twice, the second time with colours for a terminal of its own."""
    event.pop("color_message", None)
    return event


def _common(service: str) -> tuple[Processor, ...]:
    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    return (
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        _add_ids,
        structlog.processors.format_exc_info,
    )
