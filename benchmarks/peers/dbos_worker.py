"""The steps as DBOS workflows, in the environment that `make peers` builds.

`python -m benchmarks.peers.dbos_worker URL SIZE` starts a workflow for each line of its input, `SHAPE ID`, and writes
the id when its result is there and right: DBOS runs workflows in the process that starts them.
"""

# The library is in that environment only, so that here it has no types.
# mypy: disable-error-code="import-not-found"
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
import sys
from typing import Any

from dbos import DBOS, SetWorkflowID

from benchmarks.hand_written import BRANCHES, CHAIN, JOIN, SPLIT, check, state_of


async def _one_key(step: str, value: int) -> int:
    return value + 1


one_key = DBOS.step(name="one_key")(_one_key)


async def _chain(state: dict[str, Any]) -> dict[str, Any]:
    for step in CHAIN:
        state[step] = await one_key(step, state["count"])
    return state


async def _diamond(state: dict[str, Any]) -> dict[str, Any]:
    state[SPLIT] = await one_key(SPLIT, state["count"])
    values = await asyncio.gather(*(one_key(step, state["count"]) for step in BRANCHES))
    state.update(zip(BRANCHES, values, strict=True))
    state[JOIN] = await one_key(JOIN, state["count"])
    return state


WORKFLOWS = {"chain": DBOS.workflow(name="chain")(_chain), "diamond": DBOS.workflow(name="diamond")(_diamond)}


async def _run(shape: str, workflow_id: str, state: dict[str, Any]) -> None:
    with SetWorkflowID(workflow_id):
        handle = await DBOS.start_workflow_async(WORKFLOWS[shape], dict(state))
    check(shape, state, await handle.get_result())
    print(workflow_id, flush=True)


async def main(url: str, size: str) -> None:
    """Work until the input ends."""
    DBOS(config={"name": "peers", "system_database_url": url, "log_level": "ERROR"})
    DBOS.launch()
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    state = state_of(int(size))
    async with asyncio.TaskGroup() as running:
        while line := await lines.readline():
            shape, workflow_id = line.decode().split()
            running.create_task(_run(shape, workflow_id, state))
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
