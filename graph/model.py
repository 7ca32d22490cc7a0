"""The graph as its author wrote it, typed and immutable. Positions in the file live in `yaml_source`, not here.

A condition field (`Cel`) is a CEL expression. Any other string may hold `{{ CEL }}` holes. The canonical form of a
graph is `model_dump_json(by_alias=True, exclude_defaults=True)`; a run pins it with its defaults (`load.written_out`).

Everything else about a node type is in its `NodeKind` (`graph/kinds/`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, JsonValue

from anabranch.graph.fields import (
    HOLE,
    MAX_AT_ONCE,
    MAX_ATTRIBUTES,
    MAX_TOOLS,
    ActivityName,
    AttributeName,
    Cel,
    Duration,
    DurationTemplate,
    EventName,
    FailureCode,
    Join,
    JsonObject,
    Key,
    Model,
    NodeId,
    SchemaObject,
    TaskQueueTemplate,
    TextFor,
    Tolerance,
    ToolName,
    WithHole,
)
from anabranch.graph.node_types import ByType, built_in
from anabranch.graph.parts import Auth, Budget, Collect, Edge, Expect, GrpcExpect, GrpcTls, Pages, Poll, Rule, Statement
from anabranch.graph.people import MAX_ANSWERS, MAX_REMINDERS, Form, Names, People
from anabranch.graph.policies import (
    CircuitBreaker,
    Concurrency,
    ContextSpec,
    Defaults,
    Definitions,
    Fallback,
    NamedRetry,
    NodeCache,
    Priority,
    RateLimit,
    RunId,
    Saga,
    Schedule,
    SearchAttribute,
    Share,
)


class BaseNode(Model):
    """Fields that every node has.

    A node type is a subclass whose `type` is one literal.
    """

    type: Any  # a literal in each subclass, which no type checker lets override a `str`
    """What it does: the name of a node type."""
    description: str = ""
    """For people. Drawings show it."""
    when: Cel | None = None
    """The node is skipped unless it holds."""
    join: Join = "any"
    """When it runs: once its incoming edges are settled, if any, or `all`, were taken; or at the `first` taken, or at
    so many (`2`)."""
    losers: Literal["drop", "cancel"] = "drop"
    """What becomes of the branches that come too late for its `join: first`, or `join: 2`."""
    reads: tuple[Key, ...] | None = None
    """Context keys that it needs, where its fields do not show them."""
    input: JsonObject | None = None
    """Names for this node alone, over the context's keys; of a `graph` node all that it is given."""
    output: dict[Key, Cel] | None = None
    """What it writes: context key → expression over `result`. Without it, as its type says."""
    retry: NamedRetry | None = None
    """How often it is tried, and when. Without it, as `defaults` says; a body is tried once."""
    timeout: DurationTemplate | None = None
    """Of one attempt, from when a worker takes it: by default that of `defaults`. Of a body, of all that is inside."""
    queue_timeout: Duration | None = None
    """How long an attempt waits for a worker. Without it, as `defaults` says."""
    total_timeout: Duration | None = None
    """Of all attempts, with the time that they wait. Without it, as `defaults` says."""
    heartbeat: Duration | None = None
    """The attempt has failed if its worker is not heard of for so long."""
    task_queue: TaskQueueTemplate | None = None
    """The workers that run it. Without it, as `defaults` says, else the run's own."""
    priority: Priority | Annotated[int, Field(ge=1, le=5)] | None = None
    """How soon its task is taken from the queue: 1 (first) to 5, or more by `key` and its fairness."""
    local: bool | None = None
    """Whether it is a local activity, on the run's own worker. Without it, a `rule` as `defaults` says, others not."""
    compensate: Node | None = None
    """The node that undoes it when the run fails. It sees the context as this node left it."""
    on_failure: Literal["fail", "continue", "pause"] | Fallback = "fail"
    """What a failure does that no edge leads on from: it fails the run, is passed over, waits for an operator, or gives
    way to the values of `use`."""
    pivot: bool = False
    """Once it has succeeded, or may have, nothing is compensated any more."""
    effect: bool | None = None
    """Whether it changes something outside of the context; with a body, all inside. Without it, as its type judges."""
    circuit_breaker: CircuitBreaker | None = None
    """Stops calling what keeps failing. For nodes that a handler runs."""
    rate_limit: RateLimit | None = None
    """How many of it may begin within a time, in all runs together; the others wait for their turn. For nodes that a
    handler runs."""
    concurrency: Concurrency | None = None
    """How many of it may be under way at a time, in all runs together; the others wait for their turn. For nodes that
    a handler runs."""
    cache: NodeCache | None = None
    """Reuses what it wrote for the same key, across runs. For nodes without an effect that a handler runs."""


Node = Annotated[BaseNode, ByType()]
"""A node of any type, those of other distributions included."""


class RuleNode(BaseNode):
    """Business rules over the context: a list, a decision table (JDM) or GRL text."""

    type: Literal["rule"]
    rules: tuple[Rule, ...] | None = None
    """The list of rules. Each sees what those before it wrote."""
    hit: Literal["first", "all"] = "all"
    """Whether every rule that matches writes, or the first one alone."""
    decision_table: JsonObject | str | None = None
    """A table in JDM: the name of its file, or the object itself."""
    grl: str | None = None
    """Rules that chain, in the form of GRL or of Drools: the text, or the name of its file."""


class DbNode(BaseNode):
    """One SQL statement, or several in one transaction. `connection` names an environment variable of the worker."""

    type: Literal["db"]
    connection: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,127}$")]
    """The worker's environment variable that holds the database's URL."""
    query: str | None = None
    """The one statement. Values are named binds, `:name`."""
    params: dict[Key, JsonValue] = Field(default_factory=dict)
    """The value of each bind of `query`."""
    result: Literal["first", "all", "scalar", "none"] = "first"
    """What is kept of the rows: the first (its columns become keys), all, one value, or nothing."""
    statements: tuple[Statement, ...] | None = None
    """Several statements, in one transaction, in place of `query`."""
    idempotent: bool | None = None
    """Whether a retry does not write again. Without it, where the node has an effect."""
    decimals: Literal["text", "round"] | None = None
    """What becomes of decimals: text, or the nearest number. Without it the number that is equal, else an error."""
    read_only: bool = False
    """Refuses statements that write, and has the database refuse them too."""


class Tool(Model):
    """What a model may have done: a node, given values of the model's choice as `args`."""

    description: str = Field(min_length=1)
    """What it is for. The model reads it."""
    inputs: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")], SchemaObject] = Field(
        default_factory=dict, max_length=MAX_TOOLS
    )
    """What the model gives: name → JSON Schema, required unless it has a `default`."""
    node: Node
    """What is done: an `http` node, a `db` node that only reads, or a graph. The model is told what it writes."""
    on_error: Literal["tell", "fail"] = "tell"
    """Where the node fails, whether the model is told its code and message, or the `ai` node fails with it."""


class AiNode(BaseNode):
    """A language model call. `model` is `provider:model`; the answer's properties become keys."""

    type: Literal["ai"]
    model: str | Annotated[tuple[str, ...], Field(min_length=1, max_length=8)]
    """`provider:model`, or `env:` and the variable of the worker that holds it; or several, each asked where the one
    before has failed for good, or its budget is spent."""
    prompt: str
    """What the model is asked."""
    system: str = ""
    """What the model is told about its part."""
    output_schema: SchemaObject | None = None
    """The JSON Schema of the answer, whose properties become keys. Without it the answer is text."""
    temperature: float | None = Field(None, ge=0)
    """How much the model varies. Without it, the provider's default."""
    max_tokens: int | None = Field(None, ge=1)
    """The longest answer. One that is cut off is a failure."""
    attempts: int = Field(3, ge=1, le=10)
    """How many answers a model may give until one fits `output_schema`: it hears what is wrong with each."""
    budget: Budget | None = None
    """What the run may spend at each model."""
    tools: dict[ToolName, Tool] | None = Field(None, min_length=1, max_length=MAX_TOOLS)
    """What the model may have done before it answers, by the name that it calls it by."""
    max_turns: int = Field(8, ge=1, le=50)
    """How often a model with `tools` is asked, with what its calls came to, until it answers."""

    @property
    def models(self) -> tuple[str, ...]:
        """The models that it may ask, in order."""
        return (self.model,) if isinstance(self.model, str) else self.model


class HttpNode(BaseNode):
    """An HTTP request; sends an `Idempotency-Key`."""

    type: Literal["http"]
    base: str | None = None
    """The name, under `definitions.bases`, of what stands before the `url`."""
    url: str
    """The address, in full."""
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """The HTTP method."""
    headers: dict[Key, str] = Field(default_factory=dict)
    """Header → value, or `env:HTTP_SECRET_NAME`, a secret of the worker."""
    auth: Auth | None = None
    """Who asks: a token, a name and a password, or a token of an OAuth 2.0 issuer."""
    query: dict[Key, JsonValue] = Field(default_factory=dict)
    """Parameter → value, or a list of them, or a secret of the worker."""
    body: JsonValue = None
    """The JSON that is sent. A text in it may be a secret of the worker."""
    expect: Expect = Expect()
    """Which statuses are a success, and which are tried again."""
    poll: Poll | None = None
    """Asks again until the answer is what is waited for."""
    pages: Pages | None = None
    """Asks for page after page."""
    redirects: Literal["none", "same_origin", "any"] = "none"
    """Which redirects are followed, five at most. No secret goes to another origin."""


class GrpcNode(BaseNode):
    """A unary call of a gRPC service; sends an `idempotency-key`."""

    type: Literal["grpc"]
    target: str
    """Host and port."""
    method: str
    """`package.Service/Method`, a unary one, or `Method` alone, where only one service of the server has it."""
    request: JsonObject | str = Field(default_factory=dict)
    """The fields of the message."""
    metadata: dict[Key, str] = Field(default_factory=dict)
    """Key → value, or `env:HTTP_SECRET_NAME`, a secret of the worker."""
    tls: bool | GrpcTls | None = None
    """Whether the connection is by TLS. Without it, except to this machine."""
    descriptor: str | None = None
    """A FileDescriptorSet: in YAML the name of its file, in a graph that is loaded its content in Base64. Without it,
    the server is asked by reflection."""
    expect: GrpcExpect = GrpcExpect()
    """Which statuses are a success, and which are tried again."""


class ActivityNode(BaseNode):
    """Any Temporal activity in any language, by its name; `args` travel as plain JSON."""

    type: Literal["activity"]
    activity: ActivityName
    """The activity's name, as its worker registered it."""
    args: tuple[JsonValue, ...] | JsonObject = ()
    """A list of arguments, or one object."""


class PythonNode(BaseNode):
    """A handler that the worker registered."""

    type: Literal["python"]
    handler: str
    """The handler's name, as `@node` registered it."""
    args: JsonObject = Field(default_factory=dict)
    """Its keyword arguments."""


class Body(Model):
    """A graph inside a graph: inline nodes and edges, or another graph by name."""

    nodes: dict[NodeId, Node] = Field(default_factory=dict)
    """Its nodes, by id."""
    edges: tuple[Edge, ...] = ()
    """Its edges."""
    graph: str | None = None
    """The name of another graph, in place of nodes and edges."""


class BlockNode(BaseNode):
    """Nodes and edges in place, as one node of the graph around: they see its context, and fail together."""

    type: Literal["block"]
    nodes: dict[NodeId, Node] = Field(min_length=1)
    """Its nodes, by id. They see the context around, and what they change comes back when all of them are over."""
    edges: tuple[Edge, ...] = ()
    """Which node follows which, among its own."""
    finally_: Finally | None = Field(None, alias="finally")
    """What runs last in it, however it ended, before anything follows."""


class GraphNode(BaseNode):
    """Another graph, interpreted in this run or started as a child workflow."""

    type: Literal["graph"]
    graph: str
    """The other graph's name; of a child workflow, also a template that yields one of `one_of`."""
    one_of: tuple[str, ...] | None = None
    """The graphs that a template of `graph` may name."""
    mode: Literal["inline", "child_workflow"] = "inline"
    """Whether it is interpreted in this run, or started as a workflow of its own."""

    @property
    def named(self) -> tuple[str, ...]:
        """The graphs that it may be: one, unless `graph` is a template."""
        return (self.one_of or ()) if HOLE in self.graph else (self.graph,)


class ForeachNode(BaseNode):
    """A body for each item, or for each batch of items, at most `max_concurrency` at once."""

    type: Literal["foreach"]
    items: Cel
    """The list of items."""
    batch: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = None
    """How many items a turn of the body has, as a list. Without it one, by itself."""
    as_: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] | None = Field(None, alias="as")
    """What the body calls its item: by default `item`, and with `batch` `items`."""
    body: Body
    """What is done with each item."""
    max_concurrency: Annotated[int, Field(ge=1, le=MAX_AT_ONCE)] | WithHole = 50
    """How many items, or batches, run at once: a number, or a template that yields one."""
    collect: Collect | None = None
    """One list of values, in place of what the turns write."""
    on_item_failure: Literal["fail", "skip", "collect"] = "fail"
    """With an item that fails: the node fails, or goes on without it, or lists it under `failed` too."""
    tolerate: Tolerance | None = None
    """How many items may fail before the node does: a number, or a share such as `5%`. Without it, all of them."""
    failed: Key | None = None
    """The key that gets the list of failed items: `index`, `item` and `error` of each."""
    item_errors: Cel | None = None
    """With `batch`, when a batch has ended: a list with the error of each of its items, or null."""

    @property
    def variable(self) -> str:
        """The name of the item, or of the items of a batch, in the body."""
        return self.as_ or ("item" if self.batch is None else "items")


class WhileNode(BaseNode):
    """A body while a condition holds, asked before each turn, or until one does, asked behind each turn."""

    type: Literal["while"]
    while_: Cel | None = Field(None, alias="while")
    """The condition that is asked before each turn."""
    until: Cel | None = None
    """The condition that is asked behind each turn."""
    body: Body
    """What is repeated."""
    max_iterations: int = Field(1000, ge=1, le=1_000_000)
    """The most turns that there may be."""
    on_limit: Literal["fail", "continue"] = "fail"
    """What becomes of the node where its condition asks for more turns than `max_iterations`."""
    collect: Collect | None = None
    """One list of values, in place of what the turns write."""


class WaitNode(BaseNode):
    """A timer: `for`, a duration or a template that yields one, or `until`, an expression that yields a time."""

    type: Literal["wait"]
    for_: Duration | str | None = Field(None, alias="for")
    """How long."""
    until: Cel | None = None
    """Until which time: ISO 8601, or Unix milliseconds."""


class Remind(Model):
    """Reminders of a question that nobody has answered."""

    after: DurationTemplate
    """How long after the question the first one comes."""
    every: DurationTemplate | None = None
    """How long after each one the next comes. Without it there is one."""
    times: Annotated[int, Field(strict=True, ge=1, le=MAX_REMINDERS)] = 10
    """How many there are at most."""
    node: Node
    """What reminds: a node that sends a message. It sees the question as `question`, and writes nothing."""


class Escalate(Model):
    """Hands a question that nobody has answered to others."""

    after: DurationTemplate
    """How long after the question."""
    to: People
    """Whom the question is for from then on."""
    node: Node | None = None
    """What tells them. It sees the question as `question`, and writes nothing."""


class ApprovalNode(BaseNode):
    """A person decides, or several people do, by the update `complete_task`."""

    type: Literal["approval"]
    prompt: str = ""
    """What the person is asked."""
    schema_: SchemaObject | None = Field(None, alias="schema")
    """The JSON Schema of the answer."""
    assignee: Names | None = None
    """The person who should answer, or several."""
    groups: Names | None = None
    """The groups whose members should answer."""
    answers: Annotated[int, Field(strict=True, ge=1, le=MAX_ANSWERS)] = 1
    """How many people have to answer. One who says no decides for all."""
    remind: Remind | None = None
    """Reminders, as long as nobody has answered."""
    escalate: Escalate | None = None
    """Whom the question is handed to where nobody answers."""
    form: Form | None = None
    """Hints for the form in which people answer."""


class ReceiveNode(BaseNode):
    """Waits for an event that somebody sends to the run, by the signal `event`."""

    type: Literal["receive"]
    event: EventName | Annotated[tuple[EventName, ...], Field(min_length=1, max_length=20)]
    """The event's name, or several names."""
    mode: Literal["any", "all"] = "any"
    """Of several events, whether it waits for any one, or for one of each."""
    accept: Cel | None = None
    """An event is left to others unless this holds. It sees the event's data as `event`, and `event_name`."""
    correlate: dict[Key, Cel] = Field(default_factory=dict)
    """A key of the context → an expression over `event`: events for which the two differ are left to others."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the events."""
        return (self.event,) if isinstance(self.event, str) else self.event


class EmitNode(BaseNode):
    """Publishes an event to a topic of NATS or Kafka, or sends it to another run."""

    type: Literal["emit"]
    to: Literal["nats", "kafka", "run"]
    """Where the event goes."""
    connection: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,127}$")] | None = None
    """The worker's environment variable that holds the broker's URL."""
    topic: str | None = None
    """The topic, or subject."""
    run: str | None = None
    """The workflow id of the run that gets it."""
    event: str | None = None
    """The event's name, for a run and for CloudEvents."""
    key: str | None = None
    """Of Kafka: what has one key stays in order."""
    headers: dict[Key, str] = Field(default_factory=dict)
    """Header → value."""
    data: JsonValue = None
    """What the event says."""
    format: Literal["json", "cloudevents"] = "json"
    """Whether the message is the data alone, or a CloudEvent 1.0 around it."""
    source: str | None = None
    """Of a CloudEvent: who sends it. Without it `/anabranch/` and the graph's name."""


class FailNode(BaseNode):
    """The graph, or the body, ends with an error of the author's own."""

    type: Literal["fail"]
    code: FailureCode
    """The code of the error, of the author's own."""
    message: str = ""
    """What the error says."""


class StopNode(BaseNode):
    """The graph, or this turn of the body, ends here, as completed."""

    type: Literal["stop"]


class Finally(Model):
    """What runs at the end of a run, or of a block, however it ended. Nothing in it is undone, or cancelled."""

    nodes: dict[NodeId, Node] = Field(min_length=1)
    """Its nodes, by id."""
    edges: tuple[Edge, ...] = ()
    """Its edges."""
    timeout: DurationTemplate | None = None
    """How long all of it may take. A template of it sees the context with which it begins, and `outcome`."""


class Graph(Model):
    """One YAML file. `name` is also the Temporal workflow type."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.\-]{0,127}$")]
    """Its name, and the workflow's type."""
    version: str = "1.0.0"
    """For people."""
    description: str = ""
    """For people. Drawings show it, and the Web UI."""
    definitions: Definitions | None = None
    """What several places name, instead of writing it out. A graph that is loaded has it where it is named."""
    inputs: dict[Key, SchemaObject] | None = None
    """What a run is started with: name → JSON Schema, required unless it has a `default`. Without it, the keys that
    nodes read and none writes."""
    context: ContextSpec = ContextSpec()
    """How parallel writes are settled, and what the context must look like."""
    defaults: Defaults = Defaults()
    """Fields of nodes that do not say them."""
    saga: Saga | None = None
    """How completed steps are undone."""
    share: Share | None = None
    """Publishes the context for other services."""
    schedule: Schedule | None = None
    """When the namespace starts runs by itself."""
    id: Annotated[RunId, TextFor("value")] | None = None
    """The workflow id of a run that a command or an event starts, made of its input."""
    search_attributes: dict[AttributeName, Annotated[SearchAttribute, TextFor("value")]] = Field(
        default_factory=dict, max_length=MAX_ATTRIBUTES
    )
    """By what runs are found in the namespace: name → what it says, in plain text for all who may list runs."""
    timeout: DurationTemplate | None = None
    """How long a run may take. Then what runs is cancelled, and what is done is undone. A template of it sees the
    input."""
    nodes: dict[NodeId, Node] = Field(min_length=1, max_length=2000)
    """Its nodes, by id."""
    edges: tuple[Edge, ...] = ()
    """Its edges."""
    finally_: Finally | None = Field(None, alias="finally")
    """What runs last, however the run ended."""
    result: dict[Key, Cel] | None = None
    """What it comes to: name → expression over the context at its end. Without it, the whole context."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """For people and their tools: any YAML."""


_node_models: dict[str, type[BaseNode]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in BaseNode.__subclasses__()
}
NODE_TYPES = tuple(_node_models)
"""The built-in node types. What a graph may name beside them: `node_types.names`."""
built_in(_node_models)
_deferred: tuple[type[Model], ...] = (BaseNode, Tool, *_node_models.values(), Body, Finally, Remind, Escalate, Graph)
for _model in _deferred:
    _model.model_rebuild()
