"""A span for each statement of an engine: its first word and the kind of database, never the statement or its binds."""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine

from anabranch import spans

_WORD: Final = re.compile(r"[A-Za-z]+")
_OPEN: Final = "anabranch_span"
"""Where a connection keeps the span of the statement that it executes: one at a time."""


def trace_statements(engine: AsyncEngine) -> None:
    """Have a span for each statement, if this process has traces."""
    if spans.tracer() is None:
        return
    event.listen(engine.sync_engine, "before_cursor_execute", _begin)
    event.listen(engine.sync_engine, "after_cursor_execute", _end)
    event.listen(engine.sync_engine, "handle_error", _fail)


def _begin(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
    found = _WORD.search(statement)
    word = found[0].upper() if found else "SQL"
    names: dict[str, spans.Attribute] = {"db.system.name": connection.dialect.name, "db.operation.name": word}
    connection.info[_OPEN] = spans.start(word, names, kind="client")


def _end(connection: Connection, *_: Any) -> None:
    started: spans.Started | None = connection.info.pop(_OPEN, None)
    if started is not None:
        started.end()


def _fail(failed: ExceptionContext) -> None:
    if failed.connection is None:
        return
    started: spans.Started | None = failed.connection.info.pop(_OPEN, None)
    if started is not None:
        started.end(failed.original_exception)
