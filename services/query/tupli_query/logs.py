"""Structured logs of the process: JSON lines for machines, a readable form for terminals."""

import logging
import sys

import structlog


def configure_logging(*, form: str, level: str) -> None:
    """Send what is logged to stderr as `json` or `console`, from `level` (`debug` ... `error`) on."""
    as_text = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.ExtraAdder(),
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer() if form == "json" else as_text,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
