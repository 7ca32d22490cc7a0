"""Logs of a command: to standard error, and only what its user must know."""

from __future__ import annotations

import logging
import os
import sys

import structlog


def log_to_stderr(level: int) -> None:
    """Write log entries of `level` (as in `logging`) and above to standard error; ours and those of libraries."""
    os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")  # it would be printed into the drawing of a run
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(name)s: %(message)s", force=True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
