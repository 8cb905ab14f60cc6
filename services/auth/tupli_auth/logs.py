"""Structured logs: JSON lines for machines, a readable form for terminals; what libraries log, too."""

import logging
import sys

import structlog
from structlog.typing import Processor


def configure_logging(*, form: str, level: str) -> None:
    """Send what is logged to stderr as `json` or `console`, from `level` (`debug` ... `error`) on."""
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # the other one shows what variables hold
        )
    )
    common: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    least = getattr(logging, level.upper())
    structlog.configure(
        processors=[*common, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *common],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    # Of libraries what is worth telling: for debugging Authlib logs whole tokens.
    logging.basicConfig(handlers=[handler], level=max(least, logging.INFO), force=True)
    for name in ("alembic", "uvicorn"):
        logging.getLogger(name).setLevel(max(least, logging.WARNING))
