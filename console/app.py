"""The console: one ASGI app on the loopback interface. The codec server is at `/codec`."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount
from temporalio.converter import PayloadCodec

from anabranch.console.codec_server import LIMITS, CodecLimits, codec_server

CODEC_PATH = "/codec"
_HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""Names by which this machine reaches itself. A page of another name that leads here (DNS rebinding) is refused."""


def console(
    origins: Sequence[str] = (),
    codec: PayloadCodec | None = None,
    *,
    token: str | None = None,
    limits: CodecLimits = LIMITS,
) -> Starlette:
    """Make the app. `origins` are the pages that may use the codec server: those of the Temporal Web UI.

    With a `token` only who sends it may use it.
    """
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=list(_HOSTS), www_redirect=False)
    server = codec_server(origins, codec, token=token, limits=limits)
    return Starlette(routes=[Mount(CODEC_PATH, server)], middleware=[hosts])
