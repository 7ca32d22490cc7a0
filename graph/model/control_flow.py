"""The nodes that decide what runs: nodes with other nodes inside, and those that end a graph."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from anabranch.graph.fields import (
    HOLE,
    MAX_AT_ONCE,
    Cel,
    DurationTemplate,
    FailureCode,
    Key,
    Model,
    NodeId,
    Tolerance,
    WithHole,
)
from anabranch.graph.model.base_node import BaseNode, Node
from anabranch.graph.parts import Collect, Edge


class Body(Model):
    """A graph inside a graph: inline nodes and edges, or another graph by name."""

    nodes: dict[NodeId, Node] = Field(default_factory=dict)
    """Its nodes, by id."""
    edges: tuple[Edge, ...] = ()
    """Its edges."""
    graph: str | None = None
    """The name of another graph, in place of nodes and edges."""


class Finally(Model):
    """What runs at the end of a run, or of a block, however it ended. Nothing in it is undone, or cancelled."""

    nodes: dict[NodeId, Node] = Field(min_length=1)
    """Its nodes, by id."""
    edges: tuple[Edge, ...] = ()
    """Its edges."""
    timeout: DurationTemplate | None = None
    """How long all of it may take. A template of it sees the context with which it begins, and `outcome`."""


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
