"""The codec server: what the Temporal Web UI and `temporal --codec-endpoint` ask to make payloads readable.

Temporal's protocol: POST `/encode`, `/decode`, `/download` with `{"payloads": […]}` in proto JSON. Decoding unpacks
compression and turns MessagePack into JSON with named fields; encoding is what a client does to JSON.

It listens beside a worker, and every page that a browser shows can send requests to it. So only JSON is taken, which a
page of another origin cannot send unasked, only from pages that are listed, and never more than a bounded amount. The
work is done in a thread of its own.

Where payloads are encrypted a request must bring a token: `temporal … --codec-auth "Bearer …"`.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import PayloadCodec

from anabranch.errors import AnabranchError, InputError, SizeLimitExceeded, Unavailable, WireFormatError
from anabranch.transport.converter import readable, standard_codec
from anabranch.transport.undecodable import reason_of, without_mark


@dataclass(frozen=True, slots=True)
class CodecLimits:
    """What one request may cost."""

    request_bytes: int = 16 * 1024 * 1024
    answer_bytes: int = 64 * 1024 * 1024
    held_bytes: int = 64 * 1024 * 1024
    """Of all requests that are under way."""
    payloads: int = 5_000
    metadata: int = 64
    """Entries of one payload's metadata."""
    body_seconds: float = 10.0
    """In which a request's body must have come."""
    work_seconds: float = 10.0
    """For decoding or encoding one request."""


LIMITS = CodecLimits()


def codec_server(
    origins: Sequence[str] = (),
    codec: PayloadCodec | None = None,
    *,
    token: str | None = None,
    limits: CodecLimits = LIMITS,
) -> Starlette:
    """Make the ASGI app. Only pages of `origins` (the Web UI's, such as `http://127.0.0.1:8233`) may use it.

    With a `token` only who sends it may: `Authorization: Bearer …`.

    A payload that cannot be decoded is handed back as it came, so that it hides no other one. Any other refusal is
    answered with a JSON object of `code` and `message`.
    """
    cors = Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["POST"],
        allow_headers=["Content-Type", "X-Namespace", "Authorization"],
    )
    endpoint = _Endpoint(codec or standard_codec(), frozenset(origins), token, limits)
    routes = [
        Route("/encode", endpoint.encode, methods=["POST"]),
        Route("/decode", endpoint.decode, methods=["POST"]),
        Route("/download", endpoint.decode, methods=["POST"]),
    ]
    handlers = {AnabranchError: _refusal, HTTPException: _refusal}
    return Starlette(routes=routes, middleware=[cors], exception_handlers=handlers)


class _Endpoint:
    def __init__(self, codec: PayloadCodec, origins: frozenset[str], token: str | None, limits: CodecLimits) -> None:
        self._codec = codec
        self._origins = origins
        self._authorization = None if token is None else f"bearer {token}".encode()
        self._limits = limits
        self._held = 0
        # One thread: codecs need not bear two, and the worker's own threads stay free.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="codec")

    async def encode(self, request: Request) -> Response:
        return await self._answer(request, self._codec.encode)

    async def decode(self, request: Request) -> Response:
        return await self._answer(request, self._decode)

    async def _answer(
        self, request: Request, work: Callable[[Sequence[Payload]], Awaitable[list[Payload]]]
    ) -> Response:
        self._check(request)
        async with self._body(request) as body:
            loop = asyncio.get_running_loop()
            text = await loop.run_in_executor(self._thread, self._worked, bytes(body), work)
        return Response(text, media_type="application/json")

    def _check(self, request: Request) -> None:
        origin = request.headers.get("origin")
        if origin is not None and origin not in self._origins:
            raise HTTPException(403, f"pages of {origin!r:.200} may not use this server")
        if self._authorization is not None and not _has_token(request, self._authorization):
            raise HTTPException(
                401, "this server asks for its token: Authorization: Bearer …", {"WWW-Authenticate": "Bearer"}
            )
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise HTTPException(415, "the body must be JSON: send Content-Type: application/json")

    @asynccontextmanager
    async def _body(self, request: Request) -> AsyncGenerator[bytearray]:
        """The body, as long as it is worked on."""
        body = bytearray()
        try:
            await self._read(request, body)
            yield body
        finally:
            self._held -= len(body)

    async def _read(self, request: Request, body: bytearray) -> None:
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for chunk in request.stream():
                    self._hold(body, chunk)
        except TimeoutError:
            raise HTTPException(408, f"the body has not come within {self._limits.body_seconds} s") from None
        except ClientDisconnect:
            raise HTTPException(400, "the body has not come") from None

    def _hold(self, body: bytearray, chunk: bytes) -> None:
        if len(body) + len(chunk) > self._limits.request_bytes:
            raise SizeLimitExceeded(f"the request is over the limit of {self._limits.request_bytes} bytes")
        if self._held + len(chunk) > self._limits.held_bytes:
            raise Unavailable("too many requests are under way", suggestion="send this one again later")
        body += chunk
        self._held += len(chunk)

    def _worked(self, body: bytes, work: Callable[[Sequence[Payload]], Awaitable[list[Payload]]]) -> str:
        """The answer to a request's body. Runs in the thread."""
        payloads = _payloads(body, self._limits)
        found = asyncio.run(_awaited(work(payloads)))
        return json_format.MessageToJson(Payloads(payloads=found), indent=None)

    async def _decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        decoded: list[Payload] = []
        size, until = 0, time.monotonic() + self._limits.work_seconds
        for payload in payloads:
            decoded.append(await self._decoded(payload))
            size += decoded[-1].ByteSize()
            if size > self._limits.answer_bytes:
                limit = self._limits.answer_bytes
                raise SizeLimitExceeded(f"the payloads decompress to more than the limit of {limit} bytes")
            if time.monotonic() > until:
                raise Unavailable("decoding takes too long", suggestion="ask for fewer payloads at once")
        return decoded

    async def _decoded(self, payload: Payload) -> Payload:
        try:
            (decoded,) = await self._codec.decode([payload])
            return payload if reason_of(decoded) else readable(without_mark(decoded))
        except AnabranchError:
            return payload


def _has_token(request: Request, expected: bytes) -> bool:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return hmac.compare_digest(f"{scheme.lower()} {token.strip()}".encode(), expected)


async def _awaited(work: Awaitable[list[Payload]]) -> list[Payload]:
    return await work


def _payloads(body: bytes, limits: CodecLimits) -> Sequence[Payload]:
    """The payloads of a request; how many there are is checked before any of them is built."""
    try:
        given = json.loads(body)
        found = given["payloads"] if isinstance(given, dict) and "payloads" in given else given
        _check_amount(found if isinstance(found, list) else (), limits)
        return json_format.ParseDict({"payloads": found}, Payloads(), ignore_unknown_fields=True).payloads
    except SizeLimitExceeded:
        raise
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise WireFormatError(
            f"the request is not a JSON list of payloads: {error!s:.200}", suggestion='send {"payloads": [...]}'
        ) from None


def _check_amount(found: Sequence[object], limits: CodecLimits) -> None:
    if len(found) > limits.payloads:
        raise SizeLimitExceeded(f"the request has {len(found)} payloads, over the limit of {limits.payloads}")
    for each in found:
        metadata = each.get("metadata") if isinstance(each, dict) else None
        if isinstance(metadata, dict) and len(metadata) > limits.metadata:
            raise SizeLimitExceeded(f"a payload has {len(metadata)} metadata, over the limit of {limits.metadata}")


async def _refusal(_request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        content = {"code": InputError.code, "message": error.detail}
        return JSONResponse(content, status_code=error.status_code, headers=error.headers)
    code = error.code if isinstance(error, AnabranchError) else AnabranchError.code
    status = 413 if isinstance(error, SizeLimitExceeded) else 503 if isinstance(error, Unavailable) else 400
    return JSONResponse({"code": code, "message": str(error)}, status_code=status)
