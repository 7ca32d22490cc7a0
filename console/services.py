"""What the console's routes work with, made once for each app."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Self
from weakref import WeakValueDictionary

from starlette.requests import Request
from temporalio.client import Client

from anabranch.console.listing.coverage import TestRuns
from anabranch.console.listing.shelf import Shelf
from anabranch.console.listing.waiting import IN_FLIGHT, WaitingRuns
from anabranch.console.run.live import LiveRuns
from anabranch.console.run.moments import Moments
from anabranch.console.run.todo import awaited
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.listing import Listing
from anabranch.inspection.runs import Runs
from anabranch.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """In `request.app.state.services`."""

    client: Client
    inspector: Inspector
    runs: Runs
    live: LiveRuns
    moments: Moments
    listing: Listing
    waiting: WaitingRuns
    """For people."""
    awaiting: WaitingRuns
    """For events."""
    graphs: Shelf
    tests: TestRuns
    settings: Settings
    web_ui: str | None = None
    """The address of Temporal's Web UI, for links."""
    starting: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    """By the workflow ids of runs that are being started: one start of an id after the other."""

    @classmethod
    def of(cls, client: Client, settings: Settings, *, web_ui: str | None = None) -> Self:
        """The services of a console that shows the client's namespace."""
        cipher = settings.cipher()
        strict = cipher is not None and cipher.strict
        inspector = Inspector(client.data_converter, namespace=client.namespace, strict=strict)
        runs, live = Runs(client, inspector), LiveRuns(client, inspector)
        listing = Listing(client, runs)
        return cls(
            client,
            inspector,
            runs,
            live,
            Moments(runs, inspector, live),
            listing,
            WaitingRuns(client, runs, listing),
            WaitingRuns(client, runs, listing, IN_FLIGHT, awaited),
            Shelf(settings.graphs, below=settings.graphs_below),
            TestRuns(settings),
            settings,
            web_ui,
        )

    async def close(self) -> None:
        """End what they started."""
        await self.live.close()
        await self.waiting.close()
        await self.awaiting.close()
        self.inspector.close()


def services_of(request: Request) -> Services:
    """The services of the app that a request came to."""
    services: Services = request.app.state.services
    return services
