"""The same graphs run by the workers of two checkouts: `python -m benchmarks.trees OLD [NEW]`.

Both workers are on one server and take turns round by round, so that what disturbs one disturbs the other: a change of
a few per cent shows that two runs of `benchmarks/overhead.py` on either commit would not. Each worker is the tree's own
`worker.py`; the graphs, their handler and the load are of this tree.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from temporalio.client import Client

from anabranch.dev.devserver import DevServer
from anabranch.settings import Settings
from anabranch.transport.client import connect
from benchmarks.compare import compare, report
from benchmarks.figures import ROOT, Figure, Record, record
from benchmarks.hand_written import check, state_of
from benchmarks.overhead import LARGE
from benchmarks.race import Contestant, Course, race
from benchmarks.workers import GRAPHS

SHAPES: Final[Mapping[str, str]] = {
    "steps_graph": "chain",
    "steps_local": "chain",
    "diamond_graph": "diamond",
    "diamond_local": "diamond",
}
"""The shape of each graph."""


@asynccontextmanager
async def _worker(tree: Path, address: str, queue: str) -> AsyncGenerator[int]:
    """A tree's worker process; its process id."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tree), str(GRAPHS)]),
        "ANABRANCH_GRAPHS": str(GRAPHS),
        "ANABRANCH_IMPORT": "handlers",
        "ANABRANCH_TASK_QUEUE": queue,
        "TEMPORAL_ADDRESS": address,
    }
    command = [sys.executable, str(tree / "worker.py")]
    process = subprocess.Popen(command, cwd=tree, env=environment, stderr=subprocess.DEVNULL)  # noqa: ASYNC220 - at once
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


class _Starter:
    def __init__(self, client: Client, graph: str, state: dict[str, Any]) -> None:
        self._client = client
        self._graph = graph
        self._state = state

    async def run(self, queue: str) -> None:
        """One run from start to result."""
        workflow_id = f"{queue}-{uuid.uuid4().hex}"
        handle = await self._client.start_workflow(self._graph, self._state, id=workflow_id, task_queue=queue)
        check(SHAPES[self._graph], self._state, (await handle.result())["data"])


async def measure(
    trees: Sequence[Path], graphs: Sequence[str], sizes: Sequence[int], course: Course
) -> tuple[Record, Record]:
    """What was measured of the old tree and of the new one, in the same rounds."""
    old, new = trees
    found: dict[str, list[Figure]] = {"old": [], "new": []}
    for size in sizes:
        async with (
            await DevServer.start() as server,
            _worker(old, server.address, "old") as old_pid,
            _worker(new, server.address, "new") as new_pid,
        ):
            client = await connect(Settings(), target_host=server.address)
            for graph in graphs:
                run = _Starter(client, graph, state_of(size)).run
                pids = {"old": old_pid, "new": new_pid}
                await asyncio.gather(*(run(name) for name in pids for _ in range(course.concurrent)))
                entrants = [Contestant(name, partial(run, name), pid, server.pid) for name, pid in pids.items()]
                for name, score in (await race(entrants, course)).items():
                    found[name] += score.figures(f"{size / 1000:g} KB/{graph}")
    session = uuid.uuid4().hex
    return (
        record("trees", found["old"], tree=old, session=session),
        record("trees", found["new"], tree=new, session=session),
    )


async def main() -> None:
    """Measure and tell what changed."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("old", type=Path, help="a checkout of an older commit (`git worktree add`)")
    options.add_argument(
        "new", type=Path, nargs="?", default=ROOT, help="a checkout of a newer one; this one by default"
    )
    options.add_argument("--graphs", nargs="+", choices=SHAPES, default=["steps_graph", "steps_local"])
    options.add_argument("--sizes", type=int, nargs="+", default=[0, 8_000, LARGE], help="bytes of context")
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--alone", type=int, default=3, help="runs one at a time, of each tree in a round")
    options.add_argument("--concurrent", type=int, default=25, help="runs at once, of each tree in a round")
    options.add_argument("--folder", type=Path, help="where to keep every round, as old.json and new.json")
    chosen = options.parse_args()
    trees = chosen.old.resolve(), chosen.new.resolve()
    course = Course(chosen.rounds, chosen.alone, chosen.concurrent)
    old, new = await measure(trees, chosen.graphs, chosen.sizes, course)
    print(report(compare(old, new)))
    if chosen.folder is not None:
        old.write(chosen.folder / "old.json")
        new.write(chosen.folder / "new.json")


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)  # Python can crash at exit after Temporal client use (temporalio/sdk-python issue 300)
