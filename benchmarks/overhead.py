"""What the interpreter costs over a hand-written Temporal workflow.

Six no-op activities in a chain, on one fresh dev server for each size of context, the contestants interleaved round by
round in one worker process:

- floor: hand-written; the state stays in the workflow, one key goes into each activity and one comes out;
- usual: hand-written; the whole state goes into each activity and comes out, as JSON;
- graph: the same six activities as a graph (`graphs/steps_graph.yaml`);
- local: the same graph with `local: true` nodes;
- encrypted, with `--encryption`: the graph with keys, compared with itself without.

The floor has every setting of our worker that makes it fast (connection, no sandbox, eager activities) and Temporal's
own converter; the usual one has Temporal's defaults (without the sandbox), as people write it.
Absolute figures vary from hour to hour; read the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from anabranch.activities.python import node
from anabranch.activities.standard import node_activities
from anabranch.context.distributed import DistributedContext
from anabranch.dev.devserver import DevServer
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.worker import build_worker
from benchmarks.process import cpu_seconds

STEPS = ("validate", "inventory", "shipping", "payment", "status", "notify")
CONTESTANTS = ("floor", "usual", "graph", "local")
ENCRYPTED = "encrypted"
KEYS = SecretStr(f"bench:{base64.b64encode(bytes(32)).decode()}")
TIMEOUT = timedelta(seconds=30)


@activity.defn
async def one_key(step: str, value: int) -> int:
    """The floor's activity: one key in, one out."""
    return value + 1


@activity.defn
async def whole_state(step: str, state: dict[str, Any]) -> dict[str, Any]:
    """The usual activity: the whole state in and out."""
    return {**state, step: state["count"] + 1}


@node("one_key")
async def one_key_node(context: DistributedContext, step: str) -> dict[str, Any]:
    """The graph's handler: reads one key, writes one."""
    count = context["count"]
    assert isinstance(count, int)
    return {step: count + 1}


@workflow.defn
class Floor:
    """Hand-written, with the state kept in the workflow."""

    @workflow.run
    async def run(self, state: dict[str, Any]) -> dict[str, Any]:
        """Returns the state."""
        for step in STEPS:
            state[step] = await workflow.execute_activity(
                one_key, args=[step, state["count"]], start_to_close_timeout=TIMEOUT
            )
        return state


@workflow.defn
class Usual:
    """Hand-written, with the whole state going through every activity."""

    @workflow.run
    async def run(self, state: dict[str, Any]) -> dict[str, Any]:
        """Returns the state."""
        for step in STEPS:
            state = await workflow.execute_activity(whole_state, args=[step, state], start_to_close_timeout=TIMEOUT)
        return state


def state_of(size: int) -> dict[str, Any]:
    """A context of about `size` bytes of JSON: a list of orders that compresses as business data does."""
    rng = random.Random(size)
    state: dict[str, Any] = {"count": 1}
    rows: list[dict[str, Any]] = []
    while size - 100 * len(rows) > 50:
        rows.append({"sku": f"SKU-{rng.getrandbits(40):010x}", "price": round(rng.random() * 1000, 2),
                     "qty": rng.randrange(9), "note": rng.randbytes(12).hex()})  # fmt: skip
    return {**state, "rows": rows} if rows else state


@dataclass
class Score:
    """What was measured of one contestant: seconds, runs per second, CPU seconds per run, bytes of history."""

    latencies: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    history: int = 0

    @property
    def latency(self) -> float:
        """Median, in milliseconds."""
        return statistics.median(self.latencies) * 1000

    @property
    def rate(self) -> float:
        """Median runs per second."""
        return statistics.median(self.rates)


class Starter:
    """Starts runs of each contestant."""

    def __init__(self, clients: dict[str, Client]) -> None:
        self._clients = clients
        self._count = 0

    async def run(self, contestant: str, state: dict[str, Any]) -> Any:
        """One run from start to result."""
        self._count += 1
        kind = {"floor": "Floor", "usual": "Usual", ENCRYPTED: "steps_graph"}.get(contestant, f"steps_{contestant}")
        queue = contestant if contestant in {"floor", "usual", ENCRYPTED} else "anabranch"
        handle = await self._clients[contestant].start_workflow(
            kind, state, id=f"{contestant}-{self._count}", task_queue=queue
        )
        result = await handle.result()
        data = result.get("data", result)
        assert all(data[step] == 2 for step in STEPS), result
        return handle


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    """Seconds that it takes."""
    begun = time.perf_counter()
    await work()
    return time.perf_counter() - begun


async def measure(
    size: int, contestants: Sequence[str], *, alone: int, rounds: int, concurrent: int
) -> dict[str, Score]:
    """All contestants at one size, interleaved."""
    state, scores = state_of(size), {name: Score() for name in contestants}
    async with await DevServer.start() as server:
        process = subprocess.Popen([sys.executable, __file__, "--worker", server.address])  # noqa: ASYNC220 - it starts at once
        try:
            ours = await connect(Settings(), target_host=server.address)
            theirs = await connect(Settings(), target_host=server.address, data_converter=DataConverter.default)
            usual = await Client.connect(server.address)
            secret = await connect(Settings(encryption_keys=KEYS), target_host=server.address)
            starter = Starter({"floor": theirs, "usual": usual, "graph": ours, "local": ours, ENCRYPTED: secret})
            for name in contestants:
                handles = [await starter.run(name, state) for _ in range(5)]
                history = await handles[-1].fetch_history()
                scores[name].history = sum(event.ByteSize() for event in history.events)
            await _race(starter, scores, state, process.pid, alone=alone, rounds=rounds, concurrent=concurrent)
        finally:
            process.terminate()
            process.wait()
    return scores


async def _race(
    starter: Starter,
    scores: dict[str, Score],
    state: dict[str, Any],
    pid: int,
    *,
    alone: int,
    rounds: int,
    concurrent: int,
) -> None:
    for _ in range(alone):
        for name, score in scores.items():
            score.latencies.append(await timed(partial(starter.run, name, state)))
    for _ in range(rounds):
        for name, score in scores.items():
            before = cpu_seconds(pid)
            runs = [starter.run(name, state) for _ in range(concurrent)]
            seconds = await timed(partial(asyncio.gather, *runs))
            score.rates.append(concurrent / seconds)
            score.cpu.append((cpu_seconds(pid) - before) / concurrent)


def report(size: int, scores: dict[str, Score]) -> list[str]:
    """The table of one size, and which aims are met."""
    floor, usual, ours, local = (scores[name] for name in CONTESTANTS)
    print(f"\ncontext of {size / 1000:g} KB          p50 alone     ratio   runs/s at 50   ratio   CPU/run    history")
    for name, score in scores.items():
        print(
            f"  {name:<24} {score.latency:8.1f} ms {score.latency / floor.latency:8.2f} {score.rate:12.1f}"
            f" {score.rate / floor.rate:9.2f} {statistics.median(score.cpu) * 1000:6.1f} ms"
            f" {score.history / 1000:8.1f} KB"
        )
    aims = [
        (f"{size / 1000:g} KB latency over the floor's", ours.latency / floor.latency, "<=", 1.10),
        (f"{size / 1000:g} KB throughput over the floor's", ours.rate / floor.rate, ">=", 0.95),
        (f"{size / 1000:g} KB local: latency over the floor's", local.latency / floor.latency, "<=", 0.5),
        (f"{size / 1000:g} KB local: throughput over the floor's", local.rate / floor.rate, ">=", 1.8),
    ]
    if (encrypted := scores.get(ENCRYPTED)) is not None:
        aims.append((f"{size / 1000:g} KB latency with encryption", encrypted.latency / ours.latency, "<=", 1.05))
    if size >= 100_000:
        aims.append(("100 KB throughput over the usual's", ours.rate / usual.rate, ">=", 2.3))
        aims.append(("100 KB history over the usual's", ours.history / usual.history, "<=", 1 / 6))
    return [_verdict(*aim) for aim in aims]


def _verdict(what: str, value: float, sign: str, aim: float) -> str:
    met = value <= aim if sign == "<=" else value >= aim
    return f"  {'met   ' if met else 'MISSED'} {what}: {value:.2f} (aim {sign} {aim:.2f})"


async def serve(address: str) -> None:
    """The worker process: both task queues."""
    settings = Settings(graphs=Path(__file__).parent / "graphs")
    ours = await connect(settings, target_host=address)
    theirs = await connect(settings, target_host=address, data_converter=DataConverter.default)
    hand = Worker(
        theirs,
        task_queue="floor",
        workflows=[Floor],
        activities=[one_key],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_eager_activity_reservations_per_workflow_task=10,
    )
    defaults = await Client.connect(address)
    usual = Worker(
        defaults,
        task_queue="usual",
        workflows=[Usual],
        activities=[whole_state],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    sealing = settings.model_copy(update={"task_queue": ENCRYPTED, "encryption_keys": KEYS})
    secret = await connect(sealing, target_host=address)
    async with (
        hand,
        usual,
        build_worker(ours, settings, node_activities(settings)),
        build_worker(secret, sealing, node_activities(sealing)),
    ):
        await asyncio.Event().wait()


async def main() -> None:
    """Measure and report."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--worker", metavar="ADDRESS", help=argparse.SUPPRESS)
    options.add_argument("--alone", type=int, default=30, help="runs one at a time, of each contestant")
    options.add_argument("--rounds", type=int, default=5, help="rounds of concurrent runs")
    options.add_argument("--concurrent", type=int, default=50)
    options.add_argument("--sizes", type=int, nargs="+", default=[0, 8_000, 100_000], help="bytes of context")
    options.add_argument("--metrics", action="store_true", help="instead: what metrics cost a worker's CPU")
    options.add_argument("--encryption", action="store_true", help="also with keys")
    chosen = options.parse_args()
    if chosen.worker:
        await serve(chosen.worker)
        return
    if chosen.metrics:
        from benchmarks import metrics

        metrics.report(await metrics.measure(rounds=chosen.rounds, concurrent=chosen.concurrent))
        return
    aims: list[str] = []
    contestants = (*CONTESTANTS, ENCRYPTED) if chosen.encryption else CONTESTANTS
    for size in chosen.sizes:
        scores = await measure(
            size, contestants, alone=chosen.alone, rounds=chosen.rounds, concurrent=chosen.concurrent
        )
        aims += report(size, scores)
    print("\naims")
    print("\n".join(aims))


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)  # Python can crash at exit after Temporal client use (temporalio/sdk-python issue 300)
