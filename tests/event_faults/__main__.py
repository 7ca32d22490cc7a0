"""`make faults`: 5,000 orders from NATS and from Kafka's protocol, each with a consumer killed three times."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from rich.console import Console

from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests import servers
from tests.event_faults.brokers import Broker, kafka_broker, nats_broker
from tests.event_faults.storm import KILLS, Site, findings, storm

ORDERS = 5_000
_SECONDS = 1800
Opener = Callable[[str, str], AbstractAsyncContextManager[Broker]]


async def prove(name: str, site: Site, broker: AbstractAsyncContextManager[Broker], *, repeats: int) -> list[str]:
    """What is wrong after a storm; prints what was seen."""
    async with broker as opened:
        found = await storm(site, opened, ORDERS, seconds=_SECONDS)
    wrong = findings(site, found, ORDERS, repeats=repeats)
    twice = found.results.total() - len(found.results)
    screen = Console()
    screen.print(
        f"{name}: {ORDERS} orders, {KILLS} kills, {found.runs} runs, {len(found.booked)} booked, "
        f"{len(found.results)} results ({twice} of them twice), {len(found.dead)} dead letters, "
        f"{len(wrong)} findings, {found.seconds:.0f} s"
    )
    for finding in wrong:
        screen.print(finding[:2000], markup=False)
    return wrong


def storm_of(name: str, url: str, opener: Opener, folder: Path, *, repeats: int) -> list[str]:
    """One storm, on a Temporal server and a database of its own."""
    folder = folder / name
    folder.mkdir()
    with servers.temporal() as temporal, servers.postgres() as database:

        async def run() -> list[str]:
            client = await connect(Settings(), target_host=temporal.address, namespace="default", tls=False)
            site = Site(client, temporal.address, database, folder, f"storm-{name}")
            return await prove(name, site, opener(url, "storm"), repeats=repeats)

        return asyncio.run(run())


def main() -> int:
    """Exit status 0 if nothing was wrong."""
    with tempfile.TemporaryDirectory() as given, servers.nats(Path(given) / "js") as nats, servers.kafka() as kafka:
        wrong = storm_of("nats", nats, nats_broker, Path(given), repeats=0)
        wrong += storm_of("kafka", kafka, kafka_broker, Path(given), repeats=KILLS * 32)
    return bool(wrong)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # the interpreter may crash at its end where Temporal's client was used
