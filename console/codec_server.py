"""The codec server: what the Temporal Web UI and `temporal --codec-endpoint` ask to make payloads readable.

Temporal's protocol: POST `/encode`, `/decode`, `/download` with `{"payloads": […]}` in proto JSON. Decoding unpacks
compression and turns MessagePack into JSON with named fields; encoding is what a client does to JSON.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import PayloadCodec

from anabranch.errors import AnabranchError, SizeLimitExceeded, WireFormatError
from anabranch.transport.codec import ZstdCodec
from anabranch.transport.converter import readable

MAX_REQUEST_BYTES = 16 * 1024 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024


def codec_server(origins: Sequence[str] = (), codec: PayloadCodec | None = None) -> Starlette:
    """Make the ASGI app. Only pages of `origins` (the Web UI's, such as `http://127.0.0.1:8233`) may read its answers.

    A payload that cannot be decoded is handed back as it came, so that it hides no other one. A malformed request
    is answered with 400 or 413 and a JSON object of `code` and `message`.
    """
    cors = Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["POST"],
        allow_headers=["Content-Type", "X-Namespace", "Authorization"],
    )
    endpoint = _Endpoint(codec or ZstdCodec())
    routes = [
        Route("/encode", endpoint.encode, methods=["POST"]),
        Route("/decode", endpoint.decode, methods=["POST"]),
        Route("/download", endpoint.decode, methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[cors], exception_handlers={AnabranchError: _refusal})


class _Endpoint:
    def __init__(self, codec: PayloadCodec) -> None:
        self._codec = codec

    async def encode(self, request: Request) -> Response:
        return _answer(await self._codec.encode(await _payloads(request)))

    async def decode(self, request: Request) -> Response:
        decoded = []
        size = 0
        for payload in await _payloads(request):
            decoded.append(await self._decoded(payload))
            size += decoded[-1].ByteSize()
            if size > MAX_ANSWER_BYTES:
                raise SizeLimitExceeded(f"the payloads decompress to more than the limit of {MAX_ANSWER_BYTES} bytes")
        return _answer(decoded)

    async def _decoded(self, payload: Payload) -> Payload:
        try:
            return readable((await self._codec.decode([payload]))[0])
        except AnabranchError:
            return payload


async def _payloads(request: Request) -> Sequence[Payload]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise SizeLimitExceeded(f"the request is over the limit of {MAX_REQUEST_BYTES} bytes")
    try:
        return json_format.Parse(bytes(body), Payloads(), ignore_unknown_fields=True).payloads
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise WireFormatError(
            f"the request is not a JSON list of payloads: {error!s:.200}", suggestion='send {"payloads": [...]}'
        ) from error


def _answer(payloads: Sequence[Payload]) -> Response:
    return Response(json_format.MessageToJson(Payloads(payloads=payloads), indent=None), media_type="application/json")


async def _refusal(_request: Request, error: Exception) -> Response:
    code = error.code if isinstance(error, AnabranchError) else AnabranchError.code
    status = 413 if isinstance(error, SizeLimitExceeded) else 400
    return JSONResponse({"code": code, "message": str(error)}, status_code=status)
