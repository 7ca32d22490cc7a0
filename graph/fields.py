"""The types of single fields in a graph, and what all parts of one share."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    PlainSerializer,
    Tag,
    WithJsonSchema,
)
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

from anabranch.limits import FAIRNESS_KEY_BYTES, SERVER_NAME_BYTES

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?", re.ASCII)
MAX_SECONDS = 10 * 365 * 86400
_LONGEST_DURATION = 32
MAX_AT_ONCE = 500
"""How many items of a `foreach` run at once at most."""
MAX_ATTRIBUTES = 20
"""How many search attributes a graph may have of its own. A namespace has few of most types."""
MAX_TOOLS = 32
"""How many tools a model may have, and how many inputs one of them."""
HOLE = "{{"
"""What a text has in it where a run makes its value."""


def parse_duration(value: object) -> timedelta:
    """`30s`, `1m30s`, `24h`, `2d`, `250ms` or a number of seconds as a timedelta; ValueError for anything else."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_SECONDS:
        return timedelta(seconds=value)
    if isinstance(value, str) and len(value) <= _LONGEST_DURATION and value and (match := _DURATION.fullmatch(value)):
        days, hours, minutes, seconds, millis = (float(part or 0) for part in match.groups())
        total = days * 86400 + hours * 3600 + minutes * 60 + seconds + millis / 1000
        if total <= MAX_SECONDS:
            return timedelta(seconds=total)
    raise ValueError(f"{value!r} is not a duration of at most ten years; write 30s, 5m, 24h, 2d, 250ms")


def _seconds(value: timedelta) -> float | int:
    seconds = value.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(_seconds, when_used="always"),
    WithJsonSchema({"type": ["string", "number"], "examples": ["30s", "5m", "24h"]}),
]


def _duration_or_made(value: object) -> object:
    """What a run makes of a template is checked there."""
    return value if isinstance(value, str) and HOLE in value else parse_duration(value)


DurationTemplate = Annotated[
    timedelta | str,
    BeforeValidator(_duration_or_made),
    PlainSerializer(lambda value: value if isinstance(value, str) else _seconds(value), when_used="always"),
    WithJsonSchema({"type": ["string", "number"], "examples": ["30s", "5m", "{{ minutes }}m"]}),
]
"""A duration, or a template that yields one."""


def _server_name(value: str) -> str:
    if (size := len(value.encode())) > SERVER_NAME_BYTES:
        raise ValueError(f"has {size} bytes, over the server's limit of {SERVER_NAME_BYTES}")
    return value


def check_task_queue(value: str) -> str:
    """The name, if it may be that of a task queue. Raises ValueError."""
    if not value:
        raise ValueError("is empty")
    if value.startswith("/_sys/"):
        raise ValueError("begins with /_sys/, which the server keeps for itself")
    return _server_name(value)


def check_fairness_key(value: str) -> str:
    """The key, if the server takes it. Raises ValueError."""
    if (size := len(value.encode())) > FAIRNESS_KEY_BYTES:
        raise ValueError(f"has {size} bytes, over the server's limit of {FAIRNESS_KEY_BYTES}")
    return value


def _unless_made(check: Callable[[str], str]) -> Callable[[str], str]:
    """What a run makes of a template is checked there."""
    return lambda value: value if HOLE in value else check(value)


def _with_hole(value: str) -> str:
    if HOLE not in value:
        raise ValueError("a text needs a hole, `{{ }}`")
    return value


WithHole = Annotated[str, AfterValidator(_with_hole)]
"""A template."""
ActivityName = Annotated[str, Field(min_length=1), AfterValidator(_server_name)]
TaskQueue = Annotated[str, Field(min_length=1), AfterValidator(check_task_queue)]
TaskQueueTemplate = Annotated[str, Field(min_length=1), AfterValidator(_unless_made(check_task_queue))]
FairnessKeyTemplate = Annotated[str, AfterValidator(_unless_made(check_fairness_key))]
Tolerance = Annotated[int, Field(strict=True, ge=0)] | Annotated[str, Field(pattern=r"^(100|\d{1,2}(\.\d{1,6})?)%$")]
"""A number, or a share such as `5%`."""
Cel = Annotated[str, Field(min_length=1, description="A CEL expression")]
EventName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/\-]{0,127}$")]
"""The name of an event: `payment_received`, `com.example.payment.received`."""
FailureCode = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.\-]{0,63}$")]
AttributeName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
"""Of a search attribute."""
Key = Annotated[str, Field(min_length=1, max_length=256)]
LimitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-/]{0,127}$")]
NodeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}$")]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_\-]{0,63}$")]
"""As providers of models take it."""
Strategy = Literal["last_write_wins", "higher_version_wins", "fail_on_conflict", "merge_all"]
MergePolicy = Literal[
    "last_write_wins", "higher_version_wins", "fail_on_conflict", "merge_all", "sum", "min", "max", "append", "union"
]

Join = Literal["any", "all", "first"] | Annotated[int, Field(strict=True, ge=1)]
"""When a node runs: `any`, `all`, `first`, or at so many edges that are taken."""

_Outcome = Literal["success", "failure", "timeout"]
_AnyOutcome = Literal["success", "failure", "timeout", "always"]
_IN_ORDER: tuple[_Outcome, ...] = get_args(_Outcome)


def _one_or_several(value: object) -> str:
    return "several" if isinstance(value, list | tuple) else "one"


def _in_order(value: _AnyOutcome | tuple[_Outcome, ...]) -> object:
    """One spelling for lists that say the same."""
    if isinstance(value, str):
        return value
    if not value or len(set(value)) < len(value):
        raise ValueError(f"names {'an outcome twice' if value else 'no outcome'}; each of {', '.join(_IN_ORDER)} once")
    return value[0] if len(value) == 1 else tuple(each for each in _IN_ORDER if each in value)


EdgeOutcome = Annotated[
    Annotated[_AnyOutcome, Tag("one")]
    | Annotated[tuple[_Outcome, ...], Tag("several"), Field(json_schema_extra={"minItems": 1, "uniqueItems": True})],
    Discriminator(_one_or_several),
    AfterValidator(_in_order),
]
"""One outcome, or at least two of them in the order of the language."""
JsonObject = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Definable:
    """Marks a field that may hold a name of the graph's `definitions` in the file. `load` puts what it means there."""

    group: str

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The field's own schema, or a name."""
        name = {"type": "string", "description": f"A name under `definitions.{self.group}`"}
        return {"anyOf": [handler(schema), name]}


@dataclass(frozen=True, slots=True)
class TextFor:
    """Marks a part of the language for which a text alone may stand: the value of one of its fields."""

    field: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The part itself; a text becomes one first."""
        return no_info_before_validator_function(
            lambda value: {self.field: value} if isinstance(value, str) else value, handler(source)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The part's own schema, or a text."""
        return {"anyOf": [handler(schema), {"type": "string"}]}


SchemaObject = Annotated[JsonObject, Definable("schemas")]
"""A JSON Schema."""


class Model(BaseModel):
    """What all parts of a graph share: immutable, and unknown fields are errors."""

    # Deferred: built once at the end of `model`, not with every class and again when its references resolve.
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True, defer_build=True
    )
