"""The smaller parts of graphs and node types, which hold no nodes: an edge, a rule, a statement, an expected answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from anabranch.graph.fields import Cel, Duration, EdgeOutcome, JsonObject, Key, Model, NodeId

_EVERY_END = frozenset({"success", "failure", "timeout", "cancelled"})


class Edge(Model):
    """From one node to another, taken on an outcome of the first and when the condition holds."""

    source: NodeId = Field(alias="from")
    """The node that it leads from."""
    target: NodeId = Field(alias="to")
    """The node that it leads to."""
    when: Cel | None = None
    """It is taken only where this holds."""
    otherwise: bool = False
    """Taken when no other success edge of its source is."""
    outcome: EdgeOutcome = "success"
    """How its source has to end: one outcome, or a list of them."""

    @property
    def named(self) -> tuple[str, ...]:
        """The outcomes that it names."""
        return (self.outcome,) if isinstance(self.outcome, str) else self.outcome

    @property
    def ends(self) -> frozenset[str]:
        """How its source may end for it to be taken."""
        return _EVERY_END if self.outcome == "always" else frozenset(self.named)


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


class BasicAuth(Model):
    """A name and a password, by HTTP Basic."""

    user: str
    """The name, or `env:HTTP_SECRET_NAME`."""
    password: str
    """`env:HTTP_SECRET_NAME`, a secret of the worker."""


class ClientCredentials(Model):
    """A token of an OAuth 2.0 issuer for the worker's own client (RFC 6749, client credentials)."""

    token_url: str
    """The address at which the issuer gives tokens."""
    client_id: str
    """The client, or `env:HTTP_SECRET_NAME`."""
    client_secret: str
    """`env:HTTP_SECRET_NAME`, a secret of the worker."""
    client_auth: Literal["header", "body"] = "header"
    """How the issuer gets them: by HTTP Basic, or as fields of the form."""
    scope: str | None = None
    """What the token is to allow: names, with spaces between."""
    audience: str | None = None
    """Whom the token is for, where the issuer asks for that."""


class Auth(Model):
    """Who asks: one of the three."""

    bearer: str | None = None
    """`env:HTTP_SECRET_NAME`, a secret of the worker: the token, without a scheme."""
    basic: BasicAuth | None = None
    """A name and a password."""
    oauth2: ClientCredentials | None = None
    """A token that the worker fetches, keeps until it expires, and fetches anew where it is refused."""


class Budget(Model):
    """What a run may spend at each model, by all its `ai` nodes together."""

    tokens: int = Field(ge=1)
    """Tokens of prompts and answers. A model at which so many are spent is not asked any more."""


class Poll(Model):
    """Ask again until the answer is what is waited for. No worker is busy with it between two requests."""

    until: Cel
    """The condition over `result` that ends it."""
    every: Duration = timedelta(seconds=10)
    """The pause between two requests. A longer one that the server asks for by `Retry-After` is kept."""
    timeout: Duration = timedelta(hours=1)
    """How long it goes on."""
    failures: int = Field(5, ge=1)
    """How many requests in a row may get no answer, or one of `expect.retry`, before the node fails."""


class Pages(Model):
    """Ask for page after page, and put their items together."""

    next: Cel | None = None
    """What is next, over `result` and `page`, the number of this one: an address, an object of parameters, or null
    behind the last page. Without it, as the header `Link` says."""
    items: Cel = "result.body"
    """The items of a page, over `result` and `page`."""
    limit: int | None = Field(None, ge=1, le=10_000)
    """How many items are enough. Without it, more than 10,000 of them fail the node."""


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
