"""The one place where errors of ours become Temporal's, with the code as type and what to do in the details."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio import activity
from temporalio.exceptions import ApplicationError

from context.values import Json
from errors import AnabranchError, GraphError, Unavailable


@contextmanager
def as_application_errors(where: str = "") -> Iterator[None]:
    """Turn AnabranchError into ApplicationError; `where` is said first. Other exceptions keep Temporal's defaults."""
    try:
        yield
    except AnabranchError as error:
        # The cause may hold a request or a connection, and Temporal would write it into the history.
        raise application_error(error, where) from None


def application_error(error: AnabranchError, where: str = "") -> ApplicationError:
    """The failure that enters the history: message, code, whether and when to try again, place and suggestion."""
    detail: dict[str, Json] = {
        "code": error.code,
        "place": str(error.place or where) or None,
        "suggestion": error.suggestion,
    }
    if activity.in_activity() and activity.info().attempt > 1:
        detail["attempt"] = activity.info().attempt  # what earlier ones did, this one cannot know
    if isinstance(error, GraphError):
        detail["problems"] = [str(problem) for problem in error.problems]
    return ApplicationError(
        f"{where}: {error}" if where else str(error),
        detail,
        type=error.code,
        non_retryable=not error.retryable,
        next_retry_delay=error.retry_after if isinstance(error, Unavailable) else None,
    )
