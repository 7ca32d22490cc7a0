"""`NodeKind`: everything that Anabranch knows of one node type, in one record.

A type of one's own is a record behind an entry point of the group `anabranch.node_kinds` that is named after the type:

    class SmsNode(BaseNode):
        type: Literal["sms"]
        to: str
        text: str

    SMS = NodeKind(SmsNode, fields=(template("to"), template("text")), handler=imported("my_sms.activity:SmsHandler"))

What a run decides by a record is written into the definition that it pins (`graph/kinds/pin.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from importlib import import_module
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar, get_args

from anabranch.context.values import Json
from anabranch.errors import ConfigurationError, Problem
from anabranch.graph.kinds.fields import FieldSpec
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.kinds.keys import NO_KEYS, Keys, Reads
from anabranch.graph.model import BaseNode, Body, Finally
from anabranch.graph.source.yaml_source import Pointer

N = TypeVar("N", bound=BaseNode)


class NodeHandler(Protocol):
    """Does once what a node of one type does, as an activity of a worker.

    `task` is a `transport.node_protocol.NodeTask`, `node` is of the kind's model; the answer is an
    `activities.node_result.NodeResult`. Where it has an `aclose`, the worker awaits that at its end.
    """

    async def __call__(self, task: Any, node: Any, /) -> Any:
        """What the node came to. Raises AnabranchError; what is `retryable`, or unforeseen, is retried."""


class Seen(Protocol):
    """What a node saw when it ran, for who asks what it did."""

    @property
    def data(self) -> Mapping[str, Json]:
        """The context."""
        ...

    @property
    def roots(self) -> Mapping[str, Json]:
        """The other names of its expressions."""
        ...

    @property
    def given(self) -> Mapping[str, Json]:
        """All that it was given beside the context, also what no expression sees."""
        ...

    def text(self, template: Json) -> str:
        """A template with its holes filled; as it is in the graph where that cannot be done again."""
        ...


BuildHandler: TypeAlias = Callable[[Any], NodeHandler]
"""Makes the handler, given the worker's `settings.Settings`. It is called once, in a thread, at the first node."""


Tone: TypeAlias = Literal["amber", "blue", "green", "red", "rose", "slate", "teal", "violet"]


class Runs(Enum):
    """Who does a node's work."""

    HANDLER = "a handler of this worker"
    """A cache and a circuit breaker may be around it, and it may run as a local activity."""
    ACTIVITY = "an activity of any worker"
    RUN = "the run itself"
    """A timer, a question to a person, a child workflow, or a body: nothing that could undo another node."""


class Toolbox(Body):
    """The nodes of the `tools` of an `ai` node: no edge leads to one, each is done when the model calls it."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A node's body, and what the node does with it turn by turn. A block has one turn."""

    body: Body
    names: frozenset[str] = frozenset()
    """What the body's nodes see beside the names around the loop."""
    at_once: bool = False
    """Turns run at the same time: what they write meets."""
    path: Pointer = ("body",)
    """Where the body is, below the node."""
    collects: str | None = None
    """The key of a list that is written instead of what the body writes."""
    lists_failed: str | None = None
    """The key of a list of the turns that failed."""
    last: Finally | None = None
    """What runs when the node is over, however it ended."""

    @property
    def keeps_writes(self) -> bool:
        """Whether nothing that the body writes leaves it: the node writes what its own type says."""
        return isinstance(self.body, Toolbox)


def _never(_node: BaseNode) -> bool:
    return False


def own_id(node_id: str, _node: BaseNode) -> Keys:
    """For `writes`: one value under the node's id."""
    return frozenset({node_id})


def no_keys(_id: str, _node: BaseNode) -> Keys:
    """For `writes`: nothing."""
    return NO_KEYS


def any_keys(_id: str, _node: BaseNode) -> Keys:
    """For `writes`: whatever its code pleases."""
    return None


def imported(reference: str, **arguments: str) -> BuildHandler:
    """For `handler`: the class `"package.module:Name"`, imported when a worker meets the first node of the type.

    Each of `arguments` is the name of the worker's setting that the class is given under that keyword.
    """
    module, _, name = reference.partition(":")

    def build(settings: Any) -> NodeHandler:
        given = {keyword: getattr(settings, setting) for keyword, setting in arguments.items()}
        handler: NodeHandler = getattr(import_module(module), name)(**given)
        return handler

    return build


def no_deeds(_node: BaseNode, _seen: Seen) -> Iterable[str]:
    """For `deeds`: nothing to say."""
    return ()


def called(reference: str) -> Callable[[Any, Seen], Iterable[str]]:
    """For `deeds`: the function `"package.module:name"`, imported when it is first asked."""
    module, _, name = reference.partition(":")

    def ask(node: Any, seen: Seen) -> Iterable[str]:
        found: Iterable[str] = getattr(import_module(module), name)(node, seen)
        return found

    return ask


@dataclass(frozen=True, slots=True)
class NodeKind(Generic[N]):
    """One node type. Its name is the literal of its model's field `type`."""

    model: type[N]
    _: KW_ONLY
    handler: BuildHandler | None = None
    """None: the run itself does the work, or only workers elsewhere have an activity of the type's name."""
    runs: Runs = Runs.HANDLER
    fields: tuple[FieldSpec, ...] = ()
    """Which of its fields are expressions and which are templates. What the node reads follows from them."""
    reads: Callable[[N, frozenset[str]], Reads] | None = None
    """What it reads, where that is not what its fields say; given the names that are reserved around the node."""
    reads_more: Callable[[N], bool] = _never
    """Whether it reads what its fields do not show, as code does: its activity then gets the whole context, unless
    the node's `reads` says which keys."""
    writes: Callable[[str, N], Keys] = own_id
    """The keys that it may write, given its id; None is any. Not asked where the node has an `output`."""
    says_its_writes: bool = False
    """Whether the fields of a node say what it writes, as rules do: then it does so as a compensation too. Of other
    types a compensation writes what its `output` says, and nothing without one."""
    answer_schema: str | None = None
    """The field with the JSON Schema of what a model or a person answers."""
    checks: Callable[[N, Finder], Iterator[Problem]] | None = None
    """What is wrong with a node whose fields have the right shape."""
    effect: bool | Callable[[N], bool] = True
    """Whether it may change something outside of the context. The node's own `effect` overrides it."""
    pinned: Callable[[N], Mapping[str, Any]] = lambda _node: {}
    """Fields, by attribute, that are judged once, when a run pins its graph, beside `effect`."""
    local_by_default: bool = False
    """Whether `defaults.local` of a graph holds for it."""
    loop: Callable[[N], Loop | None] | None = None
    has_body: Callable[[N], bool] = _never
    """Whether its work is done by nodes of its own, which the run interprets."""
    outcomes: frozenset[str] = frozenset({"set", "result", "fail", "timeout"})
    """What a test may say of a node: fields of `testkit.given.GivenOutcome`."""
    outcome_help: str = "write `set`, `result`, `fail` or `timeout`"
    summary: Callable[[N], str] = lambda node: node.description
    """What it does, in a few words, for drawings."""
    deeds: Callable[[N, Seen], Iterable[str]] = no_deeds
    """What a node did, in words, given what it saw: the answer to why a value is what it is."""
    shape: tuple[str, str] = ("[", "]")
    """The brackets around its label in Mermaid."""
    tone: Tone = "slate"
    """The colour of its outline in pictures."""

    def __post_init__(self) -> None:
        if not (isinstance(self.model, type) and issubclass(self.model, BaseNode)):
            raise ConfigurationError(f"the model of a NodeKind is a class derived from BaseNode, not {self.model!r}")
        named = get_args(self.model.model_fields["type"].annotation)
        if len(named) != 1 or not isinstance(named[0], str):
            raise ConfigurationError(
                f"the model {self.model.__name__} does not say its type", suggestion='write `type: Literal["my_type"]`'
            )

    @property
    def name(self) -> str:
        """The node type, as `type:` of a node says it."""
        return str(get_args(self.model.model_fields["type"].annotation)[0])

    def unfit_for_others(self) -> str | None:
        """Why it cannot be the kind of another distribution: the interpreter knows the built-in ones alone."""
        if self.runs is not Runs.HANDLER or self.loop is not None or self.has_body is not _never:
            return "is not run by a handler, as every type is that is not built in"
        if taken := sorted(self._taken_fields()):
            return f"has a field `{taken[0]}` of its own, and every node has one of that name"
        if self.local_by_default:
            return "is local by default: a run in flight must not depend on a record that may change"
        return None

    def _taken_fields(self) -> set[str]:
        """Fields of every node that the model, or a class between, declares anew; `type` each has to."""
        classes = (each for each in self.model.__mro__ if issubclass(each, BaseNode) and each is not BaseNode)
        own = {name for each in classes for name in each.__annotations__}
        return own.intersection(BaseNode.model_fields) - {"type"}

    def may_have_effect(self, node: N) -> bool:
        """Whether the node itself, without its body, may change something outside of the context."""
        if self.has_body(node):
            return False
        if node.effect is not None:
            return node.effect
        return self.effect(node) if callable(self.effect) else self.effect
