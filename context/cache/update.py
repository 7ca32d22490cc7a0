"""Read, change, compare-and-set, and what happens when another writer was faster."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from typing import Final

from anabranch.backoff import Backoff
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.context.merge.resolution import ConflictResolution
from anabranch.context.merge.three_way import ThreeWayMerge
from anabranch.context.shared import Change
from anabranch.context.stores.protocol import ContextStore
from anabranch.context.values import same
from anabranch.errors import VersionMismatch

_BACKOFF: Final = Backoff(first=0.002, longest=0.064)


async def update(
    store: ContextStore,
    session_id: str,
    change: Change,
    *,
    resolution: ConflictResolution = ConflictResolution.LAST_WRITE_WINS,
    ttl: float | None = None,
    attempts: int = 100,
) -> DistributedContext:
    """Let `change` work on the stored context (a new one where there is none) and store the result; returns it.

    Where another writer was faster, the change is made again on what that one stored, so no update is lost. Where both
    changed one path differently, `resolution` decides: `last_write_wins` and `higher_version_wins` make the change
    again, `fail_on_conflict` raises ConflictError, `merge_all` stores both values without making it again. A change
    that changes nothing stores nothing. After so many `attempts` it raises VersionMismatch.
    """
    base = await store.load(session_id)
    mine = await _changed(base, session_id, change)
    pauses = itertools.islice(_BACKOFF, attempts - 1)
    merged: DistributedContext | None = None
    while not _is_unchanged(base, mine):
        try:
            await store.save(mine, ttl, 0 if base is None else base.metadata.version)
            break
        except VersionMismatch:
            if (pause := next(pauses, None)) is None:
                raise
        await asyncio.sleep(pause)
        theirs = await store.load(session_id)
        merged = _settled(base, theirs, mine, resolution, merged=merged is not None)
        base, mine = theirs, merged or await _changed(theirs, session_id, change)
    return mine


def _is_unchanged(base: DistributedContext | None, mine: DistributedContext) -> bool:
    if base is None:
        return mine.metadata.version == 1 and not mine.data
    return mine.metadata == base.metadata


async def _changed(base: DistributedContext | None, session_id: str, change: Change) -> DistributedContext:
    working = DistributedContext(session_id) if base is None else base.copy()
    outcome = change(working)
    if inspect.isawaitable(outcome):
        await outcome
    before = ContextMetadata(0, 0) if base is None else base.metadata
    data = {} if base is None else base.data
    if working.metadata.version <= before.version and not same(working.data, data):
        working.merge({})  # written without `set`: still a new version
    return working


def _settled(
    base: DistributedContext | None,
    theirs: DistributedContext | None,
    mine: DistributedContext,
    resolution: ConflictResolution,
    *,
    merged: bool,
) -> DistributedContext | None:
    """Both changes, where the resolution keeps both and they conflict, or `mine` is of that kind (`merged`) already.

    Raises ConflictError where the resolution forbids a conflict.
    """
    again = resolution in {ConflictResolution.LAST_WRITE_WINS, ConflictResolution.HIGHER_VERSION_WINS}
    if again or theirs is None:
        return None
    common = (base or DistributedContext(mine.session_id, at=theirs.metadata.created_at)).snapshot()
    merger = ThreeWayMerge(common, theirs.snapshot(), mine.snapshot(), resolution)
    if not merger.conflicts and not merged:
        return None
    both = merger.merge()
    tags = tuple(dict.fromkeys(theirs.metadata.tags + mine.metadata.tags))
    both.metadata = theirs.metadata._replace(
        updated_at=both.metadata.updated_at,
        version=max(both.metadata.version, theirs.metadata.version + 1),
        modified_by=mine.metadata.modified_by,
        tags=tags,
    )
    return both
