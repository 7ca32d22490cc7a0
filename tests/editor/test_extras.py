"""The commands that need a library of an extra say which, where it is not installed."""

from __future__ import annotations

import sys

import pytest
from typer.testing import CliRunner

from anabranch.cli.main import app


@pytest.mark.parametrize(
    ("command", "library", "module", "extra"),
    [
        ("lsp", "lsprotocol", "anabranch.editor.server", "editor"),
        ("mcp", "mcp.server.mcpserver", "anabranch.assistant.server", "mcp"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, command: str, library: str, module: str, extra: str
) -> None:
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    result = CliRunner().invoke(app, [command])
    assert result.exit_code == 1
    assert "error[CONFIGURATION_INVALID]" in result.output
    assert f"pip install 'anabranch[{extra}]'" in result.output
