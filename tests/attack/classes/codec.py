"""Abuses of the codec server that `anabranch dev` runs, by raw bytes and by changed payloads.

Each is answered with a client's error, let go, or answered as what it says; the server serves the next request.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random

from temporalio.api.common.v1 import Payload

from anabranch.console.codec.alone import codec_alone
from anabranch.loopback import serving
from tests.attack.attack import Attack, Tally
from tests.attack.mutation import mutated, shown
from tests.attack.wires import CHANGES, CONVERTER, PINNED, TASK
from tests.cost import Limit, attempts
from tests.integration.test_codec_abuse import ABUSES, LIMITS, PATIENCE, UI, answered, post

_REFUSED = range(400, 500)
_PARTS = (
    b"\r\n",
    b"\n",
    b"\0",
    b" ",
    b":",
    b"\xff",
    b"POST ",
    b"HTTP/1.1",
    b"Host: evil.example\r\n",
    b"0\r\n\r\n",
    b"{" * 50,
)
_AT_ONCE = 8


async def run(tally: Tally, numbers: range) -> None:
    """Send the requests with these numbers."""
    genuine = [CONVERTER.to_payloads([value])[0] for value in (TASK, CHANGES, PINNED, {"a": 1})]
    async with serving(codec_alone([UI], limits=LIMITS), patience=PATIENCE) as url:
        for first in range(numbers.start, numbers.stop, _AT_ONCE):
            batch = range(first, min(first + _AT_ONCE, numbers.stop))
            asked = [_request(number, genuine, tally.rng) for number in batch]
            excess, found = await _answers(url, [sent for _, sent, _ in asked])
            alive = await asyncio.to_thread(answered, url, post())
            for number, (name, _, expected), status in zip(batch, asked, found, strict=True):
                wrong = excess or wrong_answer(status, expected)
                wrong = wrong or (None if alive == 200 else f"the next request is answered with {alive}")
                tally.judge(f"{number} {name}", wrong, refused=status in _REFUSED)
        _controls(tally, await asyncio.to_thread(answered, url, post()))


async def _answers(url: str, requests: list[bytes]) -> tuple[str | None, list[int]]:
    """What was too much of answering these requests at once, and their statuses."""
    limit = Limit(seconds=2.0 * len(requests))
    excess: str | None = None
    found: list[int] = []
    for attempt in attempts(limit):
        with attempt:
            found = await asyncio.gather(*(asyncio.to_thread(answered, url, sent) for sent in requests))
        excess = limit.excess(attempt.cost)
    return excess, found


def wrong_answer(status: int, expected: int | None) -> str | None:
    """What is wrong with an answer: not the expected one; of a generated request, a fault of the server."""
    if expected is not None:
        return None if status == expected else f"answered with {status}, not {expected}"
    return f"answered with {status}" if status >= 500 else None


def _request(number: int, genuine: list[Payload], rng: random.Random) -> tuple[str, bytes, int | None]:
    if number < len(ABUSES):
        name = list(ABUSES)[number]
        return name, *ABUSES[name]
    payload = mutated(rng.choice(genuine), rng.choice(genuine), rng)
    body = json.dumps({"payloads": [_proto(payload)] * rng.choice((1, 1, 3, 60))}).encode()
    path = rng.choice(("/codec/decode", "/codec/encode", "/codec/download", "/codec/decode?preserveStorageRefs=true"))
    sent = post(body, path=path)
    if rng.random() < 0.5:
        start = rng.randrange(len(sent))
        sent = sent[:start] + rng.choice(_PARTS) + sent[start + rng.choice((0, 1, 20)) :]
    return shown(payload), sent, None


def _proto(payload: Payload) -> dict[str, object]:
    metadata = {name: base64.b64encode(value).decode() for name, value in payload.metadata.items()}
    return {"metadata": metadata, "data": base64.b64encode(payload.data).decode()}


def _controls(tally: Tally, legitimate: int) -> None:
    tally.control("what is allowed is served", seen=legitimate == 200)
    tally.control("an abuse that is served", seen=wrong_answer(200, 403) is not None)
    tally.control("a fault of the server", seen=wrong_answer(500, None) is not None)


CODEC = Attack("codec", run, small=400, release=4_000, chunk=2_000)
