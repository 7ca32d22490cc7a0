"""The error tree. Each error has a stable code, a place, and says what to do; none imports anything of ours.

AnabranchError                      code                      may be retried
├── InputError (ValueError)         INPUT_INVALID             no
│   ├── GraphError                  GRAPH_INVALID             no
│   │   ├── UnknownGraph            GRAPH_UNKNOWN             by another worker
│   │   └── GraphMismatch           GRAPH_MISMATCH            no
│   ├── ExpressionError             EXPRESSION_INVALID        no
│   ├── InputMissing                INPUT_MISSING             no
│   ├── UndeclaredRead (KeyError)   UNDECLARED_READ           no
│   ├── RunIdInvalid                RUN_ID_INVALID            no
│   ├── RunExists                   RUN_EXISTS                no
│   ├── ReservedName                NAME_RESERVED             no
│   ├── OptionInvalid               OPTION_INVALID            no
│   ├── WireFormatError             WIRE_FORMAT_INVALID       no
│   ├── PlaintextRefused            PLAINTEXT_REFUSED         no
│   ├── HistoryInvalid              HISTORY_INVALID           no
│   ├── PayloadMissing              PAYLOAD_MISSING           no
│   ├── NodeUnknown                 NODE_UNKNOWN              no
│   ├── RunOpen                     RUN_OPEN                  no
│   ├── AlreadyAnswered             ALREADY_ANSWERED          no
│   ├── RerunRefused                RERUN_REFUSED             no
│   └── SizeLimitExceeded           SIZE_LIMIT_EXCEEDED       no
├── EvaluationError                 EXPRESSION_FAILED         no
│   └── ExpressionTooCostly         EXPRESSION_TOO_COSTLY     no
├── ConflictError                   CONFLICT                  no
├── VersionMismatch                 VERSION_MISMATCH          no
├── NodeError                       NODE_FAILED               no
├── BudgetSpent                     BUDGET_SPENT              no
├── TurnsSpent                      TURNS_SPENT               no
├── ConfigurationError              CONFIGURATION_INVALID     by another worker
├── WriteRefused                    WRITE_REFUSED             no
├── SchemaViolation                 SCHEMA_VIOLATION          no
├── RunNotFound                     RUN_NOT_FOUND             no
├── InlineGraphsOff                 INLINE_GRAPHS_OFF         no
├── NotStopped                      NOT_STOPPED               no
├── WorkerOutdated                  WORKER_OUTDATED           by another worker
├── EncryptionKeyMissing            ENCRYPTION_KEY_MISSING    yes, and by another worker
├── TurnNotYet                      TURN_NOT_YET              once its turn has come
├── TimedOut                        TIMEOUT                   yes
├── NotYet                          NOT_YET                   yes
└── Unavailable                     UNAVAILABLE               yes
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Final


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A position in a file: the file's name, line and column, both counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class AnabranchError(Exception):
    """Anything that Anabranch refuses or cannot do.

    `place` says where (a file position, a node `'id'`, a context path); `suggestion` says what to do. `happened` is
    True if a node had its effect before it failed: its saga undoes it; False if its attempt had not begun. `is_last` is
    True where the node is not tried again, though the error is one that may be.
    """

    code: ClassVar[str] = "ANABRANCH_ERROR"
    retryable: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = False
    """Whether another worker may have what this one lacks."""

    def __init__(
        self, message: str, *, place: SourceLocation | str | None = None, suggestion: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.suggestion = suggestion
        self.happened: bool | None = None
        self.is_last = False

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        advice = f" ({self.suggestion})" if self.suggestion else ""
        return f"{where}{self.message}{advice}"


class InputError(AnabranchError, ValueError):
    """An input that is not valid: a file, a payload, a value."""

    code = "INPUT_INVALID"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of the graph checks: a stable code, a sentence, where, and what to do about it."""

    code: str
    message: str
    place: SourceLocation | None = None
    suggestion: str | None = None
    warning: bool = False

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        level = "warning" if self.warning else "error"
        advice = f"\n  help: {self.suggestion}" if self.suggestion else ""
        return f"{where}{level}[{self.code}]: {self.message}{advice}"


_SHOWN_PROBLEMS = 20


class GraphError(InputError):
    """A graph that cannot run. `problems` lists everything that was found; the message names the first 20 of them."""

    code = "GRAPH_INVALID"

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        shown, more = problems, ""
        if len(problems) > _SHOWN_PROBLEMS:
            shown = tuple(sorted(problems, key=lambda problem: problem.warning)[:_SHOWN_PROBLEMS])
            more = f"\n… and {len(problems) - _SHOWN_PROBLEMS:,} more"
        super().__init__("\n".join(map(str, shown)) + more)
        self.problems = problems


class UnknownGraph(GraphError):
    """No graph has the name."""

    code = "GRAPH_UNKNOWN"
    elsewhere = True

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__((Problem(self.code, message, suggestion=suggestion),))


class GraphMismatch(GraphError):
    """The worker serves a graph of the name, but another one than the run was started for."""

    code = "GRAPH_MISMATCH"

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__((Problem(self.code, message, suggestion=suggestion),))


class ExpressionError(InputError):
    """A CEL expression or template that does not compile.

    `line` and `column` count from 1 inside the string; `path` leads to the string inside a template's value.
    """

    code = "EXPRESSION_INVALID"

    def __init__(
        self,
        message: str,
        *,
        place: SourceLocation | str | None = None,
        suggestion: str | None = None,
        line: int = 1,
        column: int = 1,
        path: tuple[str | int, ...] = (),
    ) -> None:
        super().__init__(message, place=place, suggestion=suggestion)
        self.line = line
        self.column = column
        self.path = path


class InputMissing(InputError):
    """The run's input lacks keys that the graph reads and nothing writes. All are named at once."""

    code = "INPUT_MISSING"


class UndeclaredRead(InputError, KeyError):
    """A node read a context key that did not cross to it. Declare it under the node's `reads:`."""

    code = "UNDECLARED_READ"


class OptionInvalid(InputError):
    """What a run makes of a template that says how or where a node runs, and that is out of bounds."""

    code = "OPTION_INVALID"


class RunIdInvalid(InputError):
    """The workflow id that a graph makes of a run's input is none: empty, too long, or without a value in a hole."""

    code = "RUN_ID_INVALID"


class RunExists(InputError):
    """A run has the workflow id already, and the graph does not allow another one."""

    code = "RUN_EXISTS"


class ReservedName(InputError):
    """A context key that has another meaning in expressions (`run`, `context`, in a body `item`, `index`, `turn`)."""

    code = "NAME_RESERVED"


class WireFormatError(InputError):
    """Bytes or values that are not a context: truncated, too deep, not data. Names the path."""

    code = "WIRE_FORMAT_INVALID"


class PlaintextRefused(InputError):
    """Something that should be encrypted is not, and encryption is strict here."""

    code = "PLAINTEXT_REFUSED"


class HistoryInvalid(InputError):
    """A history that is truncated, of another program, or of a newer interpreter: it shows no run of a graph."""

    code = "HISTORY_INVALID"


class PayloadMissing(InputError):
    """A payload of a history is in a store that this process does not have, or that has lost it."""

    code = "PAYLOAD_MISSING"


class NodeUnknown(InputError):
    """A run has no node of this name, or none that can be named here."""

    code = "NODE_UNKNOWN"


class RunOpen(InputError):
    """A run has not ended yet, and what is asked needs one that has."""

    code = "RUN_OPEN"


class AlreadyAnswered(InputError):
    """Somebody answers an approval again that needs the answers of several people."""

    code = "ALREADY_ANSWERED"


class RerunRefused(InputError):
    """A run cannot be run again from there: nothing failed, nothing leads there, or what is kept does not fit."""

    code = "RERUN_REFUSED"


class SizeLimitExceeded(InputError):
    """Something is larger than its limit. Names the size, the limit and the largest path."""

    code = "SIZE_LIMIT_EXCEEDED"


class EvaluationError(AnabranchError):
    """An expression compiled but failed on this data."""

    code = "EXPRESSION_FAILED"


class ExpressionTooCostly(EvaluationError):
    """An expression, a template or a node's rules would take too long or build too much. Names the limit."""

    code = "EXPRESSION_TOO_COSTLY"


class ConflictError(AnabranchError):
    """Two lines of descent disagree and no policy may choose between them. Names path, base and candidates."""

    code = "CONFLICT"


class VersionMismatch(AnabranchError):
    """A compare-and-set found another version than the expected one."""

    code = "VERSION_MISMATCH"


class NodeError(AnabranchError):
    """A node's own work failed in a way that a retry will not fix."""

    code = "NODE_FAILED"


class BudgetSpent(AnabranchError):
    """A run has spent at a language model what its node allows."""

    code = "BUDGET_SPENT"


class TurnsSpent(AnabranchError):
    """A model that has tools was asked as often as its node allows, and has not answered."""

    code = "TURNS_SPENT"


class ConfigurationError(AnabranchError):
    """The worker or the command lacks a setting. Names the variable, never its value."""

    code = "CONFIGURATION_INVALID"
    elsewhere = True


class WriteRefused(AnabranchError):
    """A node writes inside of what is no object, or appends to what is no list. Names the path."""

    code = "WRITE_REFUSED"


class SchemaViolation(AnabranchError):
    """A value does not fit its JSON Schema. Names the path and the expectation."""

    code = "SCHEMA_VIOLATION"


class RunNotFound(AnabranchError):
    """No run that is under way has the workflow id to which an event is sent."""

    code = "RUN_NOT_FOUND"


class InlineGraphsOff(AnabranchError):
    """A run brought its own graph, and the worker runs only those that it serves."""

    code = "INLINE_GRAPHS_OFF"


class NotStopped(AnabranchError):
    """A worker that was asked to stop has not stopped long after its grace. Names what it still runs."""

    code = "NOT_STOPPED"


class WorkerOutdated(AnabranchError):
    """A worker was given a node of a newer revision of the interpreter than it knows, or of a type that it lacks."""

    code = "WORKER_OUTDATED"
    elsewhere = True


class EncryptionKeyMissing(AnabranchError):
    """Something is encrypted with a key that this process does not have. Names the key's id; the key may come back."""

    code = "ENCRYPTION_KEY_MISSING"
    retryable = True
    elsewhere = True


class TimedOut(AnabranchError):
    """A node's work took longer than its `timeout`. It may have had its effect."""

    code = "TIMEOUT"
    retryable = True


class NotYet(AnabranchError):
    """What a node polls for is not there yet; it asks again after `retry_after`. No failure."""

    code = "NOT_YET"
    retryable = True

    def __init__(self, message: str, *, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TurnNotYet(AnabranchError):
    """A limit of rate or concurrency does not let a node begin yet. No failure: its run waits, and tries again.

    `turn` says as JSON what it waits for (see `transport.turn`); `retry_after` is when it is worth another try.
    """

    code = "TURN_NOT_YET"

    def __init__(self, message: str, *, turn: dict[str, Any], retry_after: timedelta) -> None:
        super().__init__(message)
        self.turn = turn
        self.retry_after = retry_after
        self.happened = False


BY_ITS_RETRY: Final = "`retry` says how often it is tried"
"""The suggestion where another attempt may help. Whether there is one, an attempt does not know."""


class Unavailable(AnabranchError):
    """A service did not answer as it should; a retry may help, after `retry_after` if the service named a pause."""

    code = "UNAVAILABLE"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        place: SourceLocation | str | None = None,
        suggestion: str | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message, place=place, suggestion=suggestion)
        self.retry_after = retry_after


def not_a_url(of: str, variable: str | None, suggestion: str) -> ConfigurationError:
    """The error for a URL that is not one `of` what it should be. It does not repeat it: it may hold a password."""
    subject = "this" if variable is None else f"the environment variable {variable}"
    return ConfigurationError(f"{subject} is not the URL of {of}", suggestion=suggestion)
