"""The console: one ASGI app on the loopback interface. The codec server is at `/codec`."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.routing import Mount
from temporalio.converter import PayloadCodec

from anabranch.console.codec_server import codec_server

CODEC_PATH = "/codec"


def console(origins: Sequence[str] = (), codec: PayloadCodec | None = None) -> Starlette:
    """Make the app. `origins` are the pages that may use the codec server: those of the Temporal Web UI."""
    return Starlette(routes=[Mount(CODEC_PATH, codec_server(origins, codec))])
