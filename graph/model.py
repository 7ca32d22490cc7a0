"""The graph as its author wrote it, typed and immutable. Positions in the file live in `yaml_source`, not here.

A condition field (`Cel`) is a CEL expression. Any other string may hold `{{ CEL }}` holes. The canonical form of a
graph is `model_dump_json(by_alias=True, exclude_defaults=True)`; a run pins it with its defaults (`load.written_out`).

Everything else about a node type is in its `NodeKind` (`graph/kinds/`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, JsonValue

from anabranch.graph.fields import (
    ActivityName,
    Cel,
    Duration,
    EdgeOutcome,
    FailureCode,
    JsonObject,
    Key,
    Model,
    NodeId,
    TaskQueue,
    Tolerance,
)
from anabranch.graph.node_types import ByType, built_in
from anabranch.graph.policies import (
    CircuitBreaker,
    ContextSpec,
    Defaults,
    Fallback,
    NodeCache,
    Priority,
    Retry,
    Saga,
    Share,
)


class BaseNode(Model):
    """Fields that every node has. A node type is a subclass whose `type` is one literal."""

    type: Any  # a literal in each subclass, which no type checker lets override a `str`
    description: str = ""
    when: Cel | None = None
    join: Literal["any", "all", "first"] = "any"
    losers: Literal["drop", "cancel"] = "drop"
    """What becomes of the branches that come too late for its `join: first`."""
    reads: tuple[Key, ...] | None = None
    input: JsonObject | None = None
    """Names for this node alone, over the context's keys; of a `graph` node all that it is given."""
    output: dict[Key, Cel] | None = None
    retry: Retry | None = None
    timeout: Duration | None = None
    """Of one attempt."""
    queue_timeout: Duration | None = None
    """How long an attempt waits for a worker."""
    total_timeout: Duration | None = None
    """Of all attempts, with the time that they wait."""
    heartbeat: Duration | None = None
    task_queue: TaskQueue | None = None
    priority: Priority | Annotated[int, Field(ge=1, le=5)] | None = None
    local: bool | None = None
    compensate: Node | None = None
    on_failure: Literal["fail", "continue", "pause"] | Fallback = "fail"
    pivot: bool = False
    effect: bool | None = None
    """Whether it may change something outside of the context; None: as its type judges it. With a body: all inside."""
    circuit_breaker: CircuitBreaker | None = None
    cache: NodeCache | None = None


Node = Annotated[BaseNode, ByType()]
"""A node of any type, those of other distributions included."""


class Rule(Model):
    """When `when` holds (or is absent) `then` is written, else `otherwise`.

    A rule with `otherwise` alone applies when no conditional rule before it in the node matched.
    """

    name: str | None = None
    when: Cel | None = None
    then: JsonObject | None = None
    otherwise: JsonObject | None = None
    salience: int = 0


class RuleNode(BaseNode):
    """Business rules over the context: a list, a decision table (JDM) or GRL text."""

    type: Literal["rule"]
    rules: tuple[Rule, ...] | None = None
    hit: Literal["first", "all"] = "all"
    decision_table: JsonObject | str | None = None
    grl: str | None = None


class Statement(Model):
    """One SQL statement with named binds."""

    query: str
    params: dict[Key, JsonValue] = Field(default_factory=dict)
    result: Literal["first", "all", "scalar", "none"] = "first"


class DbNode(BaseNode):
    """One SQL statement, or several in one transaction. `connection` names an environment variable of the worker."""

    type: Literal["db"]
    connection: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,127}$")]
    query: str | None = None
    params: dict[Key, JsonValue] = Field(default_factory=dict)
    result: Literal["first", "all", "scalar", "none"] = "first"
    statements: tuple[Statement, ...] | None = None
    idempotent: bool | None = None
    """None: where it has an effect."""
    decimals: Literal["text", "round"] | None = None
    """What becomes of decimals: text, or the nearest number. None: the number that is equal, else an error."""


class AiNode(BaseNode):
    """A language model call. `model` is `provider:model`; the answer's properties become keys."""

    type: Literal["ai"]
    model: str
    prompt: str
    system: str = ""
    output_schema: JsonObject | None = None
    temperature: float | None = Field(None, ge=0)
    max_tokens: int | None = Field(None, ge=1)


class Expect(Model):
    """Which HTTP statuses are a success, and which failures are retried."""

    status: tuple[int, ...] | None = None
    retry: tuple[int, ...] = (408, 425, 429, 500, 502, 503, 504)


class HttpNode(BaseNode):
    """An HTTP request; sends an `Idempotency-Key`."""

    type: Literal["http"]
    url: str
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: dict[Key, str] = Field(default_factory=dict)
    query: dict[Key, JsonValue] = Field(default_factory=dict)
    body: JsonValue = None
    expect: Expect = Expect()


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
    retry: tuple[GrpcStatus, ...] = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED")


class GrpcTls(Model):
    """TLS by certificates of one's own: the variable of the worker that holds them, or the path of their file."""

    ca: Annotated[str, Field(pattern=r"^GRPC_CA_[A-Z0-9_]{1,119}$")]


class GrpcNode(BaseNode):
    """A unary call of a gRPC service; sends an `idempotency-key`."""

    type: Literal["grpc"]
    target: str
    method: str
    request: JsonObject | str = Field(default_factory=dict)
    metadata: dict[Key, str] = Field(default_factory=dict)
    tls: bool | GrpcTls | None = None
    """None: TLS, except to this machine."""
    descriptor: str | None = None
    """A FileDescriptorSet: in YAML the name of its file, in a graph that is loaded its content in Base64. None: the
    server's reflection."""
    expect: GrpcExpect = GrpcExpect()


class ActivityNode(BaseNode):
    """Any Temporal activity in any language, by its name; `args` travel as plain JSON."""

    type: Literal["activity"]
    activity: ActivityName
    args: tuple[JsonValue, ...] | JsonObject = ()


class PythonNode(BaseNode):
    """A handler that the worker registered."""

    type: Literal["python"]
    handler: str
    args: JsonObject = Field(default_factory=dict)


class Body(Model):
    """A graph inside a graph: inline nodes and edges, or another graph by name."""

    nodes: dict[NodeId, Node] = Field(default_factory=dict)
    edges: tuple[Edge, ...] = ()
    graph: str | None = None


class GraphNode(BaseNode):
    """Another graph, interpreted in this run or started as a child workflow."""

    type: Literal["graph"]
    graph: str
    mode: Literal["inline", "child_workflow"] = "inline"


class Collect(Model):
    """Keep the turns' changes local and write one list of `value`s, in their order, to the key `into`."""

    into: Key
    value: Cel
    when: Cel | None = None
    """Whether a turn has a value. One in which every node was skipped has none."""


class ForeachNode(BaseNode):
    """A body for each item, at most `max_concurrency` at once."""

    type: Literal["foreach"]
    items: Cel
    as_: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] = Field("item", alias="as")
    body: Body
    max_concurrency: int = Field(50, ge=1, le=500)
    collect: Collect | None = None
    on_item_failure: Literal["fail", "skip", "collect"] = "fail"
    """With an item that fails: the node fails, or goes on without it, or lists it under `failed` too."""
    tolerate: Tolerance | None = None
    """How many items may fail before the node does. None: all of them."""
    failed: Key | None = None


class WhileNode(BaseNode):
    """A body while a condition holds, asked before each turn, or until one does, asked behind each turn."""

    type: Literal["while"]
    while_: Cel | None = Field(None, alias="while")
    until: Cel | None = None
    body: Body
    max_iterations: int = Field(1000, ge=1, le=1_000_000)
    on_limit: Literal["fail", "continue"] = "fail"
    """What becomes of the node where its condition asks for more turns than `max_iterations`."""
    collect: Collect | None = None


class WaitNode(BaseNode):
    """A timer: `for`, a duration or a template that yields one, or `until`, an expression that yields a time."""

    type: Literal["wait"]
    for_: Duration | str | None = Field(None, alias="for")
    until: Cel | None = None


class ApprovalNode(BaseNode):
    """A person decides, by the update `complete_task`."""

    type: Literal["approval"]
    prompt: str = ""
    schema_: JsonObject | None = Field(None, alias="schema")


class FailNode(BaseNode):
    """The graph, or the body, ends with an error of the author's own."""

    type: Literal["fail"]
    code: FailureCode
    message: str = ""


class StopNode(BaseNode):
    """The graph, or this turn of the body, ends here, as completed."""

    type: Literal["stop"]


_EVERY_END = frozenset({"success", "failure", "timeout", "cancelled"})


class Edge(Model):
    """From one node to another, taken on an outcome of the first and when the condition holds."""

    source: NodeId = Field(alias="from")
    target: NodeId = Field(alias="to")
    when: Cel | None = None
    otherwise: bool = False
    """Taken when no other success edge of its source is."""
    outcome: EdgeOutcome = "success"

    @property
    def named(self) -> tuple[str, ...]:
        """The outcomes that it names."""
        return (self.outcome,) if isinstance(self.outcome, str) else self.outcome

    @property
    def ends(self) -> frozenset[str]:
        """How its source may end for it to be taken."""
        return _EVERY_END if self.outcome == "always" else frozenset(self.named)


class Graph(Model):
    """One YAML file. `name` is also the Temporal workflow type."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.\-]{0,127}$")]
    version: str = "1.0.0"
    description: str = ""
    inputs: dict[Key, JsonObject] | None = None
    """What a run is started with: name → JSON Schema, required unless it has a `default`. None: the keys that nodes
    read and none writes."""
    context: ContextSpec = ContextSpec()
    defaults: Defaults = Defaults()
    saga: Saga | None = None
    share: Share | None = None
    nodes: dict[NodeId, Node] = Field(min_length=1, max_length=2000)
    edges: tuple[Edge, ...] = ()
    result: dict[Key, Cel] | None = None
    """What it comes to: name → expression over the context at its end. None: the whole context."""
    metadata: dict[str, Any] = Field(default_factory=dict)


_node_models: dict[str, type[BaseNode]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in BaseNode.__subclasses__()
}
NODE_TYPES = tuple(_node_models)
"""The built-in node types. What a graph may name beside them: `node_types.names`."""
built_in(_node_models)
_deferred: tuple[type[Model], ...] = (BaseNode, *_node_models.values(), Body, Graph)
for _model in _deferred:
    _model.model_rebuild()
