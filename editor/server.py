"""The language server: what an editor asks over LSP, answered from the text that it has, saved or not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path
from pygls.workspace import PositionCodec, ServerTextPosition, ServerTextRange

from anabranch.editor.completion import MOST, Proposal, proposals
from anabranch.editor.definition import Location, definitions
from anabranch.editor.diagnostics import Finding, findings
from anabranch.editor.document import Document
from anabranch.editor.formatting import formatted
from anabranch.editor.hover import meaning
from anabranch.editor.outline import Span
from anabranch.editor.project import Project
from anabranch.editor.symbols import Symbol, symbols
from anabranch.errors import Problem
from anabranch.graph.source.yaml_source import MAX_BYTES

SOURCE: Final = "anabranch"
PAUSE_SECONDS: Final = 0.15
"""So long nobody may type before the checks begin."""
_TESTS: Final = (".test.yaml", ".test.yml")
_SORTS: Final = {
    "field": types.CompletionItemKind.Field,
    "value": types.CompletionItemKind.EnumMember,
    "type": types.CompletionItemKind.Class,
    "node": types.CompletionItemKind.Reference,
    "graph": types.CompletionItemKind.Module,
    "handler": types.CompletionItemKind.Method,
    "definition": types.CompletionItemKind.Constant,
    "key": types.CompletionItemKind.Variable,
    "name": types.CompletionItemKind.Keyword,
    "function": types.CompletionItemKind.Function,
}


class Session:
    """The documents that an editor has open, and the checks that are under way."""

    def __init__(self, server: LanguageServer, project: Project, *, pause: float = PAUSE_SECONDS) -> None:
        self._server = server
        self.project = project
        self._pause = pause
        self._open: dict[str, Document] = {}
        self._checks: dict[str, asyncio.Task[None]] = {}
        # One thread: checks of a graph that has changed again wait there, and are dropped.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checks")

    def change(self, uri: str, text: str, number: int | None) -> None:
        """A document has this text now. Its checks begin when nobody types."""
        document = self._open[uri] = Document(text, _path(uri))
        self._drop(uri)
        self._checks[uri] = asyncio.ensure_future(self._check(uri, document, number))

    def close(self, uri: str) -> None:
        """A document is closed, and its problems are no longer shown."""
        self._drop(uri)
        self._open.pop(uri, None)
        self._publish(uri, None, [])

    def document(self, uri: str) -> Document:
        """The document as it is now; an empty one where it is not open, or too large for a graph."""
        found = self._open.get(uri)
        return Document("") if found is None or len(found.text) > MAX_BYTES else found

    @property
    def codec(self) -> PositionCodec:
        """How the client counts characters."""
        return self._server.workspace.position_codec

    def position(self, document: Document, position: types.Position) -> tuple[int, int]:
        """The line and column of a place, both from 0."""
        found = self.codec.position_from_client_units(document.lines, position)
        return found.line, found.character

    def range(self, document: Document, span: Span) -> types.Range:
        """A part of a document as the client counts."""
        end = min(span.end_line, len(document.lines) - 1)
        column = len(document.lines[end]) if end < span.end_line else span.end_column
        start = ServerTextPosition(min(span.line, end), span.column)
        given = ServerTextRange(start, ServerTextPosition(end, column))
        return self.codec.range_to_client_units(document.lines, given)

    def _drop(self, uri: str) -> None:
        if (check := self._checks.pop(uri, None)) is not None:
            check.cancel()

    async def _check(self, uri: str, document: Document, number: int | None) -> None:
        await asyncio.sleep(self._pause)
        loop = asyncio.get_running_loop()
        problems = () if _is_test(uri) else await loop.run_in_executor(self._thread, self._problems, document)
        if self._open.get(uri) is document:
            shown = [self._diagnostic(document, each) for each in findings(document, problems)]
            self._publish(uri, number, shown)

    def _problems(self, document: Document) -> Sequence[Problem]:
        """What is wrong with a document; it is looked at for what the editor asks next, too."""
        problems = self.project.problems(document.source, document.path) if document.is_graph else ()
        _ = document.outline.keys
        return problems

    def _publish(self, uri: str, number: int | None, shown: list[types.Diagnostic]) -> None:
        self._server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, shown, number))

    def _diagnostic(self, document: Document, finding: Finding) -> types.Diagnostic:
        problem, related = finding.problem, None
        if (place := finding.elsewhere) is not None and document.path is not None:
            start = types.Position(place.line - 1, place.column - 1)
            location = types.Location(_uri(document.path.parent / place.file), types.Range(start, start))
            related = [types.DiagnosticRelatedInformation(location, problem.message)]
        warning, error = types.DiagnosticSeverity.Warning, types.DiagnosticSeverity.Error
        return types.Diagnostic(
            self.range(document, finding.span),
            _message(problem, finding),
            warning if problem.warning else error,
            problem.code,
            source=SOURCE,
            related_information=related,
        )


def language_server(project: Project, *, pause: float = PAUSE_SECONDS) -> LanguageServer:
    """The server, before it is started."""
    # The whole text at each change: how an editor and Python count lines is not the same for every character.
    server = LanguageServer(
        "anabranch", version("anabranch"), text_document_sync_kind=types.TextDocumentSyncKind.Full, max_workers=1
    )
    session = Session(server, project, pause=pause)
    _follow(server, session)
    _answer(server, session)
    return server


def serve(project: Project, *, pause: float = PAUSE_SECONDS) -> None:
    """Serve an editor over standard input and output, until it ends. What else is printed goes to standard error."""
    gc.collect()
    gc.freeze()  # to look through all that was imported takes longer than an editor should wait for an answer
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    with contextlib.redirect_stdout(sys.stderr):
        language_server(project, pause=pause).start_io(stdin, stdout)


def _follow(server: LanguageServer, session: Session) -> None:
    """Follow what the editor has open."""

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    async def opened(params: types.DidOpenTextDocumentParams) -> None:
        session.change(params.text_document.uri, params.text_document.text, params.text_document.version)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    async def changed(params: types.DidChangeTextDocumentParams) -> None:
        session.change(params.text_document.uri, params.content_changes[-1].text, params.text_document.version)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    async def closed(params: types.DidCloseTextDocumentParams) -> None:
        session.close(params.text_document.uri)


def _answer(server: LanguageServer, session: Session) -> None:
    """Answer what the editor asks."""
    options = types.CompletionOptions(trigger_characters=[".", "{", ":", " ", "-"])

    @server.feature(types.TEXT_DOCUMENT_COMPLETION, options)
    async def complete(params: types.CompletionParams) -> types.CompletionList:
        document = session.document(params.text_document.uri)
        line, column = session.position(document, params.position)
        found = proposals(document, session.project, line, column)
        end = Span(line, column, line, column)
        items = [_item(session, document, each, end, rank) for rank, each in enumerate(found[:MOST])]
        return types.CompletionList(is_incomplete=len(found) > MOST, items=items)

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    async def hover(params: types.HoverParams) -> types.Hover | None:
        document = session.document(params.text_document.uri)
        found = meaning(document, session.project, *session.position(document, params.position))
        if found is None:
            return None
        return types.Hover(_markdown(found[0]), session.range(document, found[1]))

    @server.feature(types.TEXT_DOCUMENT_DEFINITION)
    async def define(params: types.DefinitionParams) -> list[types.Location]:
        uri = params.text_document.uri
        document = session.document(uri)
        found = definitions(document, session.project, *session.position(document, params.position))
        return [_location(session, document, uri, each) for each in found]

    @server.feature(types.TEXT_DOCUMENT_FORMATTING)
    async def lay_out(params: types.DocumentFormattingParams) -> list[types.TextEdit]:
        document = session.document(params.text_document.uri)
        return _edits(session, document) if document.is_graph else []

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    async def list_symbols(params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
        document = session.document(params.text_document.uri)
        return [_symbol(session, document, each) for each in symbols(document)]


def _edits(session: Session, document: Document) -> list[types.TextEdit]:
    """What makes the usual layout of a document, line by line; its end at once."""
    if (laid_out := formatted(document)) == document.text:
        return []
    lines, wanted = document.lines, [line.removesuffix("\r") for line in laid_out.split("\n")]
    last, end = min(len(lines), len(wanted)) - 1, len(lines) - 1
    changed = ((number, number, line) for number, line in enumerate(wanted[:last]))
    tail = (last, end, "\n".join(wanted[last:]))
    return [
        types.TextEdit(session.range(document, Span(first, 0, past, len(lines[past]))), text)
        for first, past, text in (*changed, tail)
        if text != "\n".join(lines[first : past + 1])
    ]


def _item(session: Session, document: Document, proposal: Proposal, end: Span, rank: int) -> types.CompletionItem:
    replaced = session.range(document, replace(end, column=end.column - proposal.replaced))
    return types.CompletionItem(
        proposal.label,
        kind=_SORTS[proposal.sort],
        detail=proposal.detail or None,
        documentation=_markdown(proposal.text) if proposal.text else None,
        sort_text=f"{rank:04}",
        filter_text=proposal.label,
        text_edit=types.TextEdit(replaced, proposal.insert),
    )


def _location(session: Session, document: Document, uri: str, found: Location) -> types.Location:
    if found.file is None:
        return types.Location(uri, session.range(document, found.span))
    start = types.Position(found.span.line, found.span.column)
    return types.Location(_uri(found.file), types.Range(start, start))


def _symbol(session: Session, document: Document, symbol: Symbol) -> types.DocumentSymbol:
    return types.DocumentSymbol(
        symbol.name,
        types.SymbolKind.Function if symbol.is_node else types.SymbolKind.Property,
        session.range(document, symbol.span),
        session.range(document, symbol.name_span),
        symbol.detail or None,
        children=[_symbol(session, document, each) for each in symbol.children],
    )


def _markdown(text: str) -> types.MarkupContent:
    return types.MarkupContent(types.MarkupKind.Markdown, text)


def _message(problem: Problem, finding: Finding) -> str:
    where = "" if finding.elsewhere is None else f"{finding.elsewhere}: "
    return where + problem.message + (f"\nhelp: {problem.suggestion}" if problem.suggestion else "")


def _is_test(uri: str) -> bool:
    return uri.endswith(_TESTS)


def _path(uri: str) -> Path | None:
    """The file of a document; None for one that is in none yet, and for other schemes than `file`."""
    path = to_fs_path(uri) if uri.startswith("file:") else None
    return None if path is None else Path(path)


def _uri(path: Path) -> str:
    return from_fs_path(str(path)) or path.as_uri()
