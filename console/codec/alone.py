"""The codec server alone, on the loopback interface, at `/codec`: what `anabranch codec` serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount

from anabranch.console.codec.intake import LIMITS, CodecLimits
from anabranch.console.codec.server import codec_server
from anabranch.console.hosts import LOOPBACK_HOSTS
from anabranch.transport.converter import data_converter
from anabranch.transport.marking import MarkingDataConverter

CODEC_PATH: Final = "/codec"


def codec_alone(
    origins: Sequence[str] = (),
    converter: MarkingDataConverter | None = None,
    *,
    token: str | None = None,
    limits: CodecLimits = LIMITS,
) -> Starlette:
    """Make the app. `origins` are the pages that may use the codec server: those of the Temporal Web UI.

    With a `token` only who sends it may use it. The `converter` knows the keys and the payload store.
    """
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK_HOSTS), www_redirect=False)
    server = codec_server(origins, converter or data_converter(), token=token, limits=limits)
    return Starlette(routes=[Mount(CODEC_PATH, server)], middleware=[hosts])
