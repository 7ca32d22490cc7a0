"""The one place where our errors become Temporal's: the code as type, the suggestion in the details."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from temporalio import activity
from temporalio.exceptions import ApplicationError, FailureError

from anabranch.context.values import Json
from anabranch.errors import AnabranchError, GraphError, Unavailable


@contextmanager
def as_application_errors(where: str = "") -> Generator[None]:
    """Turn AnabranchError into ApplicationError; the message begins with `where`.

    Other exceptions keep Temporal's defaults: type, message, stack trace, and retries.
    """
    try:
        yield
    except AnabranchError as error:
        # The cause may hold a request or a connection, and Temporal would write it into the history.
        raise application_error(error, where) from None
    except FailureError:
        raise
    except Exception as error:
        if (attempt := _attempt()) == 1:
            raise
        name = type(error).__name__
        raise ApplicationError(str(error), {"code": name, "attempt": attempt}, type=name) from error


def application_error(error: AnabranchError, where: str = "") -> ApplicationError:
    """The failure that enters the history: message, code, whether and when to try again, place and suggestion."""
    detail: dict[str, Json] = {
        "code": error.code,
        "place": str(error.place or where) or None,
        "suggestion": error.suggestion,
    }
    if (attempt := _attempt()) > 1:
        detail["attempt"] = attempt  # this attempt cannot know what earlier ones did
    if error.happened:
        detail["happened"] = True
    if isinstance(error, GraphError):
        detail["problems"] = [str(problem) for problem in error.problems]
    return ApplicationError(
        f"{where}: {error}" if where else str(error),
        detail,
        type=error.code,
        non_retryable=not error.retryable,
        next_retry_delay=error.retry_after if isinstance(error, Unavailable) else None,
    )


def _attempt() -> int:
    return activity.info().attempt if activity.in_activity() else 1
