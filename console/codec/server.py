"""The codec server: what the Temporal Web UI and `temporal --codec-endpoint` ask to make payloads readable.

Temporal's protocol: POST `/encode`, `/decode`, `/download` with `{"payloads": […]}` in proto JSON. Decoding unpacks
compression and turns MessagePack into JSON with named fields; encoding is what a client does to JSON.

What is in a payload store is fetched from it. The Web UI asks for `/decode?preserveStorageRefs=true`, which leaves the
reference as it is, and for `/download` once somebody wants to see the payload.

It listens beside a worker, and every page that a browser shows can send requests to it. So only JSON is taken, which a
page of another origin cannot send unasked, only from pages that are listed, and never more than a bounded amount. The
work is done in a thread of its own. Where payloads are encrypted a request must bring a token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payload, Payloads

from anabranch.console.codec.access import SENT_BY_THE_WEB_UI, Access
from anabranch.console.codec.intake import LIMITS, CodecLimits, Memory, Share, body_of, check_json, payloads_of
from anabranch.errors import AnabranchError, InputError, SizeLimitExceeded, Unavailable
from anabranch.transport.converter import readable, standard_codec
from anabranch.transport.marking import MarkingDataConverter
from anabranch.transport.undecodable import reason_of, without_mark

_KEEP_REFERENCES: Final = "preserveStorageRefs"

_T = TypeVar("_T")
_Work = Callable[[Sequence[Payload], Share], Awaitable[list[Payload]]]


def codec_server(
    origins: Sequence[str],
    converter: MarkingDataConverter,
    *,
    token: str | None = None,
    limits: CodecLimits = LIMITS,
) -> Starlette:
    """Make the ASGI app. Only pages of `origins` (the Web UI's, such as `http://127.0.0.1:8233`) may use it.

    With a `token` only who sends it may: `Authorization: Bearer …`, or a browser that has signed in at `/`.

    A payload that cannot be decoded is handed back as it came, so that it hides no other one; a download of it is
    refused. Any refusal is answered with a JSON object of `code` and `message`.
    """
    cors = Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["POST"],
        allow_headers=SENT_BY_THE_WEB_UI,
        allow_credentials=True,
    )
    access = Access(origins, token)
    endpoint = _Endpoint(converter, access, limits)
    routes = [
        Route("/", access.sign_in, methods=["GET"]),
        Route("/encode", endpoint.encode, methods=["POST"]),
        Route("/decode", endpoint.decode, methods=["POST"]),
        Route("/download", endpoint.download, methods=["POST"]),
    ]
    handlers = {AnabranchError: _refusal, HTTPException: _refusal}
    return Starlette(routes=routes, middleware=[cors], exception_handlers=handlers)


class _Endpoint:
    def __init__(self, converter: MarkingDataConverter, access: Access, limits: CodecLimits) -> None:
        self._converter = converter
        self._codec = converter.payload_codec or standard_codec()
        self._access = access
        self._limits = limits
        self._memory = Memory(limits.held_bytes)
        # One thread: codecs need not bear two, and the worker's own threads stay free.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="codec")

    async def encode(self, request: Request) -> Response:
        return await self._answer(request, self._encoded)

    async def decode(self, request: Request) -> Response:
        keeps = request.query_params.get(_KEEP_REFERENCES, "").lower() == "true"
        return await self._answer(request, self._kept if keeps else self._shown)

    async def download(self, request: Request) -> Response:
        return await self._answer(request, self._downloaded)

    async def _answer(self, request: Request, work: _Work) -> Response:
        self._access.check(request)
        check_json(request)
        with self._memory.share() as share:
            body = await body_of(request, share, self._limits)
            payloads = await self._threaded(lambda: payloads_of(body, self._limits))
            found = await work(payloads, share)
            text = await self._threaded(lambda: _text(found))
        return Response(text, media_type="application/json")

    async def _threaded(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _encoded(self, payloads: Sequence[Payload], _: Share) -> list[Payload]:
        encoded = await self._threaded(lambda: asyncio.run(_awaited(self._codec.encode(payloads))))
        async with self._storing():
            return await self._converter.offloaded(encoded)

    async def _kept(self, payloads: Sequence[Payload], _: Share) -> list[Payload]:
        return await self._decoded(payloads, [None] * len(payloads), strict=False)

    async def _shown(self, payloads: Sequence[Payload], share: Share) -> list[Payload]:
        return await self._decoded(payloads, await self._fetched(payloads, share), strict=False)

    async def _downloaded(self, payloads: Sequence[Payload], share: Share) -> list[Payload]:
        fetched = await self._fetched(payloads, share)
        if self._converter.external_storage is None and any(fetched):
            # With this status the Web UI says what is missing.
            raise HTTPException(404, "this codec server has no payload store: set PAYLOAD_STORE_URL")
        return await self._decoded(payloads, fetched, strict=True)

    async def _fetched(self, payloads: Sequence[Payload], share: Share) -> list[Payload | None]:
        """What a store has for each payload that is a reference."""
        found: list[Payload | None] = []
        size = 0
        async with self._storing():
            # One after the other: how much comes is known only when it is there.
            for payload in payloads:
                found.append(fetched := await self._converter.retrieved(payload))
                if fetched is not None:
                    share.take(fetched.ByteSize())
                    size += fetched.ByteSize()
                    self._check_answer(size)
        return found

    @asynccontextmanager
    async def _storing(self) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(self._limits.work_seconds):
                yield
        except TimeoutError:
            raise Unavailable("the payload store does not answer in time") from None

    async def _decoded(
        self, payloads: Sequence[Payload], fetched: Sequence[Payload | None], *, strict: bool
    ) -> list[Payload]:
        return await self._threaded(lambda: asyncio.run(self._all_decoded(payloads, fetched, strict=strict)))

    async def _all_decoded(
        self, payloads: Sequence[Payload], fetched: Sequence[Payload | None], *, strict: bool
    ) -> list[Payload]:
        """Runs in the thread."""
        decoded: list[Payload] = []
        size, until = 0, time.monotonic() + self._limits.work_seconds
        for payload, stored in zip(payloads, fetched, strict=True):
            decoded.append(await self._one_decoded(payload, stored, strict=strict))
            size += decoded[-1].ByteSize()
            self._check_answer(size)
            if time.monotonic() > until:
                raise Unavailable("decoding takes too long", suggestion="ask for fewer payloads at once")
        return decoded

    async def _one_decoded(self, given: Payload, stored: Payload | None, *, strict: bool) -> Payload:
        try:
            (decoded,) = await self._codec.decode([given if stored is None else stored])
            if (reason := reason_of(decoded)) is not None:
                raise reason
            return readable(without_mark(decoded))
        except AnabranchError:
            if strict and stored is not None:
                raise
            return given

    def _check_answer(self, size: int) -> None:
        if size > (limit := self._limits.answer_bytes):
            raise SizeLimitExceeded(f"the payloads decompress to more than the limit of {limit} bytes")


async def _awaited(work: Awaitable[list[Payload]]) -> list[Payload]:
    return await work


def _text(payloads: Sequence[Payload]) -> str:
    return json_format.MessageToJson(Payloads(payloads=payloads), indent=None)


async def _refusal(_request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        content = {"code": InputError.code, "message": error.detail}
        return JSONResponse(content, status_code=error.status_code, headers=error.headers)
    code = error.code if isinstance(error, AnabranchError) else AnabranchError.code
    status = 413 if isinstance(error, SizeLimitExceeded) else 503 if isinstance(error, Unavailable) else 400
    return JSONResponse({"code": code, "message": str(error)}, status_code=status)
