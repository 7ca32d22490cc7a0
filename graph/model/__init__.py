"""The graph as its author wrote it, typed and immutable. Positions in the file live in `yaml_source`, not here.

A condition field (`Cel`) is a CEL expression. Any other string may hold `{{ CEL }}` holes. The canonical form of a
graph is `model_dump_json(by_alias=True, exclude_defaults=True)`; a run pins it with its defaults (`load.written_out`).

Everything else about a node type is in its `NodeKind` (`graph/kinds/`).
"""

from __future__ import annotations

from typing import get_args

from anabranch.graph.fields import Model
from anabranch.graph.model.activities import (
    ActivityNode,
    AiNode,
    DbNode,
    EmitNode,
    GrpcNode,
    HttpNode,
    PythonNode,
    RuleNode,
    Tool,
)
from anabranch.graph.model.base_node import BaseNode, Node
from anabranch.graph.model.control_flow import (
    BlockNode,
    Body,
    FailNode,
    Finally,
    ForeachNode,
    GraphNode,
    StopNode,
    WhileNode,
)
from anabranch.graph.model.graph import Graph
from anabranch.graph.model.waiting import ApprovalNode, Escalate, ReceiveNode, Remind, WaitNode
from anabranch.graph.node_types import built_in

__all__ = [
    "NODE_TYPES",
    "ActivityNode",
    "AiNode",
    "ApprovalNode",
    "BaseNode",
    "BlockNode",
    "Body",
    "DbNode",
    "EmitNode",
    "Escalate",
    "FailNode",
    "Finally",
    "ForeachNode",
    "Graph",
    "GraphNode",
    "GrpcNode",
    "HttpNode",
    "Node",
    "PythonNode",
    "ReceiveNode",
    "Remind",
    "RuleNode",
    "StopNode",
    "Tool",
    "WaitNode",
    "WhileNode",
]

_MODELS: tuple[type[BaseNode], ...] = (
    RuleNode,
    DbNode,
    AiNode,
    HttpNode,
    GrpcNode,
    ActivityNode,
    PythonNode,
    BlockNode,
    GraphNode,
    ForeachNode,
    WhileNode,
    WaitNode,
    ApprovalNode,
    ReceiveNode,
    EmitNode,
    FailNode,
    StopNode,
)
_models_by_type = {get_args(model.model_fields["type"].annotation)[0]: model for model in _MODELS}
NODE_TYPES = tuple(_models_by_type)
"""The built-in node types. What a graph may name beside them: `node_types.names`."""
built_in(_models_by_type)
_deferred: tuple[type[Model], ...] = (BaseNode, Tool, *_MODELS, Body, Finally, Remind, Escalate, Graph)
for _model in _deferred:
    _model.model_rebuild()
