"""YAML graphs on Temporal, with one versioned context that branches and rejoins by three-way merge.

Everything public is importable from here; `docs/api.md` lists it. A name loads its module when it is first used:
`import anabranch` is cheap, and workflow code never loads the client of a store.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anabranch import errors
    from anabranch.activities.node_result import NodeResult
    from anabranch.activities.python import node
    from anabranch.activities.rendering import render
    from anabranch.context.cache.cache import DistributedCache
    from anabranch.context.cache.strategy import CacheStats, CacheStrategy
    from anabranch.context.cache.warmer import CacheWarmer
    from anabranch.context.changes import ChangeSet
    from anabranch.context.distributed import ContextMetadata, ContextSnapshot, DistributedContext
    from anabranch.context.merge.resolution import ConflictResolution
    from anabranch.context.merge.three_way import ThreeWayMerge
    from anabranch.context.shared import SharedContext
    from anabranch.context.stores.memcached import MemcachedStore
    from anabranch.context.stores.memory import InMemoryStore
    from anabranch.context.stores.open import open_store
    from anabranch.context.stores.protocol import ContextStore
    from anabranch.context.stores.redis import RedisStore
    from anabranch.context.stores.sql import SqlStore
    from anabranch.context.versioned import VersionedContext
    from anabranch.graph.kinds.fields import cel, template
    from anabranch.graph.kinds.kind import NodeKind
    from anabranch.graph.load import LoadedGraph, load_graph
    from anabranch.graph.model import BaseNode, Graph
    from anabranch.observe.traces_provider import tracer_provider
    from anabranch.plugin import AnabranchPlugin
    from anabranch.settings import Settings
    from anabranch.transport.node_protocol import NodeTask

    __version__: str

__all__ = [
    "AnabranchPlugin",
    "BaseNode",
    "CacheStats",
    "CacheStrategy",
    "CacheWarmer",
    "ChangeSet",
    "ConflictResolution",
    "ContextMetadata",
    "ContextSnapshot",
    "ContextStore",
    "DistributedCache",
    "DistributedContext",
    "Graph",
    "InMemoryStore",
    "LoadedGraph",
    "MemcachedStore",
    "NodeKind",
    "NodeResult",
    "NodeTask",
    "RedisStore",
    "Settings",
    "SharedContext",
    "SqlStore",
    "ThreeWayMerge",
    "VersionedContext",
    "__version__",
    "cel",
    "errors",
    "load_graph",
    "node",
    "open_store",
    "render",
    "template",
    "tracer_provider",
]

_MODULES = {
    "anabranch.activities.node_result": ("NodeResult",),
    "anabranch.activities.python": ("node",),
    "anabranch.activities.rendering": ("render",),
    "anabranch.context.cache.cache": ("DistributedCache",),
    "anabranch.context.cache.strategy": ("CacheStats", "CacheStrategy"),
    "anabranch.context.cache.warmer": ("CacheWarmer",),
    "anabranch.context.changes": ("ChangeSet",),
    "anabranch.context.distributed": ("ContextMetadata", "ContextSnapshot", "DistributedContext"),
    "anabranch.context.merge.resolution": ("ConflictResolution",),
    "anabranch.context.merge.three_way": ("ThreeWayMerge",),
    "anabranch.context.shared": ("SharedContext",),
    "anabranch.context.stores.memcached": ("MemcachedStore",),
    "anabranch.context.stores.memory": ("InMemoryStore",),
    "anabranch.context.stores.open": ("open_store",),
    "anabranch.context.stores.protocol": ("ContextStore",),
    "anabranch.context.stores.redis": ("RedisStore",),
    "anabranch.context.stores.sql": ("SqlStore",),
    "anabranch.context.versioned": ("VersionedContext",),
    "anabranch.graph.kinds.fields": ("cel", "template"),
    "anabranch.graph.kinds.kind": ("NodeKind",),
    "anabranch.graph.load": ("LoadedGraph", "load_graph"),
    "anabranch.graph.model": ("BaseNode", "Graph"),
    "anabranch.observe.traces_provider": ("tracer_provider",),
    "anabranch.plugin": ("AnabranchPlugin",),
    "anabranch.settings": ("Settings",),
    "anabranch.transport.node_protocol": ("NodeTask",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("anabranch")
    elif name == "errors":
        value = import_module("anabranch.errors")
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
