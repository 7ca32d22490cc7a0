"""Logs of a command: to standard error, and only what its user must know."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import structlog

from anabranch.display import plain
from anabranch.logs import redacted

_STYLE = re.compile(r"(\x1b\[[\d;]*m)")


def log_to_stderr(level: int, own: Sequence[str] = ()) -> None:
    """Write log entries of `level` (as in `logging`) and above to standard error, those of libraries from WARNING on.

    `own` are modules of the user, whose entries count as ours. All look alike, and none shows a secret.
    """
    os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")  # it would be printed into the drawing of a run
    of_every_entry: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
    ]
    structlog.configure(
        processors=[*of_every_entry, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=of_every_entry,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _one_line_each,
            # structlog's own traceback shows the values of local variables, payloads and secrets among them. Drawing it
            # takes seconds too, while the workflow or the event loop in whose thread it is written waits.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
            redacted,  # when tracebacks are text too
            _plain_but_for_styles,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    for name in ("anabranch", *own):
        logging.getLogger(name.partition(".")[0]).setLevel(level)
    logging.captureWarnings(capture=True)


def _one_line_each(_logger: object, _method: str, entry: structlog.types.EventDict) -> structlog.types.EventDict:
    """No text of others begins another entry, or has a style."""
    shown = (
        (key, plain(value).replace("\n", "\\n") if isinstance(value, str) else value) for key, value in entry.items()
    )
    return dict(shown)


def _plain_but_for_styles(_logger: object, _method: str, text: Any) -> str:
    """The rendered entry, in which tracebacks are text of others too."""
    parts = _STYLE.split(text)  # every second one is a style
    return "".join(part if at % 2 else plain(part) for at, part in enumerate(parts))
