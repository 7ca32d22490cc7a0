"""`anabranch codec`: the codec server by itself, and the token that it asks for where payloads are encrypted."""

from __future__ import annotations

import asyncio
import secrets
import shlex
from collections.abc import Sequence

from rich.text import Text

from anabranch.cli.leaving import ENDING, interruptible
from anabranch.cli.report import out
from anabranch.console.codec.alone import CODEC_PATH, codec_alone
from anabranch.display import plain
from anabranch.errors import ConfigurationError
from anabranch.loopback import serving
from anabranch.settings import Settings
from anabranch.transport.client import converter_for

TOKEN_VARIABLE = "ANABRANCH_CODEC_TOKEN"  # noqa: S105 - the name of the variable


async def serve_codec(settings: Settings, port: int, origins: Sequence[str]) -> None:
    """Serve until SIGINT or SIGTERM. Raises ConfigurationError, Unavailable."""
    if settings.cipher() is not None and settings.codec_token is None:
        raise ConfigurationError(
            "payloads are encrypted, and the codec server would decrypt them for everybody",
            place=TOKEN_VARIABLE,
            suggestion="set it to a secret of 16 characters and more, such as `openssl rand -hex 32` gives",
        )
    stop = asyncio.Event()
    app = codec_alone(origins, converter_for(settings), token=codec_token(settings))
    with interruptible(lambda _: stop.set(), within=ENDING):
        async with serving(app, port) as url:
            out().print(Text(f"codec server on {plain(url)}{CODEC_PATH}", "bold"))
            await stop.wait()


def codec_token(settings: Settings) -> str | None:
    """What requests must bring: the token of the settings; where there are keys and no token, one for this once."""
    if settings.codec_token is not None:
        return settings.codec_token.get_secret_value()
    return None if settings.cipher() is None else secrets.token_urlsafe(24)


def codec_auth(token: str | None) -> str:
    """The option of `temporal` that sends the token."""
    return "" if token is None else f" --codec-auth {shlex.quote(f'Bearer {token}')}"
