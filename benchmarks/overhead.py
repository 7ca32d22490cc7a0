"""What the interpreter costs over a hand-written Temporal workflow.

Six no-op activities in a chain, on one fresh dev server for each size of context, the contestants interleaved round by
round in one worker process:

- floor: hand-written; the state stays in the workflow, one key goes into each activity and one comes out;
- usual: hand-written; the whole state goes into each activity and comes out, as JSON;
- graph: the same six activities as a graph (`graphs/steps_graph.yaml`);
- local: the same graph with `local: true` nodes;
- encrypted, with `--encryption`: the graph with keys, compared with itself without.

The floor has every setting of our worker that makes it fast (connection, no sandbox, eager activities) and Temporal's
own converter; the usual one has Temporal's defaults, without the sandbox. `benchmarks/peers` has it with the sandbox,
and other libraries too. Absolute figures vary from hour to hour; read the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import statistics
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pydantic import SecretStr
from temporalio.client import Client

from anabranch.dev.devserver import DevServer
from anabranch.inspection.billing import Size, size_of
from anabranch.settings import Settings
from anabranch.transport.client import connect
from benchmarks import figures
from benchmarks.figures import Figure
from benchmarks.hand_written import check, state_of
from benchmarks.race import Contestant, Course, Score, race
from benchmarks.ratios import Interval, paired
from benchmarks.workers import floor_client, floor_worker, graph_worker, usual_client, usual_worker

CONTESTANTS: Final = ("floor", "usual", "graph", "local")
ENCRYPTED: Final = "encrypted"
KEYS: Final = SecretStr(f"bench:{base64.b64encode(bytes(32)).decode()}")
TYPES: Final[Mapping[str, str]] = {
    "floor": "floor-chain",
    "usual": "usual-chain",
    "graph": "steps_graph",
    "local": "steps_local",
    ENCRYPTED: "steps_graph",
}
"""The workflow type of each contestant."""
LARGE: Final = 100_000
"""Bytes of a context that counts as large."""
_WARM_UP: Final = 5


@dataclass(frozen=True, slots=True)
class Result:
    """The contestants' scores, and what one run of each leaves."""

    scores: Mapping[str, Score]
    sizes: Mapping[str, Size]


class Starter:
    """Starts runs of each contestant on its task queue."""

    def __init__(self, clients: Mapping[str, Client], state: dict[str, Any]) -> None:
        self._clients = clients
        self._state = state
        self._count = 0

    async def run(self, contestant: str) -> Any:
        """One run from start to result; its handle."""
        self._count += 1
        queue = "anabranch" if contestant in {"graph", "local"} else contestant
        handle = await self._clients[contestant].start_workflow(
            TYPES[contestant], self._state, id=f"{contestant}-{self._count}", task_queue=queue
        )
        result = await handle.result()
        check("chain", self._state, result.get("data", result))
        return handle


@asynccontextmanager
async def _worker(address: str) -> AsyncGenerator[int]:
    """The worker process; its process id."""
    command = [sys.executable, "-m", "benchmarks.overhead", "--worker", address]
    process = subprocess.Popen(command, cwd=figures.ROOT)  # noqa: ASYNC220 - it starts at once
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


async def measure(size: int, contestants: Sequence[str], course: Course) -> Result:
    """All contestants at one size, interleaved."""
    async with await DevServer.start() as server, _worker(server.address) as pid:
        ours = await connect(Settings(), target_host=server.address)
        starter = Starter(
            {
                "floor": await floor_client(server.address),
                "usual": await usual_client(server.address),
                "graph": ours,
                "local": ours,
                ENCRYPTED: await connect(Settings(encryption_keys=KEYS), target_host=server.address),
            },
            state_of(size),
        )
        sizes = {}
        for name in contestants:
            handles = [await starter.run(name) for _ in range(_WARM_UP)]
            sizes[name] = await size_of(handles[-1])
        entrants = [Contestant(name, partial(starter.run, name), pid, server.pid) for name in contestants]
        return Result(await race(entrants, course), sizes)


def report(size: int, result: Result) -> list[str]:
    """Print the table of one size; which aims are met."""
    floor = result.scores["floor"]
    head = ("p50 alone", "of the floor", "runs/s", "of the floor", "CPU/run", "history")
    print("\n{:<19}{:>12}  {:<22}{:>7}  {:<22}{:>9}{:>11}".format(f"context of {size / 1000:g} KB", *head))
    for name, score in result.scores.items():
        print(
            f"  {name:<17}{statistics.median(score.latency):>9.1f} ms  {paired(score.latency, floor.latency)!s:<22}"
            f"{statistics.median(score.rate):>7.1f}  {paired(score.rate, floor.rate)!s:<22}"
            f"{statistics.median(score.worker):>6.1f} ms{result.sizes[name].bytes / 1000:>8.1f} KB"
        )
    aims = _aims(size, result)
    return [_verdict(f"{size / 1000:g} KB {what}", ratio, sign, aim) for what, ratio, sign, aim in aims]


def _aims(size: int, result: Result) -> list[tuple[str, Interval, str, float]]:
    floor, usual, ours, local = (result.scores[name] for name in CONTESTANTS)
    aims = [
        ("latency over the floor's", paired(ours.latency, floor.latency), "<=", 1.05),
        ("throughput over the floor's", paired(ours.rate, floor.rate), ">=", 1.0),
        ("worker CPU over the floor's", paired(ours.worker, floor.worker), "<=", 1.0),
        ("local: latency over the floor's", paired(local.latency, floor.latency), "<=", 0.3),
        ("local: throughput over the floor's", paired(local.rate, floor.rate), ">=", 1.8 if size >= LARGE else 3.0),
    ]
    if (encrypted := result.scores.get(ENCRYPTED)) is not None:
        aims.append(("latency with encryption", paired(encrypted.latency, ours.latency), "<=", 1.05))
    if size >= LARGE:
        aims.append(("throughput over the usual's", paired(ours.rate, usual.rate), ">=", 2.3))
        smaller = result.sizes["graph"].bytes / result.sizes["usual"].bytes
        aims.append(("history over the usual's", Interval(smaller, smaller, smaller), "<=", 1 / 6))
    return aims


def _verdict(what: str, ratio: Interval, sign: str, aim: float) -> str:
    met = ratio.middle <= aim if sign == "<=" else ratio.middle >= aim
    return f"  {'met   ' if met else 'MISSED'} {what}: {ratio} (aim {sign} {aim:.2f})"


def figures_of(size: int, result: Result) -> list[Figure]:
    """Every contestant's rounds, over those of the floor."""
    place = f"{size / 1000:g} KB"
    found = []
    for name, score in result.scores.items():
        found += score.figures(f"{place}/{name}", None if name == "floor" else f"{place}/floor")
        found.append(Figure(f"{place}/{name}/history", "bytes", "lower", (result.sizes[name].bytes,)))
    return found


async def serve(address: str) -> None:
    """The worker process: every contestant's task queue."""
    settings = Settings()
    sealing = settings.model_copy(update={"task_queue": ENCRYPTED, "encryption_keys": KEYS})
    async with (
        floor_worker(await floor_client(address), "floor"),
        usual_worker(await usual_client(address), "usual", sandbox=False),
        graph_worker(await connect(settings, target_host=address), settings),
        graph_worker(await connect(sealing, target_host=address), sealing),
    ):
        await asyncio.Event().wait()


async def main() -> None:
    """Measure and report."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--worker", metavar="ADDRESS", help=argparse.SUPPRESS)
    options.add_argument("--rounds", type=int, default=8)
    options.add_argument("--alone", type=int, default=3, help="runs one at a time, of each contestant in a round")
    options.add_argument("--concurrent", type=int, default=50, help="runs at once, of each contestant in a round")
    options.add_argument("--sizes", type=int, nargs="+", default=[0, 8_000, LARGE], help="bytes of context")
    options.add_argument("--metrics", action="store_true", help="instead: what metrics cost a worker's CPU")
    options.add_argument("--encryption", action="store_true", help="also with keys")
    figures.add_option(options)
    chosen = options.parse_args()
    if chosen.worker:
        await serve(chosen.worker)
    elif chosen.metrics:
        from benchmarks import metrics

        seconds = await metrics.measure(rounds=chosen.rounds, concurrent=chosen.concurrent)
        metrics.report(seconds)
        figures.keep(chosen.json, "metrics", metrics.figures_of(seconds))
    else:
        await _main(chosen)


async def _main(chosen: argparse.Namespace) -> None:
    aims: list[str] = []
    measured: list[Figure] = []
    course = Course(chosen.rounds, chosen.alone, chosen.concurrent)
    for size in chosen.sizes:
        result = await measure(size, (*CONTESTANTS, ENCRYPTED) if chosen.encryption else CONTESTANTS, course)
        aims += report(size, result)
        measured += figures_of(size, result)
    print("\naims")
    print("\n".join(aims))
    figures.keep(chosen.json, "overhead", measured)


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)  # Python can crash at exit after Temporal client use (temporalio/sdk-python issue 300)
