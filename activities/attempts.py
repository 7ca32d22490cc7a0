"""One attempt of an activity, as traces and logs have it: a span, and a line where it fails.

The line has the code of the error and, of an error that nobody foresaw, where it was raised. It has no message: that
may hold values, and is in the history. The SDK's own entry, a traceback with the message, is left out.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

from structlog.contextvars import bind_contextvars
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, FailureError

from anabranch import spans
from anabranch.errors import AnabranchError
from anabranch.spans import Attribute
from anabranch.transport.node_protocol import NodeTask

log = logging.getLogger("anabranch.run")

_SDK: Final = logging.getLogger("temporalio.activity")
_FRAMES: Final = 3
_is_told: Final = ContextVar("anabranch_attempt_told", default=False)


def node_attempt(info: activity.Info, task: NodeTask) -> AbstractContextManager[None]:
    """An attempt of a node."""
    kind = str(task.node.get("type"))
    told: dict[str, Attribute] = {
        "graph": task.run.graph,
        "node": task.address,
        "node_type": kind,
        "version": task.context.metadata.version,
    }
    return _attempt(info, kind, task.run.session_id, told)


def run_attempt(name: str) -> AbstractContextManager[None]:
    """An attempt of what a run has done beside its nodes."""
    info = activity.info()
    return _attempt(info, name, info.workflow_id or "", {"graph": info.workflow_type})


def told_before() -> None:
    """What this attempt fails with was told when it happened, in a segment."""
    _is_told.set(True)


def quiet_the_sdk() -> None:
    """Have the SDK not log the failures of attempts that were told here."""
    if not any(isinstance(each, _Untold) for each in _SDK.filters):
        _SDK.addFilter(_Untold())


class _Untold(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not (_is_told.get() and record.__dict__.get("__temporal_error_identifier") == "ActivityFailure")


@contextmanager
def _attempt(info: activity.Info, name: str, session_id: str, told: Mapping[str, Attribute]) -> Generator[None]:
    attributes = {f"anabranch.{key}": value for key, value in told.items()}
    with spans.span(
        name, {**attributes, "anabranch.session_id": session_id, "anabranch.attempt": info.attempt}
    ) as around:
        ids = {"session_id": session_id, "workflow_id": info.workflow_id, "run_id": info.workflow_run_id}
        fields = _known({**ids, **told, "attempt": info.attempt, "trace_id": spans.trace_id()})
        bind_contextvars(**fields)  # an attempt has an asyncio task of its own, and what is bound in it ends with it
        try:
            yield
        except asyncio.CancelledError:
            _is_told.set(True)
            log.info("Attempt was cancelled", extra=fields)
            raise
        except Exception as error:
            _is_told.set(True)
            around.note({"anabranch.code": spans.code_of(error)})
            _log_failure(error, fields)
            raise


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _log_failure(error: Exception, fields: Mapping[str, Any]) -> None:
    unforeseen = _unforeseen(error)
    if isinstance(error, ApplicationError) and error.category is ApplicationErrorCategory.BENIGN:
        level = logging.DEBUG
    else:
        level = logging.WARNING if unforeseen is None else logging.ERROR
    if log.isEnabledFor(level):
        where = None if unforeseen is None else _raised_at(unforeseen)
        log.log(level, "Attempt failed", extra=_known({**fields, "code": spans.code_of(error), "raised_at": where}))


def _unforeseen(error: Exception) -> BaseException | None:
    """The error that is no refusal and no failure of a business, if it is one."""
    if isinstance(error, AnabranchError | FailureError):
        return error.__cause__ if isinstance(error, ApplicationError) else None
    return error


def _raised_at(error: BaseException) -> list[str]:
    """The innermost places of a traceback, the last one first."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return [f"{Path(each.filename).name}:{each.lineno} in {each.name}" for each in reversed(frames)]
