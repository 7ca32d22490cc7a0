"""The trace of a run, as workflow code makes it: whose span ids follow from who the run is.

A node's span is told when the node has ended, and what it does before is told below it. So any worker, and any replay,
must know the span's id from the start: it is a hash of the run, the node's address and how often the node has started.
A run that continues as new goes on with its one span.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from anabranch import spans
from anabranch.spans import Attribute, without_none

if TYPE_CHECKING:
    from collections.abc import Generator

    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext


class Place(NamedTuple):
    """A node by its address, and how often it has been started by then."""

    address: str
    started: int


RUN: Final = Place("", 1)
"""The run itself."""

fixed_ids: Final[ContextVar[tuple[int, int] | None]] = ContextVar("anabranch_span_ids", default=None)
"""The ids of the trace and the span that are made next, where they are not random."""

Sampler = Callable[["SpanContext | None", int], bool]
"""Whether the spans below one are recorded, or those of a new trace of this id."""
_samples: Sampler | None = None


def sample_by(sampler: Sampler | None) -> None:
    """Record the traces of runs that this takes; None takes none."""
    global _samples  # noqa: PLW0603 - a process has one tracer
    _samples = sampler


@dataclass(frozen=True, slots=True)
class RunTrace:
    """The trace of one run: `run` is the id of its first workflow run, `parent` the span that started it, if any."""

    run: str
    parent: SpanContext | None
    trace_id: int
    is_sampled: bool

    @classmethod
    def here(cls, run: str) -> Self | None:
        """The trace that workflow code of the run belongs to; None where none is recorded."""
        if _samples is None:
            return None
        from opentelemetry.trace import get_current_span

        found = get_current_span().get_span_context()
        parent = found if found.is_valid else None
        trace_id = _number(run, "trace", size=16) if parent is None else parent.trace_id
        return cls(run, parent, trace_id, _samples(parent, trace_id))

    @property
    def id(self) -> str:
        """As logs and other services have it."""
        return f"{self.trace_id:032x}"

    def below(self, place: Place) -> AbstractContextManager[None]:
        """What the block starts, activities and child workflows among it, is below the node's span."""
        return _attached(_context(self._span(place)))

    def of_node(
        self,
        name: str,
        place: Place,
        around: Place,
        *,
        began: int,
        code: str | None,
        attributes: Mapping[str, Attribute],
        ended: int | None = None,
    ) -> FinishedSpan:
        """The span of a node that began at `began` (nanoseconds), and ended at `ended`, or ends when it is noted."""
        own = self._span(place).span_id
        return FinishedSpan(own, self.trace_id, self._span(around), name, began, code, attributes, ended)

    def of_run(self, name: str, *, began: int, code: str | None, attributes: Mapping[str, Attribute]) -> FinishedSpan:
        """The span of the run."""
        return FinishedSpan(self._span(RUN).span_id, self.trace_id, self.parent, name, began, code, attributes)

    def _span(self, place: Place) -> SpanContext:
        from opentelemetry.trace import SpanContext, TraceFlags

        flags = TraceFlags(TraceFlags.SAMPLED if self.is_sampled else TraceFlags.DEFAULT)
        state = None if self.parent is None else self.parent.trace_state
        span_id = _number(self.run, *place, size=8)
        return SpanContext(self.trace_id, span_id, is_remote=True, trace_flags=flags, trace_state=state)


@dataclass(frozen=True, slots=True)
class FinishedSpan:
    """A span that ends when it is noted, or has ended before; see `notes.Note`."""

    span_id: int
    trace_id: int
    parent: SpanContext | None
    name: str
    began: int
    code: str | None
    """Of what failed."""
    attributes: Mapping[str, Attribute] = field(hash=False)
    ended: int | None = None
    """Nanoseconds."""

    @property
    def key(self) -> Hashable:
        """The span's id."""
        return self.span_id

    def tell(self, at: int) -> None:
        """Record it."""
        if (tracer := spans.tracer()) is None:
            return
        from opentelemetry.trace import StatusCode

        token = fixed_ids.set((self.trace_id, self.span_id))
        try:
            told = tracer.start_span(
                self.name, _context(self.parent), attributes=without_none(self.attributes), start_time=self.began
            )
        finally:
            fixed_ids.reset(token)
        if self.code is not None:
            told.set_status(StatusCode.ERROR, self.code)
        told.end(max(at if self.ended is None else self.ended, self.began))


def below(trace: RunTrace | None, place: Place) -> AbstractContextManager[None]:
    """What the block starts is below a node's span, where there is a trace."""
    return nullcontext() if trace is None else trace.below(place)


def beside(run: str, place: Place) -> AbstractContextManager[None]:
    """What the block starts is below the span of another node of a run than the one that is open here."""
    if spans.tracer() is None:
        return nullcontext()
    from opentelemetry.trace import SpanContext, get_current_span

    found = get_current_span().get_span_context()
    if not found.is_valid:
        return nullcontext()
    span_id = _number(run, *place, size=8)
    flags, state = found.trace_flags, found.trace_state
    return _attached(
        _context(SpanContext(found.trace_id, span_id, is_remote=True, trace_flags=flags, trace_state=state))
    )


def _number(*parts: object, size: int) -> int:
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=size).digest()
    return int.from_bytes(digest, "big") or 1  # ids of zero are none


def _context(span: SpanContext | None) -> Context:
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    return Context() if span is None else set_span_in_context(NonRecordingSpan(span), Context())


@contextmanager
def _attached(context: Context) -> Generator[None]:
    from opentelemetry import context as contexts

    token = contexts.attach(context)
    try:
        yield
    finally:
        with suppress(ValueError):  # a run that is evicted may end in another context, where nothing is attached
            token.var.reset(token)
