"""Which search attributes the worker's namespace has, asked of the server now and then."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError

from anabranch.transport.node_protocol import PinnedGraph
from anabranch.transport.search_attributes import CAPABILITY, Registered, are_among, granted, registered

_FRESH_SECONDS: Final = 60.0
_PATIENCE: Final = timedelta(seconds=2)
"""A start does not wait longer for what only helps people to find it."""

log = structlog.get_logger("anabranch.worker")


class SearchAttributes:
    """What one worker knows of its namespace."""

    def __init__(self) -> None:
        self._found: Registered = {}
        self._asked: float | None = None
        self._turn = asyncio.Lock()

    async def noted(self, pinned: PinnedGraph) -> PinnedGraph:
        """The same, and what the run can say of itself in search attributes: ours, and those of the graph's own."""
        found = await self._registered(activity.client())
        held = granted(pinned.capabilities, found)
        return replace(pinned, capabilities=(*held, CAPABILITY) if are_among(found) else held)

    async def _registered(self, client: Client) -> Registered:
        if self._is_fresh:
            return self._found
        async with self._turn:
            if not self._is_fresh:
                self._found = await _asked(client)
                self._asked = time.monotonic()
        return self._found

    @property
    def _is_fresh(self) -> bool:
        return self._asked is not None and time.monotonic() - self._asked < _FRESH_SECONDS


async def _asked(client: Client) -> Registered:
    try:
        return await registered(client, _PATIENCE)
    except RPCError as error:
        log.info("search attributes are not used: the server does not name them", reason=error.message)
        return {}
