"""Worker processes in environments that are not as usual: no HOME, other locales, few descriptors, a full disk, no
folder, closed streams.

Each worker serves a run and ends in order when it is asked to; or it says by a typed error what it cannot do without.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client

from anabranch.dev.devserver import DevServer
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests.attack.attack import Attack, Tally

ROOT = Path(__file__).parents[3]
GRAPH = """
name: simple
nodes:
  a: {type: rule, rules: [{then: {x: "größer {{ n }}"}}]}
  b: {type: rule, decision_table: table.json}
edges: [{from: a, to: b}]
"""
TABLE = (
    '{"nodes": [{"id": "i", "type": "inputNode", "name": "in"}, {"id": "e", "type": "expressionNode", "name": "e",'
    ' "content": {"expressions": [{"id": "0", "key": "k", "value": "n + 1"}]}}, {"id": "o", "type": "outputNode",'
    ' "name": "out"}], "edges": [{"id": "a", "type": "edge", "sourceId": "i", "targetId": "e"}, {"id": "b", "type":'
    ' "edge", "sourceId": "e", "targetId": "o"}]}'
)
_PATIENCE = 180.0
"""Seconds for what takes three on an idle machine."""


@dataclass(frozen=True, slots=True)
class Environment:
    """How a worker is started."""

    name: str
    variables: Mapping[str, str | None] = field(default_factory=dict)
    """None takes a variable away."""
    shell: str = 'exec "$@"'
    """How a shell starts the command that it is given."""


ENVIRONMENTS: Sequence[Environment] = (
    Environment("no HOME", {"HOME": None}),
    Environment("a HOME that is not there", {"HOME": "/nowhere/at/all"}),
    Environment("locale C", {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    Environment("32 descriptors more than needed to start", shell='ulimit -n 64; exec "$@"'),
    Environment("files of 64 KiB at most, as on a full disk", shell='ulimit -f 64; exec "$@"'),
    Environment("a folder that is gone", shell='d=$(mktemp -d); cd "$d"; rmdir "$d"; exec "$@"'),
    Environment("no standard input", shell='exec "$@" <&-'),
    Environment("no standard output", shell='exec "$@" >&-'),
    Environment("a locale that is not there", {"LANG": "xx_YY.KOI8", "LC_ALL": "xx_YY.KOI8"}),
    Environment("a time zone that is not there", {"TZ": "Nowhere/At_All"}),
    Environment("no PATH", {"PATH": None}),
    Environment("nowhere for temporary files", {"TMPDIR": "/nowhere", "TEMP": "/nowhere"}),
    Environment("a standard output that is full", shell='exec "$@" >/dev/full'),
    Environment("a folder that may only be read", shell='cd /proc/self; exec "$@"'),
    Environment("a mask that takes all rights away", shell='umask 777; exec "$@"'),
    Environment("a proxy that is not there", {"HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "socks5://127.0.0.1:9"}),
    Environment("warnings as errors", {"PYTHONWARNINGS": "error::SyntaxWarning"}),
    Environment("two megabytes of stack", shell='ulimit -s 2048; exec "$@"'),
    Environment("three gigabytes of memory", shell='ulimit -v 3145728; exec "$@"'),
    Environment("signals that are ignored", shell="trap '' HUP PIPE USR1; exec \"$@\""),
)


async def run(tally: Tally, numbers: range) -> None:
    """Start workers in the environments with these numbers."""
    with tempfile.TemporaryDirectory(prefix="anabranch-attack-") as place:
        async with _server() as (server, client):
            (Path(place) / "simple.yaml").write_text(GRAPH, encoding="utf-8")
            (Path(place) / "table.json").write_text(TABLE)
            for number in numbers:
                environment = ENVIRONMENTS[number % len(ENVIRONMENTS)]
                wrong = await _tried(environment, server.address, client, Path(place))
                tally.judge(f"{number} {environment.name}", wrong)
            nothing = Environment("no descriptors", shell='ulimit -n 6; exec "$@"')
            tally.control(nothing.name, seen=await _tried(nothing, server.address, client, Path(place)) is not None)


@asynccontextmanager
async def _server() -> AsyncGenerator[tuple[DevServer, Client]]:
    async with await DevServer.start() as server:
        yield (
            server,
            await connect(
                Settings(), target_host=server.address, namespace="default", api_key=None, tls=False, rpc_metadata={}
            ),
        )


async def _tried(environment: Environment, address: str, client: Client, place: Path) -> str | None:
    """What is wrong with a worker in the environment, or None."""
    queue = f"environment-{time.monotonic_ns()}"
    ours = {"PYTHONPATH": str(ROOT), "TEMPORAL_ADDRESS": address, "TEMPORAL_CONFIG_FILE": os.devnull}
    ours |= {"ANABRANCH_GRAPHS": str(place), "ANABRANCH_TASK_QUEUE": queue}
    changed = {**os.environ, **ours, **environment.variables}
    given = {name: value for name, value in changed.items() if value is not None}
    shell = shutil.which("sh") or "/bin/sh"
    command = [shell, "-c", environment.shell, "sh", sys.executable, "-m", "anabranch", "worker"]
    with (place / "log").open("w+b") as log:
        process = await asyncio.create_subprocess_exec(*command, env=given, stderr=log, stdout=log, cwd=place)
        try:
            wrong = await _served(process, client, queue)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        log.seek(0)
        said = log.read().decode(errors="replace")
    if wrong is None and "Traceback" in said:
        wrong = "its log has a traceback"
    return None if wrong is None else f"{wrong}: {said[-300:]}"


async def _served(process: asyncio.subprocess.Process, client: Client, queue: str) -> str | None:
    """Start a run, wait for its result or the worker's end, and end the worker."""
    handle = await client.start_workflow("simple", {"n": 1}, id=queue, task_queue=queue)
    result, ended = asyncio.create_task(handle.result()), asyncio.create_task(process.wait())
    await asyncio.wait({result, ended}, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    if not result.done() or result.exception() is not None:
        result.cancel()
        return f"its run has no result, and the worker {f'ended with {process.returncode}' if ended.done() else 'runs'}"
    if result.result()["data"] != {"n": 1, "x": "größer 1", "k": 2}:
        return f"its run has the result {result.result()}"
    process.send_signal(signal.SIGTERM)
    await asyncio.wait({ended}, timeout=_PATIENCE)
    return None if process.returncode == 0 else f"it ended with {process.returncode}"


ENVIRONMENT = Attack("environment", run, small=8, release=60, chunk=20)
