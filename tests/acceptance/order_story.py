"""One order, from an event to its dead letter: what its processes sent to a receiver of traces, and what they logged.

It goes through every kind of node, with a conflict, a retry, a worker that is killed, and an undo.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import threading
import time
import uuid
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import nats
from nats.js.api import StreamConfig
from temporalio.client import Client
from temporalio.service import RPCError

from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests.acceptance.otlp_receiver import Received, otlp_receiver
from tests.acceptance.worker_process import PATIENCE
from tests.command import ROOT, Command, anabranch

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
STARTER = "b7ad6b7169203331"
CANARY = "c4n4ry"
"""In every value that the order has, and in what its services answer."""

ORDER = """
name: order
context: {conflict_resolution: last_write_wins}
defaults: {timeout: 5m, retry: {max_attempts: 3, initial_interval: 10ms}}
nodes:
  left: {type: rule, rules: [{then: {lane: "left-{{ who }}"}}]}
  right: {type: rule, rules: [{then: {lane: "right-{{ who }}"}}]}
  check: {type: rule, rules: [{when: lane != "", then: {valid: true}}]}
  charge:
    type: db
    connection: SHOP_URL
    query: insert into charges (who) values (:who)
    params: {who: "{{ who }}"}
    result: none
    compensate:
      type: db
      connection: SHOP_URL
      query: delete from charges where who = :who
      params: {who: "{{ who }}"}
      result: none
  pay:
    type: http
    method: POST
    url: "http://127.0.0.1:PORT/pay/{{ who }}"
    query: {who: "{{ who }}"}
    circuit_breaker: {failures: 5, window: 1m, reset: 30s}
    output: {paid: result.body.paid}
  judge: {type: ai, model: "openai:judge-1", prompt: "Is {{ who }} good?", output: {verdict: result.text}}
  weigh: {type: python, handler: weigh, reads: [who], heartbeat: 1s}
  pack: {type: graph, graph: packing, mode: child_workflow, input: {who: "{{ who }}"}, output: {packed: result.packed}}
  lines:
    type: foreach
    items: '[who, who]'
    as: line
    collect: {into: prices, value: priced}
    body: {nodes: {price: {type: rule, rules: [{then: {priced: "{{ line }}"}}]}}}
  shrink:
    type: while
    while: batch > 1
    body: {nodes: {halve: {type: rule, rules: [{then: {batch: "{{ batch / 2 }}"}}]}}}
  nap: {type: wait, for: 10ms}
  sign: {type: approval, prompt: "Sign for {{ who }}?"}
  boom: {type: python, handler: boom, reads: [who]}
edges:
  - {from: left, to: check}
  - {from: right, to: check}
  - {from: check, to: charge}
  - {from: charge, to: pay}
  - {from: pay, to: judge}
  - {from: judge, to: pack}
  - {from: pack, to: lines}
  - {from: lines, to: shrink}
  - {from: shrink, to: nap}
  - {from: nap, to: weigh}
  - {from: weigh, to: sign}
  - {from: sign, to: boom}
"""
PACKING = """
name: packing
nodes:
  wrap: {type: rule, rules: [{then: {packed: "{{ who }} in paper"}}]}
"""
HANDLERS = """
import asyncio, pathlib
from temporalio.exceptions import ApplicationError
from anabranch import node

@node("weigh")
async def weigh(context):
    hung = pathlib.Path(__file__).with_name("hung")
    if not hung.exists():
        hung.touch()
        await asyncio.sleep(1000)  # the worker is killed meanwhile
    return {"weight": context.get("who")}

@node("boom")
def boom(context):
    raise ApplicationError(f"no stock for {context.get('who')}", type="NO_STOCK", non_retryable=True)
"""


@dataclass
class Story:
    """What is left of one order."""

    order: str
    received: Received
    parents: list[str] = field(default_factory=list)
    """The `traceparent` of each request that the shop's services got."""
    logged: list[str] = field(default_factory=list)
    """What all processes wrote to standard error."""
    letter: dict[str, str] = field(default_factory=dict)
    """The headers of the dead letter."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of the log that name the order's session, in the order of their time."""
        parsed = [json.loads(line) for line in self.logged]
        mine = [line for line in parsed if line.get("session_id") == self.order]
        return sorted(mine, key=lambda line: str(line["timestamp"]))


async def told(dev_server_address: str, nats_url: str, valkey_url: str, folder: Path) -> Story:
    """Play it."""
    topic = f"orders{uuid.uuid4().hex[:8]}"
    folder.joinpath("order.yaml").write_text(ORDER)
    folder.joinpath("packing.yaml").write_text(PACKING)
    folder.joinpath("shop_handlers.py").write_text(HANDLERS)
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.execute("create table charges (who text)")
    client = await connect(
        Settings(), target_host=dev_server_address, namespace="default", api_key=None, tls=False, rpc_metadata={}
    )
    connection = await nats.connect(nats_url)
    stream = connection.jetstream()
    for subject in (topic, f"{topic}.dead"):
        await stream.add_stream(StreamConfig(name=subject.replace(".", "_"), subjects=[subject]))
    with otlp_receiver() as (endpoint, received), _services() as (port, parents):
        folder.joinpath("order.yaml").write_text(ORDER.replace("PORT", str(port)))
        story = Story(f"order:o1-{topic}", received, parents)
        environ = {
            "TEMPORAL_ADDRESS": dev_server_address,
            "ANABRANCH_TASK_QUEUE": topic,
            "ANABRANCH_GRAPHS": str(folder),
            "ANABRANCH_IMPORT": "shop_handlers",
            "ANABRANCH_CONNECTIONS": "SHOP_URL",
            # Every workflow task is a replay, on both workers.
            "ANABRANCH_MAX_CACHED_WORKFLOWS": "0",
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(folder))),
            "SHOP_URL": f"sqlite:///{folder}/shop.db",
            "REDIS_URL": valkey_url,
            "HTTP_ALLOW_PRIVATE": "true",
            "OPENAI_API_KEY": "sk-nothing",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_METRICS_EXPORTER": "none",
        }
        flow = ("events", "--from", f"{nats_url}/{topic}", "--graph", "order", "--to", f"{nats_url}/{topic}.done")
        dead = ("--dead-letter", f"{topic}.dead")
        with anabranch(*flow, *dead, environ=environ) as events, anabranch("worker", environ=environ) as first:
            events.wait_for("consuming", PATIENCE)
            body = {"id": f"o1-{topic}", "who": CANARY, "batch": 4, "lane": "", "at": [CANARY]}
            carried = {"traceparent": f"00-{TRACE_ID}-{STARTER}-01"}
            await stream.publish(topic, json.dumps(body).encode(), headers=carried)
            await _until(folder.joinpath("hung").exists)
            await _until(lambda: bool(received.named("nap")))  # what it had told by then is on its way
            await asyncio.sleep(0.3)
            first.signal(signal.SIGKILL)
            first.leave()
            with anabranch("worker", environ=environ) as second:
                second.wait_for("worker started", PATIENCE)
                await _sign(client, story.order)
                subscription = await stream.subscribe(f"{topic}.dead", ordered_consumer=True)
                story.letter = dict((await subscription.next_msg(timeout=PATIENCE)).headers or {})
                await connection.close()
                _leave(second)
            _leave(events)
        story.logged = [line for each in (events, first, second) for line in each.stderr.splitlines()]
    return story


def _leave(command: Command) -> None:
    command.signal(signal.SIGTERM)
    assert command.leave(PATIENCE) == 0


async def _sign(client: Client, run: str) -> None:
    handle = client.get_workflow_handle(run)
    deadline = time.monotonic() + PATIENCE
    status = ""
    while status != "waiting":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
        with suppress(RPCError):  # the server has not heard of the second worker yet
            status = (await handle.query("status"))["nodes"]["sign"]["status"]
    await handle.execute_update("complete_task", {"node": "sign", "answer": {"by": CANARY}})


async def _until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@contextmanager
def _services() -> Generator[tuple[int, list[str]]]:
    """What the order calls: a bank that is busy at first, and a model. Gives their port, and the trace of each call."""
    parents: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"] or 0))
            status, answer = 200, _ANSWER
            if self.path.startswith("/pay"):
                status, answer = 503 if not parents else 200, {"paid": CANARY}
                parents.append(self.headers["traceparent"] or "")
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, parents
    finally:
        server.shutdown()
        server.server_close()


_ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "judge-1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": CANARY}}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
}
