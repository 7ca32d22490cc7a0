"""Where errors of our activities become Temporal's: the code as type, the suggestion in the details."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from temporalio import activity
from temporalio.exceptions import ApplicationError, FailureError

from anabranch.errors import AnabranchError, InputError
from anabranch.transport.failures import application_error, attempt_now


@contextmanager
def as_application_errors(where: str = "", *, elsewhere_seconds: float = 0) -> Generator[None]:
    """Turn AnabranchError into ApplicationError, whose details say `where`.

    For `elsewhere_seconds` the run looks for another worker where this one lacks something.

    Other exceptions keep Temporal's defaults: type, message, stack trace, and retries.
    """
    try:
        yield
    except AnabranchError as error:
        # The cause may hold a request or a connection, and Temporal would write it into the history.
        raise application_error(error, where, elsewhere_seconds=elsewhere_seconds) from None
    except FailureError:
        raise
    except Exception as error:
        if (attempt := attempt_now()) == 1:
            raise
        name = type(error).__name__
        raise ApplicationError(str(error), {"code": name, "attempt": attempt}, type=name) from error


def refuse_outside_of_runs(info: activity.Info) -> None:
    """Refuse an activity that no workflow started: whoever may start those could bring any node, any context."""
    if not info.in_workflow:
        error = InputError(f"the activity {info.activity_type!r} is a part of a run", suggestion="start a graph")
        raise application_error(error)
