"""The JSON object that an update takes: its fields, its paths and values, and who sends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

from temporalio.exceptions import ApplicationError

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json, parse_path
from anabranch.context.wire import measure
from anabranch.errors import AnabranchError, InputError
from anabranch.workflows.interpreter.writers import outsider, the_name

Request = Mapping[str, Json]
T = TypeVar("T")


def checked(act: Callable[[], T]) -> T:
    """Act; what our errors refuse becomes the answer to the message."""
    try:
        return act()
    except AnabranchError as error:
        raise ApplicationError(str(error), type=error.code, non_retryable=True) from None


def the_object(given: Sequence[object], expected: str) -> Request:
    """The one JSON object that an update was sent. `expected` shows its fields. Raises InputError."""
    if len(given) == 1 and isinstance(request := given[0], Mapping):
        return request
    kinds = {list: "a list", str: "text", bool: "a boolean", type(None): "null", bytes: "bytes"}
    sent = f"{len(given)} inputs" if len(given) > 1 else kinds.get(type(given[0]), "a number") if given else "nothing"
    raise InputError(f"the update takes one JSON object, not {sent}", suggestion=f"send {expected}")


def nothing(given: Sequence[object]) -> None:
    """Refuse the input of a query that takes none. Raises InputError."""
    if given:
        raise InputError("the query takes no input", suggestion="leave the input out, and pick from the answer")


def known_fields(request: Request, fields: set[str]) -> None:
    """Refuse fields that an update does not have. Raises InputError."""
    if unknown := sorted(set(request) - fields):
        raise InputError(f"unknown field {unknown[0]!r}", suggestion=f"the fields are {', '.join(sorted(fields))}")


def text_of(request: Request, field: str) -> str:
    """A field that must be there, as text. Raises InputError."""
    value = request.get(field)
    if not isinstance(value, str):
        raise InputError(f"`{field}` is missing", suggestion=f"give {field} as text")
    return value


def sender(request: Request) -> str | None:
    """Who a request says that it is from. Raises InputError for what is not a name."""
    return None if (by := request.get("by")) is None else the_name(by)


def sender_of_signal(given: Sequence[object]) -> str | None:
    """Who a signal says that it is from, if that can be made out: nobody would hear of a refusal."""
    try:
        return sender(the_object(given, ""))
    except InputError:
        return None


def changes_of(request: Request, kind: Literal["outside", "operator"], *, base: int = 0) -> ChangeSet:
    """The `changes` (path → value) and `removed` paths of a request, `by` whom it says.

    Raises InputError, WireFormatError for values that are not JSON.
    """
    given, removed = request.get("changes", {}), request.get("removed", [])
    paths = [path for path in removed if isinstance(path, str)] if isinstance(removed, list) else []
    if not isinstance(given, dict) or paths != removed:
        raise InputError("`changes` is an object of paths and values, `removed` a list of paths")
    by = outsider(kind, request.get("by"))
    values = {parse_path(path): value for path, value in given.items()}
    if len(values) < len(given):
        raise InputError("`changes` gives one path twice, in different spellings")
    for path, value in values.items():
        measure(value, path=path)
    return ChangeSet(base, values, tuple(parse_path(path) for path in paths), by)
