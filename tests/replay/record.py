"""Records the histories that `test_replay` replays: `python -m tests.replay.record` writes `histories/*.json.gz` again.

Each run is played on a real server and fetched as `temporal workflow show -o json` gives it. What names this machine is
taken out (stack traces, the sticky task queue), everything that replay needs stays. Record when a change of the
workflows is meant to change what they do; until then the old histories prove that runs in flight go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, asynccontextmanager, closing, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError

from anabranch.dev import stand_in_model
from anabranch.dev.devserver import FAST, DevServer, temporal_command
from anabranch.graph.model import Graph
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.transport.search_attributes import own_keys
from tests import servers
from tests.grpc_shop import shop
from tests.integration.graph_kit import Handle, chain, put, worker_for
from tests.replay.conversations import asked_while_loading
from tests.replay.plays import IMPATIENT, LIMITED, PLAYS
from tests.replay.world import OWN, far, own_attributes
from tests.workers import worker_on

HISTORIES = Path(__file__).parent / "histories"
IDENTITY = "anabranch-test"
STRIPPED = {"stackTrace"}


@activity.defn
async def weigh(mass: float) -> dict[str, float]:
    """What an `activity` node calls."""
    return {"weight": mass * 2.5}


async def record(names: list[str]) -> None:
    """Play and write the named runs, all of them without names."""
    with tempfile.TemporaryDirectory() as folder:
        async with _services(Path(folder)):
            for name in names or PLAYS:
                history = await _played(name, Path(folder))
                path = HISTORIES / f"{name}.json.gz"
                path.write_bytes(gzip.compress(_one_event_per_line(_nameless(history)).encode(), mtime=0))
                sys.stdout.write(f"{path.name}: {len(history['events'])} events, {path.stat().st_size} bytes\n")


async def _played(name: str, folder: Path) -> dict[str, Any]:
    play = PLAYS[name]
    suggests = {"limit.historyCount.suggestContinueAsNew": "24"} if play in IMPATIENT else {}
    named = {"name": "g", **chain(a=put()), **(OWN if play is own_attributes else {})}
    keys = own_keys([Graph.model_validate(named)])
    async with await DevServer.start(dynamic_config={**FAST, **suggests}, search_attributes=keys) as server:
        client = await connect(Settings(), target_host=server.address, identity=IDENTITY)
        with (
            _core_s_own_order() if play is asked_while_loading else nullcontext(),
            servers.valkey() if play in LIMITED else nullcontext() as redis,
        ):
            async with (
                worker_on(client, f"{name}-others", activities=[weigh]),
                worker_for(client, name, folder, http_allow_private=True, redis_url=redis) as served,
            ):
                return await _history(client, server, await play(served))


def _core_s_own_order() -> AbstractContextManager[Any]:
    """A worker without our runner, as another release or somebody's own may be."""
    return patch("anabranch.plugin.InOrder", lambda runner: runner)


@asynccontextmanager
async def _services(folder: Path) -> AsyncGenerator[None]:
    """A database, a model and a shop for the nodes that need one."""
    with closing(sqlite3.connect(folder / "notes.db")) as database:
        database.execute("create table notes (text text)")
    async with stand_in_model.serve() as url, shop() as prices, far() as asked:
        given = {
            "REPLAY_SHOP": f"127.0.0.1:{prices.port}",
            "REPLAY_DB": f"sqlite+aiosqlite:///{folder}/notes.db",
            "REPLAY_FAR": asked,
            "OPENAI_BASE_URL": url,
            "OLLAMA_BASE_URL": url,
            "OPENAI_API_KEY": "stand-in",
        }
        with patch.dict(os.environ, given):
            yield


async def _history(client: Client, server: DevServer, handle: Handle) -> dict[str, Any]:
    with contextlib.suppress(WorkflowFailureError):  # some are recorded because they fail
        await handle.result()
    run = ("--workflow-id", handle.id, "--run-id", handle.first_execution_run_id or "")
    arguments = ("workflow", "show", "-o", "json", *run, "--address", server.address)
    shown = await asyncio.create_subprocess_exec(temporal_command(), *arguments, stdout=asyncio.subprocess.PIPE)
    told, _ = await shown.communicate()
    history: dict[str, Any] = json.loads(told)
    return history


def _nameless(value: Any) -> Any:
    """The history without what only tells of the machine that recorded it."""
    if isinstance(value, list):
        return [_nameless(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("kind") == "TASK_QUEUE_KIND_STICKY":
        return {**value, "name": "sticky"}
    return {key: _nameless(each) for key, each in value.items() if key not in STRIPPED}


def _one_event_per_line(history: dict[str, Any]) -> str:
    lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in history["events"])
    return f'{{"events":[\n{lines}\n]}}\n'


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:]))
    sys.stdout.flush()
    os._exit(0)  # an interpreter that used Temporal's client may crash while it is torn down
