"""Spans: what a process does for a run, as OpenTelemetry has it. Nothing is recorded until `record_to` names a tracer.

OpenTelemetry is imported by then only: a process without traces does not pay for it. No span holds a value, the text
of an error, a statement or a query: what failed is told by its code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from opentelemetry.trace import Span as Recorded
    from opentelemetry.trace import Tracer

Kind = Literal["internal", "client", "consumer", "producer"]
Attribute = str | int | float | bool | None
"""None is left out."""

TRACE_HEADERS: Final = ("traceparent", "tracestate")

_tracer: Tracer | None = None


def record_to(tracer: Tracer | None) -> None:
    """Record by this tracer from now on, in the whole process; None records nothing."""
    global _tracer  # noqa: PLW0603 - a process has one tracer
    _tracer = tracer


def tracer() -> Tracer | None:
    """The tracer of this process."""
    return _tracer


class Span:
    """A span that is open; this one records nothing."""

    __slots__ = ()

    def note(self, attributes: Mapping[str, Attribute]) -> None:
        """Add attributes."""


class _Nothing(AbstractContextManager[Span]):
    def __enter__(self) -> Span:
        return _SILENT

    def __exit__(self, *_: object) -> None:
        pass


class _Open(Span):
    __slots__ = ("_recorded",)

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded

    def note(self, attributes: Mapping[str, Attribute]) -> None:
        self._recorded.set_attributes(without_none(attributes))


_SILENT: Final = Span()
_NOTHING: Final = _Nothing()


def span(
    name: str, attributes: Mapping[str, Attribute] | None = None, *, kind: Kind = "internal"
) -> AbstractContextManager[Span]:
    """A span around the block, below the one that is open here. An error that leaves the block is told by its code."""
    return _NOTHING if _tracer is None else _recorded(_tracer, name, attributes or {}, kind)


@contextmanager
def _recorded(by: Tracer, name: str, attributes: Mapping[str, Attribute], kind: Kind) -> Generator[Span]:
    from opentelemetry.trace import SpanKind, StatusCode, use_span

    opened = by.start_span(name, kind=SpanKind[kind.upper()], attributes=without_none(attributes))
    with use_span(opened, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield _Open(opened)
        except asyncio.CancelledError:
            opened.set_attribute("anabranch.outcome", "cancelled")
            raise
        except Exception as error:
            opened.set_status(StatusCode.ERROR, code_of(error))
            raise


@contextmanager
def unrecorded() -> Generator[None]:
    """What the block does belongs to no run: none of its spans is recorded."""
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

    unsampled = SpanContext(trace_id=1, span_id=1, is_remote=False)
    with use_span(NonRecordingSpan(unsampled)):
        yield


class Started:
    """A span that is open, and that nothing is below."""

    __slots__ = ("_recorded",)

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded

    def end(self, error: BaseException | None = None) -> None:
        """Record it, with what has failed."""
        if error is not None:
            from opentelemetry.trace import StatusCode

            self._recorded.set_status(StatusCode.ERROR, code_of(error))
        self._recorded.end()


def start(name: str, attributes: Mapping[str, Attribute], *, kind: Kind = "internal") -> Started | None:
    """A span below the one that is open here, to be ended somewhere else; None where nothing is recorded."""
    if _tracer is None:
        return None
    from opentelemetry.trace import SpanKind

    return Started(_tracer.start_span(name, kind=SpanKind[kind.upper()], attributes=without_none(attributes)))


def code_of(error: BaseException) -> str:
    """By which an error is told: its code, Temporal's type of it, or the name of its class. It holds no value."""
    for known in (getattr(error, "code", None), getattr(error, "type", None)):
        if isinstance(known, str) and known:
            return known
    return type(error).__name__


def without_none(attributes: Mapping[str, Attribute]) -> dict[str, str | int | float | bool]:
    """The attributes that have a value."""
    return {name: value for name, value in attributes.items() if value is not None}


def headers() -> dict[str, str]:
    """The headers (W3C Trace Context) by which another service continues the trace; none without one."""
    if _tracer is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carried: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carried)
    return carried


@contextmanager
def continued(carried: Mapping[str, str]) -> Generator[None]:
    """Spans of the block continue the trace of these headers, if they hold one."""
    if _tracer is None:
        yield
        return
    from opentelemetry import context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    token = context.attach(TraceContextTextMapPropagator().extract(carried, context.Context()))
    try:
        yield
    finally:
        context.detach(token)


def trace_id() -> str | None:
    """The id of the trace that is open here, in hexadecimal."""
    if _tracer is None:
        return None
    from opentelemetry.trace import format_trace_id, get_current_span

    found = get_current_span().get_span_context()
    return format_trace_id(found.trace_id) if found.is_valid else None
