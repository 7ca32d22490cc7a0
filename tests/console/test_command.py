"""`anabranch console`: what it refuses before it listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from anabranch.cli.console import ConsoleOptions, serve_console
from anabranch.errors import ConfigurationError
from anabranch.settings import settings_from_environment
from tests.console.kit import ADA

ISSUER, AUDIENCE = "ANABRANCH_CONSOLE_ISSUER", "ANABRANCH_CONSOLE_AUDIENCE"


@pytest.mark.parametrize(
    ("address", "environ", "said"),
    [
        ("0.0.0.0", {}, "at 0.0.0.0 everybody who reaches it could steer runs"),
        ("::", {}, "at :: everybody"),
        ("127.0.0.1", {"ANABRANCH_GRAPHS": "nowhere"}, "the folder 'nowhere' does not exist"),
        ("127.0.0.1", {"ANABRANCH_CONSOLE_TOKENS": f"ada:boss:{ADA}"}, "entry 1 names no role"),
        ("127.0.0.1", {ISSUER: "https://issuer.example"}, f"{AUDIENCE} go together"),
        ("127.0.0.1", {ISSUER: "http://issuer.example", AUDIENCE: "console"}, "is not an https address"),
    ],
)
async def test_a_console_that_would_not_be_safe_does_not_start(
    address: str, environ: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ANABRANCH_GRAPHS": str(tmp_path), **environ}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=said) as refused:
        await serve_console(settings_from_environment(), ConsoleOptions(address, 0, read_only=False, web_ui=None))
    assert ADA not in str(refused.value)
