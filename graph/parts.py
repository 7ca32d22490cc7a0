"""The smaller parts of node types, which hold no nodes: a rule, a statement, what is expected of an answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from anabranch.graph.fields import Cel, JsonObject, Key, Model


class Rule(Model):
    """When `when` holds (or is absent) `then` is written, else `otherwise`.

    A rule with `otherwise` alone applies when no conditional rule before it in the node matched.
    """

    name: str | None = None
    """For people, and for messages."""
    when: Cel | None = None
    """The condition. Without it the rule always holds."""
    then: JsonObject | None = None
    """What is written where the condition holds: path → value."""
    append: JsonObject | None = None
    """What is added to lists where the condition holds: path → one value. A list is made where there is nothing."""
    otherwise: JsonObject | None = None
    """What is written where it does not."""
    salience: int = 0
    """Rules run in falling order of it, then in the order of the file."""


class Statement(Model):
    """One SQL statement with named binds."""

    query: str
    """The SQL. Values are named binds, `:name`."""
    params: dict[Key, JsonValue] = Field(default_factory=dict)
    """The value of each bind."""
    result: Literal["first", "all", "scalar", "none"] = "first"
    """What is kept of the rows: the first, all, one value, or nothing."""


class Expect(Model):
    """Which HTTP statuses are a success, and which failures are retried."""

    status: tuple[int, ...] | None = None
    """The statuses that are a success. Without it, 200 to 299."""
    retry: tuple[int, ...] = (408, 425, 429, 500, 502, 503, 504)
    """The statuses that are worth another try."""


GrpcStatus = Literal[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]


class GrpcExpect(Model):
    """Which gRPC statuses are a success, and which failures are retried."""

    status: tuple[GrpcStatus, ...] = ("OK",)
    """The statuses that are a success."""
    retry: tuple[GrpcStatus, ...] = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED")
    """The statuses that are worth another try."""


class GrpcTls(Model):
    """TLS by certificates of one's own: the variable of the worker that holds them, or the path of their file."""

    ca: Annotated[str, Field(pattern=r"^GRPC_CA_[A-Z0-9_]{1,119}$")]
    """The variable of the worker with the certificates to trust, or with the path of their file."""


class Collect(Model):
    """Keep the turns' changes local and write one list of `value`s, in their order, to the key `into`."""

    into: Key
    """The key that gets the list."""
    value: Cel
    """The value of one turn, over the context that it left."""
    when: Cel | None = None
    """Whether a turn has a value. One in which every node was skipped has none."""
