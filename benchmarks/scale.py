"""How cost grows with the size of a graph and the length of a loop.

- A node's cost in graphs of 20 and of 2,000 nodes (a head, nine nodes side by side, the next head), as activities and
  as local nodes: time, and CPU of worker and server together, interleaved round by round on one server. Loading is left
  out: the worker keeps graphs.
- A `foreach` over 10,000 items: events of each workflow run, and the worker's memory on the way.
- The same items in batches of 100, of which 3 % fail: time against that of single items, and progress on the way.

Absolute figures vary from hour to hour; read the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.client import Client

from anabranch.activities.python import node
from anabranch.activities.standard import node_activities
from anabranch.context.distributed import DistributedContext
from anabranch.dev.devserver import DevServer
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.worker import build_worker

WIDTH = 10
SMALL, LARGE = 20, 2_000
BATCH = 100
FAILING = 33
"""One item of so many fails."""
AIM = 1.5
BATCHED_AIM = 1 / 8
"""The time of batches over that of single items."""
MOST_EVENTS = 4_096 * 1.2
"""The server suggests to continue as new at 4,096 events; what runs then is finished first."""


@node("nothing")
async def nothing(_: DistributedContext) -> None:
    """A handler that does nothing."""


@node("double")
async def double(_: DistributedContext, item: int) -> dict[str, Any]:
    """An item's work."""
    return {"v": item * 2}


@node("double_all")
async def double_all(_: DistributedContext, items: list[int]) -> list[dict[str, Any]]:
    """The work of a batch; some of its items fail."""
    return [{"error": "no"} if item % FAILING == 0 else {"v": item * 2, "error": None} for item in items]


def fans(count: int, *, local: bool) -> str:
    """`count` nodes as YAML: a head, nine nodes side by side that depend on it, the next head that joins them, …"""
    body = f"{{type: python, handler: nothing, reads: [], local: {str(local).lower()}}}"
    edges: list[tuple[int, int]] = []
    for index in range(count):
        first = index - index % WIDTH
        sources = [first] if index != first else range(max(0, first - WIDTH + 1), first)
        edges.extend((source, index) for source in sources)
    lines = ["nodes:", *(f"  n{index}: {body}" for index in range(count))]
    lines += ["edges:", *(f"- {{from: n{source}, to: n{target}}}" for source, target in edges)]
    return "\n".join([f"name: {name_of(count, local=local)}", *lines, ""])


def name_of(count: int, *, local: bool) -> str:
    """The graph's name."""
    return f"{'local' if local else 'remote'}_{count}"


def write_graphs(folder: Path) -> None:
    """Write the graphs of all sizes and kinds as files."""
    for local in (False, True):
        for count in (SMALL, LARGE):
            (folder / f"{name_of(count, local=local)}.yaml").write_text(fans(count, local=local))


def loop(count: int) -> dict[str, Any]:
    """A `foreach` whose items are activities."""
    work = {"type": "python", "handler": "double", "args": {"item": "{{ item }}"}, "reads": []}
    each = {"type": "foreach", "items": "xs", "body": {"nodes": {"work": work}}}
    each["collect"] = {"into": "out", "value": "v"}
    return {"graph": {"name": "loop", "nodes": {"each": each}}, "data": {"xs": list(range(count))}}


def batched_loop(count: int) -> dict[str, Any]:
    """A `foreach` whose batches are activities."""
    work = {"type": "python", "handler": "double_all", "args": {"items": "{{ items }}"}, "reads": []}
    body = {"nodes": {"work": {**work, "output": {"answers": "result"}}}}
    failures = {"on_item_failure": "collect", "tolerate": "5%", "failed": "bad"}
    errors = {"item_errors": "answers.map(each, each.error)"}
    each = {"type": "foreach", "items": "xs", "batch": BATCH, "body": body, **failures, **errors}
    each["collect"] = {"into": "out", "value": "answers.map(each, has(each.v) ? each.v : null)"}
    return {"graph": {"name": "batches", "nodes": {"each": each}}, "data": {"xs": list(range(count))}}


@dataclass
class Score:
    """Seconds and CPU seconds per node, one of each for a round."""

    times: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Site:
    """The server's process, and a client of it."""

    pid: int
    client: Client
    task_queue: str

    async def run(self, workflow_type: str, argument: Any) -> tuple[str, dict[str, Any]]:
        """Run to the end; the id of the first workflow run, and the result."""
        workflow_id = f"{workflow_type}-{time.perf_counter_ns()}"
        handle = await self.client.start_workflow(workflow_type, argument, id=workflow_id, task_queue=self.task_queue)
        result: dict[str, Any] = await handle.result()
        return workflow_id, result

    def cpu(self) -> float:
        """CPU seconds of the worker (this process) and the server so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def race(site: Site, *, local: bool, rounds: int) -> dict[int, Score]:
    """The same number of nodes in runs of small graphs and in one run of a large one, round by round."""
    scores = {SMALL: Score(), LARGE: Score()}
    for turn in range(rounds + 1):
        for count, score in scores.items():
            began, cpu = time.perf_counter(), site.cpu()
            for _ in range(LARGE // count):
                await site.run(name_of(count, local=local), {})
            if turn:  # the first round loads the graphs
                score.times.append((time.perf_counter() - began) / LARGE)
                score.cpu.append((site.cpu() - cpu) / LARGE)
    return scores


def report(kind: str, scores: dict[int, Score]) -> str:
    """Print one kind's table; whether the aim is met."""
    for count, score in scores.items():
        times, cpu = (statistics.median(each) * 1000 for each in (score.times, score.cpu))
        print(f"  {kind:<8} {count:>6} nodes {times:8.2f} ms {cpu:8.2f} ms CPU   per node")
    small, large = scores[SMALL], scores[LARGE]
    ratio = statistics.median(large.cpu) / statistics.median(small.cpu)
    time_ratio = statistics.median(large.times) / statistics.median(small.times)
    return _verdict(f"{kind}: CPU per node at {LARGE} over {SMALL} (time: {time_ratio:.2f})", ratio, AIM)


async def long_loop(site: Site, count: int) -> tuple[float, list[str]]:
    """Run the `foreach`, print its events and memory; its seconds, and whether both are bounded."""
    resident: list[float] = []

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.5)
            resident.append(_resident_mib())

    watching = asyncio.create_task(watch())
    began = time.perf_counter()
    workflow_id, result = await site.run("GraphWorkflow", loop(count))
    seconds = time.perf_counter() - began
    watching.cancel()
    assert result["data"]["out"] == [2 * item for item in range(count)]
    events = [each.history_length async for each in site.client.list_workflows(f"WorkflowId = '{workflow_id}'")]
    half = resident[: len(resident) // 2]
    print(
        f"\nforeach over {count} items: {seconds:.1f} s, {len(events)} workflow runs, at most {max(events)} events each"
    )
    print(f"  worker: {max(half):.0f} MiB in the first half, {max(resident):.0f} MiB in all")
    return seconds, [
        _verdict("foreach: most events of one workflow run", max(events), MOST_EVENTS),
        _verdict("foreach: memory in all over that in the first half", max(resident) / max(half), AIM),
    ]


async def batches(site: Site, count: int, single: float) -> list[str]:
    """Run the `foreach` in batches; whether they take little of the time that `single` items took."""
    seen: list[int] = []
    workflow_id, began = f"batches-{time.perf_counter_ns()}", time.perf_counter()
    start = site.client.start_workflow
    handle = await start("GraphWorkflow", batched_loop(count), id=workflow_id, task_queue=site.task_queue)

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.2)
            seen.append((await handle.query("status"))["nodes"]["each"].get("items", {}).get("done", 0))

    watching = asyncio.create_task(watch())
    result: dict[str, Any] = await handle.result()
    seconds = time.perf_counter() - began
    watching.cancel()
    data = result["data"]
    assert [each["item"] for each in data["bad"]] == list(range(0, count, FAILING))
    assert data["out"] == [2 * item for item in range(count) if item % FAILING]
    events = [each.history_length async for each in site.client.list_workflows(f"WorkflowId = '{workflow_id}'")]
    told = f"{len(data['bad'])} items failed, {len(set(seen))} states of progress were seen"
    print(f"\nthe same in batches of {BATCH}: {seconds:.1f} s, {sum(events)} events, {told}")
    return [
        _verdict("batches: time over that of single items", seconds / single, BATCHED_AIM),
        _verdict("batches: most events of one workflow run", max(events), MOST_EVENTS),
    ]


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024**2


def _verdict(what: str, value: float, aim: float) -> str:
    return f"  {'met   ' if value <= aim else 'MISSED'} {what}: {value:.2f} (aim <= {aim:.2f})"


async def main() -> None:
    """Measure and report."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--items", type=int, default=10_000)
    chosen = options.parse_args()
    aims: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        write_graphs(Path(folder))
        settings = Settings(graphs=Path(folder), task_queue="scale", inline_graphs=True)
        activities = node_activities(settings)
        async with await DevServer.start() as server:
            client = await connect(settings, target_host=server.address)
            site = Site(server.pid, client, settings.task_queue)
            async with build_worker(client, settings, activities):
                for local in (False, True):
                    scores = await race(site, local=local, rounds=chosen.rounds)
                    aims.append(report("local" if local else "remote", scores))
                seconds, met = await long_loop(site, chosen.items)
                aims += [*met, *await batches(site, chosen.items, seconds)]
        await activities.aclose()
    print("\naims")
    print("\n".join(aims))


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)  # Python can crash at exit after Temporal client use (temporalio/sdk-python issue 300)
