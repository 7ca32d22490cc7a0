"""The nodes that a handler carries out as an activity: they do something to the world, or compute."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from anabranch.graph.fields import MAX_TOOLS, ActivityName, JsonObject, Key, Model, SchemaObject, ToolName
from anabranch.graph.model.base_node import BaseNode, Node
from anabranch.graph.parts import Auth, Budget, Expect, GrpcExpect, GrpcTls, Pages, Poll, Rule, Statement

Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,127}$")]
"""The name of an environment variable of the worker."""


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
    connection: Variable
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


class EmitNode(BaseNode):
    """Publishes an event to a topic of NATS or Kafka, or sends it to another run."""

    type: Literal["emit"]
    to: Literal["nats", "kafka", "run"]
    """Where the event goes."""
    connection: Variable | None = None
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
