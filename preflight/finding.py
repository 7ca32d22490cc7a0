"""`Finding`: one thing that is not as it should be before a worker serves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from anabranch.errors import AnabranchError, GraphError, SourceLocation


@dataclass(frozen=True, slots=True)
class Finding:
    """A code of `anabranch/errors.py` or of a graph check, a sentence, where, and what to do about it."""

    code: str
    message: str
    place: SourceLocation | str | None = None
    suggestion: str | None = None
    may_pass: bool = False
    """Waiting may help, or another worker: a server is down, this worker lacks something."""


def findings_of(error: AnabranchError, place: SourceLocation | str | None = None) -> Iterator[Finding]:
    """What an error says, each problem of a `GraphError` apart; at `place`, where it has none of its own."""
    if isinstance(error, GraphError):
        for problem in error.problems:
            if not problem.warning:
                yield Finding(problem.code, problem.message, problem.place or place, problem.suggestion)
        return
    may_pass = error.retryable or error.elsewhere
    yield Finding(error.code, error.message, error.place or place, error.suggestion, may_pass)
