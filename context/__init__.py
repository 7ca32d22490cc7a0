"""The versioned context: values, change sets, versions, three-way merge, wire formats, stores and the cache over them.

The public names are importable from here. Each loads its module when it is first used, so that workflow code, which
imports only the submodules that it needs, never loads a store's client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anabranch.context.cache.cache import DistributedCache
    from anabranch.context.cache.strategy import CacheStats, CacheStrategy
    from anabranch.context.cache.warmer import CacheWarmer
    from anabranch.context.changes import ChangeSet, apply, diff
    from anabranch.context.distributed import ContextMetadata, ContextSnapshot, DistributedContext
    from anabranch.context.merge.resolution import Candidate, ConflictResolution, Policies, Reducer
    from anabranch.context.merge.three_way import ThreeWayMerge
    from anabranch.context.merge.union import Conflict
    from anabranch.context.shared import SharedContext
    from anabranch.context.stores.memcached import MemcachedStore
    from anabranch.context.stores.memory import InMemoryStore
    from anabranch.context.stores.open import open_store
    from anabranch.context.stores.protocol import ContextStore
    from anabranch.context.stores.redis import RedisStore
    from anabranch.context.stores.sql import SqlStore
    from anabranch.context.values import MISSING, Json, Path, format_path, parse_path
    from anabranch.context.versioned import Blame, VersionedContext
    from anabranch.errors import ConflictError, SizeLimitExceeded, UndeclaredRead, VersionMismatch, WireFormatError
    from anabranch.limits import MAX_CONTEXT_SIZE_BYTES

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
    "anabranch.context.cache.cache": ("DistributedCache",),
    "anabranch.context.cache.strategy": ("CacheStats", "CacheStrategy"),
    "anabranch.context.cache.warmer": ("CacheWarmer",),
    "anabranch.context.changes": ("ChangeSet", "apply", "diff"),
    "anabranch.context.distributed": ("ContextMetadata", "ContextSnapshot", "DistributedContext"),
    "anabranch.context.merge.three_way": ("ThreeWayMerge",),
    "anabranch.context.merge.resolution": ("Candidate", "ConflictResolution", "Policies", "Reducer"),
    "anabranch.context.shared": ("SharedContext",),
    "anabranch.context.stores.memcached": ("MemcachedStore",),
    "anabranch.context.stores.memory": ("InMemoryStore",),
    "anabranch.context.stores.open": ("open_store",),
    "anabranch.context.stores.protocol": ("ContextStore",),
    "anabranch.context.stores.redis": ("RedisStore",),
    "anabranch.context.stores.sql": ("SqlStore",),
    "anabranch.context.merge.union": ("Conflict",),
    "anabranch.context.values": ("MISSING", "Json", "Path", "format_path", "parse_path"),
    "anabranch.context.versioned": ("Blame", "VersionedContext"),
    "anabranch.limits": ("MAX_CONTEXT_SIZE_BYTES",),
    "anabranch.errors": ("ConflictError", "SizeLimitExceeded", "UndeclaredRead", "VersionMismatch", "WireFormatError"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
