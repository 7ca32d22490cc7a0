"""What a worker says of an error: ours by its code, and whether a node had its effect before it failed.

And what it hears of one, whatever the details hold.

A node's result is encoded after its activity has returned: by a codec, into a payload store. What fails there is turned
into a failure by the converter alone, and only a mark in the activity's own context tells it that the node has run.
"""

from __future__ import annotations

import copy
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, ClassVar, Final, Self

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import (
    DefaultFailureConverter,
    FailureConverter,
    PayloadConverter,
    SerializationContext,
    WithSerializationContext,
)
from temporalio.exceptions import (
    ApplicationError,
    ApplicationErrorCategory,
    FailureError,
    TimeoutError,  # noqa: A004 - Temporal's own name
    TimeoutType,
)

from anabranch.context.values import Json
from anabranch.context.wire import is_plain
from anabranch.errors import AnabranchError, EncryptionKeyMissing, GraphError, NotYet, TurnNotYet, Unavailable
from anabranch.limits import KEY_SECONDS
from anabranch.transport.undecodable import reason_of

UNDECODABLE: Final = "undecodable"
"""The key of the object that stands for a detail which cannot be decoded."""
ELSEWHERE: Final = "elsewhere_seconds"
"""In the details of a failure: for how long it is worth looking for a worker that has what this one lacks."""
TURN: Final = "turn"
"""In the details of a failure: what a node waits for before it may begin."""
ENCODED_MESSAGE: Final = "Encoded failure"
"""What stands for a message that is a payload; the SDK's own words."""
_DETAILS: Final = 32
"""Levels of JSON that an error may tell."""
_TRACEBACK: Final = 8_000
"""Characters of a traceback, the last ones."""
_EXPECTED: Final = ApplicationErrorCategory.BENIGN
"""No failure to logs and metrics."""
_ran: Final = ContextVar("anabranch_node_that_ran", default="")


def mark_ran(where: str) -> None:
    """Whatever fails in this activity from now on, the node `where` has had its effect."""
    _ran.set(where)


def application_error(
    error: AnabranchError, where: str = "", *, elsewhere_seconds: float = 0, says_where: bool = False
) -> ApplicationError:
    """The failure that enters the history: message, code, whether and when to try again, place and suggestion.

    What this worker lacks is not tried again by it: for `elsewhere_seconds` the run looks for another one.
    Only there, or where asked to, does the message say `where`: expressions read it, and a dry run has the same.
    """
    detail: dict[str, Json] = {
        "code": error.code,
        "place": str(error.place or where) or None,
        "suggestion": error.suggestion,
    }
    attempt = attempt_now()
    if attempt > 1:
        detail["attempt"] = attempt  # this attempt cannot know what earlier ones did
    if error.happened or (error.happened is False and attempt == 1):
        detail["happened"] = error.happened
    if error.is_last:
        detail["final"] = not error.retryable  # a body around it may have its own attempts
    if isinstance(error, GraphError):
        detail["problems"] = [str(problem) for problem in error.problems]
    if isinstance(error, TurnNotYet):
        detail[TURN] = error.turn
    message = f"{where}: {error}" if where and (says_where or error.elsewhere) else str(error)
    if error.elsewhere:
        detail[ELSEWHERE] = KEY_SECONDS if isinstance(error, EncryptionKeyMissing) else elsewhere_seconds
        message = f"{_this_worker()}{message}"
    return ApplicationError(
        message,
        detail,
        type=error.code,
        non_retryable=error.is_last or not error.retryable,
        next_retry_delay=error.retry_after if isinstance(error, Unavailable | NotYet) else None,
        category=_EXPECTED if isinstance(error, NotYet | TurnNotYet) else ApplicationErrorCategory.UNSPECIFIED,
    )


def _this_worker() -> str:
    """The beginning of a message about what this worker lacks; nothing outside of a worker."""
    try:
        return f"worker {activity.client().identity!r}: "
    except RuntimeError:
        return ""


def attempt_now() -> int:
    """The attempt of the activity that runs; 1 outside of one."""
    return activity.info().attempt if activity.in_activity() else 1


class RaisedAt(Exception):
    """The traceback of an error of which only data is left."""


def told_failure(error: Exception) -> dict[str, Json]:
    """An error of a node as data, with all that Temporal and the run go by; `failure_told` makes an error of it."""
    if isinstance(error, TimeoutError) and error.type is not None:
        return {"message": error.message, "timeout": int(error.type)}
    if not isinstance(error, ApplicationError):
        raised = "".join(traceback.format_exception(error))[-_TRACEBACK:]
        return {"type": type(error).__name__, "message": str(error), "raised": raised}
    told: dict[str, Json] = {"type": error.type, "message": error.message, "non_retryable": error.non_retryable}
    details = list(error.details)
    told["details"] = details if is_plain(details, _DETAILS) else [repr(each)[:200] for each in details]
    told["category"] = int(error.category)
    if error.next_retry_delay is not None:
        told["retry_after"] = error.next_retry_delay.total_seconds()
    return told


def failure_told(told: Mapping[str, Json]) -> ApplicationError | TimeoutError:
    """The error of which `told_failure` made data."""
    values: dict[str, Any] = dict(told)
    if (timeout := values.get("timeout")) is not None:
        return TimeoutError(values["message"], type=TimeoutType(timeout), last_heartbeat_details=[])
    pause = values.get("retry_after")
    error = ApplicationError(
        values["message"],
        *values.get("details", ()),
        type=values["type"],
        non_retryable=values.get("non_retryable", False),
        next_retry_delay=None if pause is None else timedelta(seconds=pause),
        category=ApplicationErrorCategory(values.get("category", ApplicationErrorCategory.UNSPECIFIED)),
    )
    if (raised := values.get("raised")) is not None:
        error.__cause__ = RaisedAt(raised)
    return error


class FailuresOfNodes(FailureConverter):
    """Another failure converter (a subclass says which), to which an error after a node's work is one after its effect.

    The SDK makes it without arguments.
    """

    theirs: ClassVar[type[FailureConverter]] = DefaultFailureConverter

    def __init__(self) -> None:
        self._theirs = self.theirs()

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Convert an exception: ours by its code, one after a node's work with what a saga must know."""
        if isinstance(missing := exception.__cause__, EncryptionKeyMissing):  # the SDK's "Failed decoding arguments"
            exception = application_error(missing)
        elif (where := _ran.get()) and isinstance(exception, Exception) and not isinstance(exception, FailureError):
            exception = _after_effect(exception, where)
        elif isinstance(exception, AnabranchError):
            exception = application_error(exception)
        self._theirs.to_failure(exception, payload_converter, failure)

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """Convert a failure. In place of a detail that cannot be decoded is an object that says so.

        Raises EncryptionKeyMissing: what the failure says may decide how a run goes on, and the key may come back.
        """
        for level in _levels(failure):
            if level.HasField("encoded_attributes"):
                _check_key(level.encoded_attributes)
        return self._theirs.from_failure(failure, _Lenient(payload_converter))


class FailuresInContext(FailuresOfNodes, WithSerializationContext):
    """The same for another converter that takes a context. Others are not asked, at each payload, whether they do."""

    def with_context(self, context: SerializationContext) -> Self:
        """The same, the other converter with the context."""
        theirs: Any = self._theirs
        changed = copy.copy(self)
        changed._theirs = theirs.with_context(context)  # noqa: SLF001 - of its own class
        return changed


class EncryptedFailuresOfNodes(FailuresOfNodes):
    """The same. Messages and stack traces become payloads, which a codec encrypts, and come back from them.

    As the SDK's DefaultFailureConverterWithEncodedAttributes does it, but for any converter.
    """

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """See FailuresOfNodes."""
        super().to_failure(exception, payload_converter, failure)
        for level in _levels(failure):
            if not level.HasField("encoded_attributes"):
                said = {"message": level.message, "stack_trace": level.stack_trace}
                level.encoded_attributes.CopyFrom(payload_converter.to_payload(said))
            level.message, level.stack_trace = ENCODED_MESSAGE, ""

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """See FailuresOfNodes."""
        read = Failure()
        read.CopyFrom(failure)
        for level in _levels(read):
            if level.HasField("encoded_attributes"):
                _read_attributes(level, _Lenient(payload_converter))
        return super().from_failure(read, payload_converter)


def _levels(failure: Failure) -> Iterator[Failure]:
    """A failure and its causes."""
    yield failure
    while failure.HasField("cause"):
        failure = failure.cause
        yield failure


def _read_attributes(failure: Failure, payload_converter: PayloadConverter) -> None:
    said = payload_converter.from_payload(failure.encoded_attributes)
    if isinstance(said, dict) and isinstance(said.get("message"), str):
        failure.message, failure.stack_trace = said["message"], str(said.get("stack_trace", ""))


class _Lenient(PayloadConverter):
    """Another converter, by which one detail that cannot be decoded hides neither the failure nor its other details."""

    def __init__(self, converter: PayloadConverter) -> None:
        self._converter = converter

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        return self._converter.to_payloads(values)

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        return [self._from_payload(payload) for payload in payloads]  # failures have no type hints

    def _from_payload(self, payload: Payload) -> Any:
        _check_key(payload)
        try:
            return self._converter.from_payload(payload)
        except Exception as error:
            return {UNDECODABLE: str(error)[:200]}


def _check_key(payload: Payload) -> None:
    """Raises EncryptionKeyMissing where that is why the payload cannot be read."""
    if isinstance(missing := reason_of(payload), EncryptionKeyMissing):
        raise missing


def _after_effect(error: Exception, where: str) -> ApplicationError:
    """The failure of a node that has run, and whose result could not be handed over."""
    what = f"{where}: its result cannot be handed over"
    if isinstance(error, AnabranchError):
        error.happened = True
        return application_error(error, what, says_where=True)
    name = type(error).__name__
    detail: dict[str, Json] = {"code": name, "attempt": attempt_now(), "happened": True}
    return ApplicationError(f"{what}: {error}", detail, type=name)
