"""Logs of a command: to standard error, and only what its user must know. A worker logs JSON, but on a terminal."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
from collections.abc import MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import structlog
from temporalio import activity, workflow
from temporalio.exceptions import FailureError

from anabranch.display import plain
from anabranch.errors import AnabranchError
from anabranch.logs import redacted
from anabranch.settings import Settings
from anabranch.spans import code_of

Form = Literal["console", "json"]
_STYLE = re.compile(r"(\x1b\[[\d;]*m)")
_Entry = MutableMapping[str, Any]


def log_of_worker(settings: Settings) -> None:
    """Write what a worker logs, as its settings say."""
    by_reader: Form = "console" if sys.stderr.isatty() else "json"
    form = by_reader if settings.log_format == "auto" else settings.log_format
    log_to_stderr(logging.getLevelNamesMapping()[settings.log_level], own=settings.imports, form=form)


def log_to_stderr(level: int, own: Sequence[str] = (), *, form: Form = "console", of_runs: bool = True) -> None:
    """Write log entries of `level` (as in `logging`) and above to standard error, those of libraries from WARNING on.

    `own` are modules of the user, whose entries count as ours. All look alike, and none shows a secret. A command that
    shows its run itself leaves what runs tell out (`of_runs`).
    """
    os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")  # it would be printed into the drawing of a run
    of_every_entry: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        _in_utc if form == "json" else _on_the_clock,
    ]
    structlog.configure(
        processors=[*of_every_entry, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*of_every_entry, structlog.stdlib.ExtraAdder(), _of_temporal],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _expected,
            *(_JSON if form == "json" else _console()),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    for name in ("anabranch", *own):
        logging.getLogger(name.partition(".")[0]).setLevel(level)
    logging.getLogger("anabranch.run").setLevel(logging.NOTSET if of_runs else logging.CRITICAL)
    logging.captureWarnings(capture=True)
    # What runs it concerns is in fields of its own.
    activity.logger.activity_info_on_message = workflow.logger.workflow_info_on_message = False


def _in_utc(_logger: object, _method: str, entry: _Entry) -> _Entry:
    entry["timestamp"] = _time_of(entry).astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return entry


def _on_the_clock(_logger: object, _method: str, entry: _Entry) -> _Entry:
    entry["timestamp"] = _time_of(entry).strftime("%H:%M:%S")
    return entry


def _time_of(entry: _Entry) -> datetime:
    """When something happened, which may be before it is written."""
    record = entry.get("_record")
    return datetime.now().astimezone() if record is None else datetime.fromtimestamp(record.created, UTC).astimezone()


def _console() -> list[structlog.types.Processor]:
    # structlog's own traceback shows the values of local variables, payloads and secrets among them. Drawing it takes
    # seconds too, while the workflow or the event loop in whose thread it is written waits.
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    # Masked when tracebacks are text too.
    return [_one_line_each, renderer, redacted, _plain_but_for_styles]


def _of_temporal(_logger: object, _method: str, entry: _Entry) -> _Entry:
    """An entry of the SDK, or by its loggers, names the run as ours do."""
    entry.pop("__temporal_error_identifier", None)
    told = entry.pop("temporal_activity", None) or entry.pop("temporal_workflow", None)
    if isinstance(told, dict):
        ids = {"workflow_id": told.get("workflow_id"), "run_id": told.get("workflow_run_id") or told.get("run_id")}
        named = {"session_id": told.get("workflow_id"), **ids, "graph": told.get("workflow_type")}
        if "activity_id" in told:
            named |= {"node": told["activity_id"], "attempt": told.get("attempt")}
        for name, value in named.items():
            entry.setdefault(name, value)
    return entry


def _expected(_logger: object, _method: str, entry: _Entry) -> _Entry:
    """Of an error of ours, or of a business, the entry has the code. A traceback would say no more, and show values."""
    error = _error_of(entry.get("exc_info"))
    is_ours = type(error).__module__.startswith("anabranch.")
    if is_ours or isinstance(error, FailureError | asyncio.CancelledError):
        assert error is not None  # noqa: S101 - None is of no class of these
        del entry["exc_info"]
        entry["code"] = code_of(error)
        may_be_read = not isinstance(error, AnabranchError) or error.elsewhere or error.retryable
        if is_ours and may_be_read:
            entry["reason"] = str(error)
    return entry


def _error_of(info: Any) -> BaseException | None:
    if info is True:
        info = sys.exc_info()
    if isinstance(info, tuple):
        info = info[1]
    return info if isinstance(info, BaseException) else None


def _one_line_each(_logger: object, _method: str, entry: _Entry) -> _Entry:
    """No text of others begins another entry, or has a style."""
    shown = (
        (key, plain(value).replace("\n", "\\n") if isinstance(value, str) else value) for key, value in entry.items()
    )
    return dict(shown)


def _plain_but_for_styles(_logger: object, _method: str, text: Any) -> str:
    """The rendered entry, in which tracebacks are text of others too."""
    parts = _STYLE.split(text)  # every second one is a style
    return "".join(part if at % 2 else plain(part) for at, part in enumerate(parts))


def _masked_line(logger: object, method: str, line: Any) -> str:
    """What only the whole line shows to be a secret is masked, and it is JSON all the same."""
    masked: str = redacted(logger, method, line)
    if masked != line:
        try:
            json.loads(masked)
        except ValueError:
            return json.dumps({"event": masked})
    return masked


_JSON: list[structlog.types.Processor] = [redacted, structlog.processors.JSONRenderer(), _masked_line]
