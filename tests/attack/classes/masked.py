"""Secrets that a server repeats, in every form that servers write, through the activity of `http` nodes.

Nothing that an attempt leaves, its result, its error or the traceback, may hold the secret or decode to it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import html
import json
import random
import re
import traceback
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import unquote

from anabranch.activities.http.handler import HttpActivity
from anabranch.context.values import Json
from anabranch.errors import AnabranchError
from anabranch.graph.model import HttpNode
from tests.attack.attack import Attack, Tally
from tests.node_tasks import task_of
from tests.secret_forms import FORMS

SECRETS = (
    "tok/s3cr3t&x<y>+z",
    "p4ss\"word'with\\marks",
    "Bearer abcDEF0123456789-._~+/==",
    "Basic dXNlcjpwNHNzd29yZDEyMw==",
    "k\u00e9y-with-l\u00e4tin",
    "0123456789abcdef0123456789abcdef",
)
_PLACES = ("text", "JSON value", "JSON key", "JSON in a text", "header", "reason", "status 500", "HTML", "large")


@dataclass(slots=True)
class Echo:
    """A server that answers with what it is told to."""

    port: int = 0
    answer: bytes = b""
    asked: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.answer)
        writer.close()


async def run(tally: Tally, numbers: range) -> None:
    """Try the forms with these numbers."""
    async with _echo() as server:
        for number in numbers:
            secret = SECRETS[number % len(SECRETS)]
            names, place = _names(number, tally.rng), tally.rng.choice(_PLACES)
            shown = secret
            for name in names:
                shown = FORMS[name](shown)
            server.answer = _answer(place, shown)
            left = await _left(server, secret)
            tally.judge(f"{number} {' in '.join(names)}, {place}", leaks(left, secret))
        sent = [each for each in server.asked if b"x-secret" in each.lower()]
        tally.control("the secret was sent", seen=len(sent) == len(numbers))
    for name, leak in _controls():
        tally.control(name, seen=leaks(leak, SECRETS[0]) is not None)


def leaks(text: str, secret: str) -> str | None:
    """How the secret can be read out of a text, or None."""
    wanted = secret.partition(" ")[2] or secret
    seen, waiting = {text}, [text]
    for _ in range(3):
        found = {decoded for each in waiting for decoded in _decoded(each)} - seen
        seen |= found
        waiting = list(found)
    leak = next((each for each in seen if wanted.lower() in each.lower()), None)
    return None if leak is None else f"it reads {leak[:200]!r}"


def _decoded(text: str) -> Iterator[str]:
    yield html.unescape(text)
    yield unquote(text, errors="replace")
    yield re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    yield re.sub(r"\\+(.)", r"\1", text)
    for run in re.findall(r"[A-Za-z0-9+/_-]{12,}", text)[:20]:
        whole = run.replace("-", "+").replace("_", "/")
        for shift in range(4):
            part = whole[shift:]
            with suppress(binascii.Error, ValueError):
                yield base64.b64decode(part + "=" * (-len(part) % 4)).decode(errors="replace")


def _names(number: int, rng: random.Random) -> list[str]:
    names = list(FORMS)
    if number < len(SECRETS) * len(names):
        return [names[number // len(SECRETS)]]
    return [rng.choice(names)]


def _answer(place: str, shown: str) -> bytes:
    line = shown.replace("\r", " ").replace("\n", " ").replace("\0", " ")
    kind, reason, extra, status = "text/plain; charset=utf-8", "OK", "", 200
    body = f"you sent {shown}"
    match place:
        case "JSON value" | "JSON key":
            value = {"a": [f"x {shown}"]} if place == "JSON value" else {shown: 1}
            kind, body = "application/json", json.dumps(value)
        case "JSON in a text":
            body = json.dumps({"you": json.dumps({"sent": shown})})
        case "header":
            extra, body = f"X-Echo: {line}\r\n", "ok"
        case "reason":
            status, reason = 401, line
        case "status 500":
            status, reason = 500, "Server Error"
        case "HTML":
            kind, body = "text/html; charset=utf-8", f"<p>{html.escape(shown)}</p>"
        case "large":
            body = "padding " * 20_000 + shown
    content = body.encode()
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(content)}\r\n"
    return (head + "Connection: close\r\n\r\n").encode() + content


async def _left(server: Echo, secret: str) -> str:
    """Everything that an attempt leaves behind."""
    origin = f"http://127.0.0.1:{server.port}"
    environ = {"HTTP_SECRET_BANK": secret, "HTTP_SECRET_BANK_HOSTS": origin}
    activity = HttpActivity(allow_private=True, environ=environ)
    headers = {"X-Secret": "env:HTTP_SECRET_BANK"} if secret.isascii() else {}
    query: dict[str, Json] = {} if headers else {"k": "env:HTTP_SECRET_BANK", "x-secret:": "1"}
    node = HttpNode(type="http", method="GET", url=f"{origin}/", headers=headers, query=query)
    try:
        outcome = await activity(task_of(), node)
    except AnabranchError as error:
        return "".join(traceback.format_exception(error)) + repr(error)
    finally:
        await activity.aclose()
    return json.dumps([outcome.writes, outcome.result], ensure_ascii=False)


@asynccontextmanager
async def _echo() -> AsyncGenerator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    async with server:
        yield echo


def _controls() -> Iterator[tuple[str, str]]:
    for name in ("as it is", "percent", "HTML", "Base64", "JSON, each character escaped"):
        yield f"a leak: {name}", f"x {FORMS[name](SECRETS[0])} y"


MASKED = Attack("masked", run, small=400, release=6_000, chunk=3_000)
