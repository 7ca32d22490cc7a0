"""The four ways to keep a cache beside a store, and what a cache reports of itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from anabranch.circuit import State
from anabranch.errors import InputError


class CacheStrategy(StrEnum):
    """Which tier is written when; `DistributedCache` describes each one's reads and writes."""

    WRITE_THROUGH = "write_through"
    WRITE_BEHIND = "write_behind"
    READ_THROUGH = "read_through"
    CACHE_ASIDE = "cache_aside"
    WriteThrough = WRITE_THROUGH
    WriteBehind = WRITE_BEHIND
    ReadThrough = READ_THROUGH
    CacheAside = CACHE_ASIDE

    @classmethod
    def parse(cls, text: str) -> Self:
        """`WriteThrough` or `write_through`. Raises InputError listing the strategies."""
        for member in cls:
            if member.replace("_", "") == text.replace("_", "").lower():
                return member
        raise InputError(f"{text!r} is not a cache strategy", suggestion=f"use one of {', '.join(cls)}")


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What one `DistributedCache` has done so far, and what it holds now.

    A read is a hit or a miss; `stale` misses found a copy that is not what the store has. `errors` counts the cache's
    failed calls and damaged copies. `pending` names the sessions whose last put the store does not have, `writing`
    those that are on their way (should the process die now, the store may have got them); `written` and `failed` count
    what write-behind brought to the store and what it had to give up. `loading` counts the loads that callers wait for.
    """

    strategy: CacheStrategy
    hits: int
    misses: int
    stale: int
    errors: int
    pending: tuple[str, ...]
    writing: tuple[str, ...]
    written: int
    failed: int
    loading: int
    read_breaker: State
    write_breaker: State
