"""An editor for tests: pygls' own client, which starts the language server as a process and talks to it over stdio."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from lsprotocol import types
from pygls.lsp.client import LanguageClient

_SERVER = (
    "from anabranch.editor.project import Project; from anabranch.editor.server import serve; serve(Project(), pause=0)"
)
AT_ONCE = (sys.executable, "-c", _SERVER)
"""The server, which does not wait until nobody types."""
COMMAND = (sys.executable, "-m", "anabranch", "lsp")


class Editor:
    """What an editor does with one server."""

    def __init__(self, client: LanguageClient) -> None:
        self.client = client
        self.published: list[types.PublishDiagnosticsParams] = []
        """All that the server has shown."""
        self._shown: dict[str, types.PublishDiagnosticsParams] = {}
        self._news: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._versions: dict[str, int] = {}

        def published(params: types.PublishDiagnosticsParams) -> None:
            self.published.append(params)
            self._shown[params.uri] = params
            self._news[params.uri].set()

        client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(published)

    def write(self, path: Path, text: str) -> None:
        """Open a document with a text, or give it another one. Nothing is saved."""
        uri = path.as_uri()
        version = self._versions[uri] = self._versions.get(uri, 0) + 1
        self._news[uri].clear()
        if version == 1:
            item = types.TextDocumentItem(uri, "yaml", version, text)
            self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        else:
            document = types.VersionedTextDocumentIdentifier(version, uri)
            changes = [types.TextDocumentContentChangeWholeDocument(text)]
            self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, changes))

    async def problems(self, path: Path) -> list[types.Diagnostic]:
        """The problems of the text that was written last, as soon as they are shown."""
        uri = path.as_uri()
        while (shown := self._shown.get(uri)) is None or shown.version != self._versions[uri]:
            await asyncio.wait_for(self._news[uri].wait(), 60)
            self._news[uri].clear()
        return list(shown.diagnostics)

    async def complete(self, path: Path, line: int, character: int) -> list[str]:
        """The labels that are proposed at a place."""
        found = await self.client.text_document_completion_async(
            types.CompletionParams(types.TextDocumentIdentifier(path.as_uri()), types.Position(line, character))
        )
        assert isinstance(found, types.CompletionList)
        return [item.label for item in found.items]

    async def hover(self, path: Path, line: int, character: int) -> str:
        """What is shown of a place; nothing where the server has nothing to say."""
        found = await self.client.text_document_hover_async(
            types.HoverParams(types.TextDocumentIdentifier(path.as_uri()), types.Position(line, character))
        )
        if found is None:
            return ""
        assert isinstance(found.contents, types.MarkupContent)
        return found.contents.value

    async def define(self, path: Path, line: int, character: int) -> list[tuple[str, int, int]]:
        """The places that the definition leads to: file, line, character."""
        found = await self.client.text_document_definition_async(
            types.DefinitionParams(types.TextDocumentIdentifier(path.as_uri()), types.Position(line, character))
        )
        places = [each for each in found if isinstance(each, types.Location)] if isinstance(found, list) else []
        return [(each.uri.rpartition("/")[2], each.range.start.line, each.range.start.character) for each in places]

    async def lay_out(self, path: Path, text: str) -> str:
        """A text as the server lays it out, each of its edits made."""
        options = types.FormattingOptions(2, insert_spaces=True)
        found = await self.client.text_document_formatting_async(
            types.DocumentFormattingParams(types.TextDocumentIdentifier(path.as_uri()), options)
        )
        lines = text.split("\n")
        for edit in sorted(found or (), key=lambda each: -each.range.start.line):
            start, end = edit.range.start, edit.range.end
            whole = lines[start.line][: start.character] + edit.new_text + lines[end.line][end.character :]
            lines[start.line : end.line + 1] = whole.split("\n")
        return "\n".join(lines)

    async def symbols(self, path: Path) -> list[types.DocumentSymbol]:
        """What is in the document."""
        found = await self.client.text_document_document_symbol_async(
            types.DocumentSymbolParams(types.TextDocumentIdentifier(path.as_uri()))
        )
        return [each for each in found or () if isinstance(each, types.DocumentSymbol)]


@asynccontextmanager
async def editor(*command: str) -> AsyncGenerator[Editor]:
    """An editor with a server of this command."""
    client = LanguageClient("tests", "1")
    found = Editor(client)
    await client.start_io(*command)
    await client.initialize_async(types.InitializeParams(types.ClientCapabilities()))
    client.initialized(types.InitializedParams())
    try:
        yield found
    finally:
        await client.shutdown_async(None)
        client.exit(None)
        await client.stop()  # type: ignore[no-untyped-call]  # pygls has no type
