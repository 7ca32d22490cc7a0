"""The graph as a whole: what one YAML file says."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from anabranch.graph.fields import (
    MAX_ATTRIBUTES,
    AttributeName,
    Cel,
    DurationTemplate,
    Key,
    Model,
    NodeId,
    SchemaObject,
    TextFor,
)
from anabranch.graph.model.base_node import Node
from anabranch.graph.model.control_flow import Finally
from anabranch.graph.parts import Edge
from anabranch.graph.policies import ContextSpec, Defaults, Definitions, RunId, Saga, Schedule, SearchAttribute, Share


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
