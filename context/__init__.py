"""The versioned context: values, change sets, versions, three-way merge, wire formats, stores and the cache over them.

The public names are importable from here. Each loads its module at its first use, so that workflow code, which imports
the submodules that it needs, never loads a store's client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from context.cache import DistributedCache
    from context.cache_strategy import CacheStats, CacheStrategy
    from context.cache_warmer import CacheWarmer
    from context.changes import ChangeSet, apply, diff
    from context.distributed import ContextMetadata, ContextSnapshot, DistributedContext
    from context.merge import ThreeWayMerge
    from context.resolution import Candidate, ConflictResolution, Policies, Reducer
    from context.shared import SharedContext
    from context.stores.memcached import MemcachedStore
    from context.stores.memory import InMemoryStore
    from context.stores.open import open_store
    from context.stores.protocol import ContextStore
    from context.stores.redis import RedisStore
    from context.stores.sql import SqlStore
    from context.union import Conflict
    from context.values import MISSING, Json, Path, format_path, parse_path
    from context.versioned import Blame, VersionedContext
    from context.wire import MAX_CONTEXT_SIZE_BYTES
    from errors import ConflictError, SizeLimitExceeded, UndeclaredRead, VersionMismatch, WireFormatError

__all__ = [
    "MAX_CONTEXT_SIZE_BYTES",
    "MISSING",
    "Blame",
    "CacheStats",
    "CacheStrategy",
    "CacheWarmer",
    "Candidate",
    "ChangeSet",
    "Conflict",
    "ConflictError",
    "ConflictResolution",
    "ContextMetadata",
    "ContextSnapshot",
    "ContextStore",
    "DistributedCache",
    "DistributedContext",
    "InMemoryStore",
    "Json",
    "MemcachedStore",
    "Path",
    "Policies",
    "RedisStore",
    "Reducer",
    "SharedContext",
    "SizeLimitExceeded",
    "SqlStore",
    "ThreeWayMerge",
    "UndeclaredRead",
    "VersionMismatch",
    "VersionedContext",
    "WireFormatError",
    "apply",
    "diff",
    "format_path",
    "open_store",
    "parse_path",
]

_MODULES = {
    "context.cache": ("DistributedCache",),
    "context.cache_strategy": ("CacheStats", "CacheStrategy"),
    "context.cache_warmer": ("CacheWarmer",),
    "context.changes": ("ChangeSet", "apply", "diff"),
    "context.distributed": ("ContextMetadata", "ContextSnapshot", "DistributedContext"),
    "context.merge": ("ThreeWayMerge",),
    "context.resolution": ("Candidate", "ConflictResolution", "Policies", "Reducer"),
    "context.shared": ("SharedContext",),
    "context.stores.memcached": ("MemcachedStore",),
    "context.stores.memory": ("InMemoryStore",),
    "context.stores.open": ("open_store",),
    "context.stores.protocol": ("ContextStore",),
    "context.stores.redis": ("RedisStore",),
    "context.stores.sql": ("SqlStore",),
    "context.union": ("Conflict",),
    "context.values": ("MISSING", "Json", "Path", "format_path", "parse_path"),
    "context.versioned": ("Blame", "VersionedContext"),
    "context.wire": ("MAX_CONTEXT_SIZE_BYTES",),
    "errors": ("ConflictError", "SizeLimitExceeded", "UndeclaredRead", "VersionMismatch", "WireFormatError"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
