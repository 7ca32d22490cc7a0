"""Secrets of a worker's environment, and every place to which one could get: histories, queries, failures, logs, the
database, the command's output, what other servers are sent.

Runs use each secret where a graph may, and where it may not; most of them fail. Then each place is searched for each.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from anabranch.transport.codec import ZstdCodec
from tests.attack.attack import Attack, Tally
from tests.attack.live import PATIENCE, Target, target
from tests.command import ROOT

_SECRETS = {
    "DB_BANK": "postgresql://bank:{0}@127.0.0.1:9/bank",
    "DB_OPTION": "postgresql://bank@127.0.0.1:9/bank?password={0}",
    "DB_USER": "mysql://{0}:x@127.0.0.1:9/bank",
    "DB_NAME": "postgresql://bank@127.0.0.1:9/{0}",
    "DB_BROKEN": "{0}",
    "DB_SCHEME": "oracle://{0}@127.0.0.1/x",
    "DB_PORT": "postgresql://bank:{0}@127.0.0.1:none/bank",
    "DB_FILE": "sqlite:////nowhere/{0}/x.db",
    "POSTGRES_URL": "postgresql://u:{0}@localhost:9/x",
    "MYSQL_URL": "mysql://u:{0}@localhost:9/x",
    "HTTP_SECRET_ECHO": "{0}",
    "HTTP_SECRET_BEARER": "Bearer {0}",
    "HTTP_SECRET_BASIC": "Basic {basic}",
    "HTTP_SECRET_ELSEWHERE": "{0}",
    "HTTP_SECRET_UNLISTED": "{0}",
    "OPENAI_API_KEY": "sk-{0}",
    "ANTHROPIC_API_KEY": "sk-ant-{0}",
    "OLLAMA_BASE_URL": "http://u:{0}@127.0.0.1:{port}/v1",
    "DATABASE_URL": "postgresql://u:{0}@127.0.0.1:9/x",
    "AWS_SECRET_ACCESS_KEY": "{0}",
    "GITHUB_TOKEN": "{0}",
    "MY_TOKEN": "{0}",
    "SECRET_KEY": "{0}",
    "PRIVATE_KEY": "-----BEGIN PRIVATE KEY-----\n{0}\n-----END PRIVATE KEY-----",
    "SESSION_COOKIE": "{0}",
}
_LISTED = ("HTTP_SECRET_ECHO", "HTTP_SECRET_BEARER", "HTTP_SECRET_BASIC")
_QUERIES = ("status", "context", "history", "diagram", "__stack_trace", "__temporal_workflow_metadata")
_VISIBLE = "visible4data9canary"
"""Data of a run, which its history and its queries show."""


@dataclass(slots=True)
class Echo:
    """A server that says back all that it was sent, as models and services do when they refuse."""

    status: int
    port: int = 0
    seen: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
        self.seen.append(head)
        body = json.dumps({"error": {"message": f"you sent {head}"}, "echo": head}).encode()
        start = f"HTTP/1.1 {self.status} Said {head.splitlines()[0][:80]}\r\nContent-Type: application/json\r\n"
        writer.write(f"{start}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        writer.close()


async def run(tally: Tally, numbers: range) -> None:
    """Play the runs of each round, and search the places; a round has a number for each secret and place."""
    del numbers  # one round tries all; a seed chooses the secrets
    canaries = {name: _canary(tally.rng) for name in _SECRETS}
    async with _echo(200) as kind, _echo(401) as unkind:
        environ = _environ(canaries, kind.port, unkind.port)
        async with target(_graphs(kind.port, unkind.port), **environ) as on:
            handles = await _played(on)
            places = {name: text async for name, text in _places(on, handles, environ)}
            places["what another server is sent"] = "".join(unkind.seen)
            for place, text in places.items():
                for name, canary in canaries.items():
                    sent = place.startswith("what another") and name.endswith(("API_KEY", "OLLAMA_BASE_URL"))
                    tally.judge(f"{name} in {place}", None if sent else _found(text, canary))
            _controls(tally, on, places, canaries, kind)


def _canary(rng: random.Random) -> str:
    return "cnry" + "".join(rng.choice("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(14))


def _found(text: str, canary: str) -> str | None:
    """In which form a text holds the canary, or None."""
    forms = {"as it is": canary, "hexadecimal": canary.encode().hex(), "turned round": canary[::-1]}
    for shift in range(3):
        whole = base64.b64encode(b"x" * shift + canary.encode()).decode()
        forms[f"Base64 after {shift}"] = whole[4 if shift else 0 : len(whole) - 4]
    lowered = text.lower()
    return next((name for name, form in forms.items() if form in text or form.lower() in lowered), None)


def _environ(canaries: dict[str, str], port: int, other: int) -> dict[str, str]:
    made = {}
    for name, form in _SECRETS.items():
        basic = base64.b64encode(f"u:{canaries[name]}".encode()).decode()
        made[name] = form.format(canaries[name], basic=basic, port=other)
    hosts = {f"{name}_HOSTS": f"http://127.0.0.1:{port}" for name in _LISTED}
    ours = {"HTTP_ALLOW_PRIVATE": "true", "ANABRANCH_ELSEWHERE_SECONDS": "0"}
    models = {"OPENAI_BASE_URL": f"http://127.0.0.1:{other}/v1", "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{other}"}
    return {**made, **hosts, **ours, **models, "HTTP_SECRET_ELSEWHERE_HOSTS": "https://bank.example"}


def _graphs(port: int, other: int) -> dict[str, str]:
    """A graph for each use, with one node that may fail."""
    nodes: dict[str, dict[str, Any]] = {}
    for name in (*_SECRETS, "NOT_SET"):
        nodes[f"db_{name}"] = {"type": "db", "connection": name, "query": "select 1 as x"}
        if not name.startswith("HTTP_"):
            continue
        for at in (port, other):
            url, secret = f"http://127.0.0.1:{at}/", f"env:{name}"
            nodes[f"header_{name}_{at}"] = {"type": "http", "method": "GET", "url": url, "headers": {"X-Key": secret}}
            nodes[f"query_{name}_{at}"] = {"type": "http", "method": "GET", "url": url, "query": {"key": secret}}
    for model in ("openai:gpt-4", "anthropic:claude-x", "ollama:llama"):
        nodes[f"ai_{model.partition(':')[0]}"] = {"type": "ai", "model": model, "prompt": "{{ note }}"}
    hosts = f"http://u:{_VISIBLE}@127.0.0.1:9/"
    nodes["url"] = {"type": "http", "method": "GET", "url": hosts}
    nodes["handler"] = {"type": "python", "handler": "nobody.has"}
    failing = {"retry": {"max_attempts": 1}, "timeout": "20s"}
    graphs = {}
    for number, (name, node) in enumerate(nodes.items()):
        graphs[name.lower()] = json.dumps({"name": f"use{number}", "nodes": {"a": {**node, **failing}}})
    return graphs


async def _played(on: Target) -> list[WorkflowHandle[Any, Any]]:
    """Start every graph, and wait for the ends; those that do not load have none."""
    names = [json.loads(path.read_text())["name"] for path in sorted((on.folder / "graphs").iterdir())]
    given = {"note": _VISIBLE}
    handles = [
        await on.client.start_workflow(name, given, id=f"canary-{name}", task_queue=on.task_queue) for name in names
    ]
    for handle in handles:
        with contextlib.suppress(TimeoutError, WorkflowFailureError):
            await asyncio.wait_for(handle.result(), PATIENCE)
    return handles


async def _places(
    on: Target, handles: list[WorkflowHandle[Any, Any]], environ: dict[str, str]
) -> AsyncGenerator[tuple[str, str]]:
    """Every place by its name, with its text."""
    gathered: dict[str, list[str]] = {}
    for handle in handles:
        for name, text in await _of_run(on, handle):
            gathered.setdefault(name, []).append(text)
    for name, texts in gathered.items():
        yield name, "\n".join(texts)
    yield "the list of runs", "\n".join([repr(each) async for each in on.client.list_workflows()])
    yield "the worker's standard output", on.worker.stdout
    yield "the worker's log", on.worker.stderr
    yield "the worker's command line", "\n".join(_of_processes(on, "cmdline"))
    yield "the files of the worker's folder", "\n".join(_files(on.folder))
    graph = min((on.folder / "graphs").iterdir())
    for command in (["validate"], ["visualize"], ["dry-run"], ["run"]):
        yield f"the command {command[0]}", await asyncio.to_thread(_command, [*command, str(graph)], environ)


def _of_processes(on: Target, name: str) -> Iterator[str]:
    """What the system tells of the worker's processes."""
    for pid in on.worker.processes():
        yield Path(f"/proc/{pid}/{name}").read_text(errors="replace")


def _files(folder: Path) -> Iterator[str]:
    yield from (path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


async def _of_run(on: Target, handle: WorkflowHandle[Any, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    events = [event async for event in handle.fetch_history_events()]
    found.append(("the history", "\n".join(str(event) for event in events)))
    payloads = [payload for event in events for payload in _payloads(event)]
    decoded = await ZstdCodec().decode(payloads)
    found.append(("the history's payloads", "\n".join(each.data.decode(errors="replace") for each in decoded)))
    found.append(("the description", str((await handle.describe()).raw_description)))
    try:
        found.append(("the result", repr(await asyncio.wait_for(handle.result(), 1))))
    except (TimeoutError, WorkflowFailureError) as error:
        found.append(("the failure", f"{error!r} {error.__cause__!r} {getattr(error.__cause__, 'details', '')}"))
    for query in _QUERIES:
        try:
            found.append((f"the query {query}", repr(await handle.query(query))))
        except RPCError as error:
            found.append((f"the query {query}", str(error)))
    return found


def _payloads(message: Message) -> Iterator[Payload]:
    """Every payload within a message."""
    if isinstance(message, Payload):
        yield message
        return
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        if descriptor.message_type.GetOptions().map_entry:
            values = [each for each in value.values() if isinstance(each, Message)]
        else:
            values = [value] if isinstance(value, Message) else list(value)
        for each in values:
            yield from _payloads(each)


def _command(arguments: list[str], environ: dict[str, str]) -> str:
    path = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": "/tmp"}
    command = [sys.executable, "-m", "anabranch", *arguments]
    try:
        done = subprocess.run(
            command, env={**path, **environ}, cwd=ROOT, check=False, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired as late:
        return f"{late.stdout!r} {late.stderr!r}"
    return done.stdout + done.stderr


@asynccontextmanager
async def _echo(status: int) -> AsyncGenerator[Echo]:
    echo = Echo(status)
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    async with server:
        yield echo


def _controls(tally: Tally, on: Target, places: dict[str, str], canaries: dict[str, str], kind: Echo) -> None:
    """The secrets were there and were used; data that is no secret is found where it is."""
    environment = "".join(_of_processes(on, "environ"))
    had = all(_found(environment, canary) is not None for canary in canaries.values())
    tally.control("the worker has every secret", seen=had)
    sent = "".join(kind.seen)
    tally.control("secrets are sent where they may be", seen=all(_found(sent, canaries[name]) for name in _LISTED))
    asked = places["what another server is sent"]
    tally.control("models are sent their keys", seen=_found(asked, canaries["OPENAI_API_KEY"]) is not None)
    tally.control("data in the payloads", seen=_found(places["the history's payloads"], _VISIBLE) is not None)
    tally.control("data in a query", seen=_found(places["the query context"], _VISIBLE) is not None)


CANARIES = Attack("canaries", run, small=1, release=6, chunk=1)
