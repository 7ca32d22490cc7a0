"""Graphs whose every value is a canary, runs that succeed, fail, retry and are undone, and where canaries are found."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pytest_httpserver import HTTPServer
from redis import Redis
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RetryPolicy

from tests.integration.graph_kit import PATIENCE, until_status

NAMES = (
    "input", "caught", "prompt", "answer", "header", "body", "response", "bind", "row", "cached", "cache_key", "item",
    "child", "written", "large", "left", "right", "chosen", "retried", "error", "detail", "trace", "undo", "attachment",
    "memo", "by", "summary", "details",
)  # fmt: skip
"""What holds a canary each."""

_HANDLERS = """
from anabranch import node
from anabranch.errors import NodeError
from temporalio import activity
from temporalio.exceptions import ApplicationError


@node("@keep")
async def keep(context, **values):
    return values


@node("@fail")
async def fail(context, retried, error, detail):
    if activity.info().attempt == 1:
        raise RuntimeError(retried)  # ~trace~
    raise ApplicationError(error, {"detail": detail}, type="BROKEN", non_retryable=True)
"""

_STORY = """
name: story@
share: {at: end, strategy: write_through}
nodes:
  note: {type: rule, rules: [{then: {noted: "{{ input }}"}}]}
  table: {type: rule, grl: rules@.grl}
  call:
    type: http
    method: POST
    url: "~url~/echo@"
    headers: {X-Note: "{{ header }}"}
    body: {note: "{{ body }}"}
    output: {response: result.body.said}
  store:
    type: db
    connection: SQLITE_URL
    statements:
      - query: create table if not exists notes@ (note text)
        result: none
      - query: insert into notes@ values (:bind)
        params: {bind: "{{ bind }}"}
        result: none
      - query: select note || :row as note from notes@
        params: {row: "{{ row }}"}
    idempotent: false
    output: {stored: result.rows}
  slow:
    type: python
    handler: "@keep"
    args: {kept: "{{ cached }}"}
    effect: false
    cache: {key: "{{ cache_key }}", ttl: 1h}
  each:
    type: foreach
    items: "[item_value]"
    body: {nodes: {one: {type: python, handler: "@keep", args: {seen: "{{ item }}"}}}}
  ask: {type: approval, prompt: "Is {{ prompt }} right?"}
  inner: {type: graph, graph: inner@, mode: child_workflow}
edges:
  - {from: note, to: table}
  - {from: table, to: call}
  - {from: call, to: store}
  - {from: store, to: slow}
  - {from: slow, to: each}
  - {from: each, to: ask}
  - {from: ask, to: inner}
"""

_INNER = """
name: inner@
nodes:
  only: {type: python, handler: "@keep", args: {inside: "{{ child }}"}}
"""

_DIFFER = """
name: differ@
context: {conflict_resolution: fail_on_conflict}
nodes:
  start: {type: python, handler: "@keep"}
  a: {type: python, handler: "@keep", args: {word: "{{ left }}"}}
  b: {type: python, handler: "@keep", args: {word: "{{ right }}"}}
  join: {type: python, handler: "@keep"}
edges:
  - {from: start, to: a}
  - {from: start, to: b}
  - {from: a, to: join}
  - {from: b, to: join}
"""

_BREAK = """
name: break@
nodes:
  first:
    type: python
    handler: "@keep"
    args: {done: true}
    compensate: {type: python, handler: "@keep", args: {undone: "{{ undo }}"}}
  bad:
    type: python
    handler: "@fail"
    args: {retried: "{{ retried }}", error: "{{ error }}", detail: "{{ detail }}"}
    retry: {max_attempts: 3, initial_interval: 20ms}
edges:
  - {from: first, to: bad}
"""

_GRL = 'rule "note" { when input != "~attachment~" then checked = true; }\n'


@dataclass(frozen=True)
class Canaries:
    """A text for each name, which nothing else holds."""

    tag: str = field(default_factory=lambda: f"c{uuid.uuid4().hex[:8]}")

    def __getitem__(self, name: str) -> str:
        return f"cnry{NAMES.index(name):02}{self.tag}"

    def found_in(self, content: bytes) -> set[str]:
        """The names whose canaries are in the content."""
        return {name for name in NAMES if self[name].encode() in content}


class Story:
    """The graphs and runs of one set of canaries."""

    def __init__(self, canaries: Canaries, folder: Path, http: HTTPServer) -> None:
        self.canaries = canaries
        self._folder = folder
        self._http = http

    def write(self) -> None:
        """Write the graphs, and register their handlers."""
        texts = {"story": _STORY, "inner": _INNER, "differ": _DIFFER, "break": _BREAK}
        for name, text in texts.items():
            (self._folder / f"{name}.yaml").write_text(self._own(text))
        (self._folder / f"rules{self.canaries.tag}.grl").write_text(self._own(_GRL))
        module = self._folder / "handlers.py"
        module.write_text(self._own(_HANDLERS))
        spec = importlib.util.spec_from_file_location(f"handlers_{self.canaries.tag}", module)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        self._http.expect_request(f"/echo{self.canaries.tag}").respond_with_json({"said": self.canaries["response"]})

    def _own(self, text: str) -> str:
        text = text.replace("@", self.canaries.tag).replace("~url~", self._http.url_for("").rstrip("/"))
        for name in ("trace", "attachment"):
            text = text.replace(f"~{name}~", self.canaries[name])
        return text.replace(f"{self.canaries.tag}node", "@node")

    async def play(self, client: Client, task_queue: str) -> None:
        """Let a run succeed, one settle a conflict, one retry, fail and be undone, and one be cancelled."""
        await asyncio.gather(*(each(client, task_queue) for each in (self._succeed, self._differ, self._break)))

    async def _start(self, client: Client, task_queue: str, kind: str, data: Mapping[str, Any]) -> Any:
        name = f"{kind}{self.canaries.tag}"
        return await client.start_workflow(
            name,
            dict(data),
            id=name,
            task_queue=task_queue,
            memo={"note": self.canaries["memo"]},
            static_summary=self.canaries["summary"],
            static_details=self.canaries["details"],
            retry_policy=RetryPolicy(maximum_attempts=1),
        )

    async def _succeed(self, client: Client, task_queue: str) -> None:
        c = self.canaries
        given = ("input", "prompt", "header", "body", "bind", "row", "cached", "cache_key", "child")
        large = {"large": (c["large"] + " ") * 400}
        data = {**{name: c[name] for name in given}, "item_value": c["item"], **large}
        handle = await self._start(client, task_queue, "story", data)
        await until_status(handle, "ask", "waiting")
        written = {"changes": {"written": c["written"]}, "removed": [], "by": c["by"]}
        version = (await handle.query("context"))["number"]
        await handle.execute_update("write_context", {**written, "base_version": version})
        await handle.execute_update("complete_task", {"node": "ask", "answer": {"answer": c["answer"]}})
        result = await asyncio.wait_for(handle.result(), PATIENCE)
        assert result["data"]["noted"] == c["input"]
        assert result["data"]["response"] == c["response"]

    async def _differ(self, client: Client, task_queue: str) -> None:
        c = self.canaries
        handle = await self._start(client, task_queue, "differ", {"left": c["left"], "right": c["right"]})
        await until_status(handle, "join", "conflict")
        await handle.execute_update("resolve_conflict", {"node": "join", "path": "word", "value": c["chosen"]})
        assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"]["word"] == c["chosen"]

    async def _break(self, client: Client, task_queue: str) -> None:
        c = self.canaries
        given = ("retried", "error", "detail", "undo", "caught")
        handle: WorkflowHandle[Any, Any] = await self._start(
            client, task_queue, "break", {name: c[name] for name in given}
        )
        try:
            await asyncio.wait_for(handle.result(), PATIENCE)
        except Exception as error:
            told = error.__cause__
            assert c["error"] in str(told), told
            assert c["detail"] in json.dumps(getattr(told, "details", ()))


def content_of(files: Iterable[Path]) -> bytes:
    """What is in files and in what SQLite keeps beside them."""
    found = [each for file in files for each in sorted(file.parent.glob(f"{file.name}*"))]
    assert found
    return b"\n".join(each.read_bytes() for each in found)


def content_of_redis(url: str) -> bytes:
    """The keys and texts of a Redis: those of others, too."""
    parts = urlsplit(url)
    with Redis(host=parts.hostname or "", port=parts.port or 0) as redis:
        keys: list[Any] = [key for key in redis.scan_iter(count=1000) if redis.type(key) == b"string"]
        texts: list[Any] = [redis.get(key) or b"" for key in keys]
        return b"\n".join([*keys, *texts])


async def content_of_memcached(url: str, keys: Iterable[str]) -> bytes:
    """The values of some keys of a Memcached."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    found = b""
    for key in keys:
        writer.write(f"get {key}\r\n".encode())
        while not (line := await reader.readline()).startswith(b"END"):
            assert line.startswith(b"VALUE")
            found += line + await reader.readexactly(int(line.split()[3]) + 2)
    writer.close()
    return found
