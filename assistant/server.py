"""The server of the Model Context Protocol: which tools there are, and how their answers and errors come out."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated, Any, Final, Literal, ParamSpec

from mcp.server.mcpserver import MCPServer
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field, JsonValue

from anabranch.assistant.explaining import explained
from anabranch.assistant.library import GraphLibrary, problem_object
from anabranch.assistant.rehearsing import rehearsed
from anabranch.assistant.runs import MOST_RUNS, Server
from anabranch.errors import AnabranchError, GraphError, SizeLimitExceeded
from anabranch.graph.drawing.boxes import boxes
from anabranch.graph.drawing.mermaid import mermaid
from anabranch.graph.drawing.tree import tree
from anabranch.graph.source.yaml_source import MAX_BYTES
from anabranch.settings import Settings

MAX_ANSWER: Final = 256 * 1024
"""Characters of one answer, as JSON."""
MAX_GIVEN: Final = 256 * 1024
"""Characters of an input, an answer or outcomes, as JSON."""
_SHOWN_PROBLEMS: Final = 100
_READING: Final = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_WRITING: Final = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False)
_INSTRUCTIONS: Final = (
    "Graphs of Anabranch are YAML files that run on Temporal. `list_graphs` says which there are, `validate` what is "
    "wrong with one, `explain_problem` what a code means, `dry_run` what a run would do. `list_runs`, `show_run` and "
    "`why` look at runs of the server."
)

P = ParamSpec("P")
Tool = Callable[P, Awaitable[Any]]
Graph = Annotated[str, Field(max_length=512, description="The name of a graph, or its file below the graphs folder")]
Run = Annotated[str, Field(min_length=1, max_length=1000, description="A workflow id")]
Object = Annotated[dict[str, JsonValue], Field(description="A JSON object")]
Text = Annotated[str, Field(max_length=MAX_BYTES, description="The YAML text of a graph that is not saved")]


class Assistant:
    """What the tools work on: a folder of graphs, and a Temporal server that is asked when first needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.library = GraphLibrary(settings.graphs, settings.imports)
        self._server: Server | None = None
        self._connecting = asyncio.Lock()

    async def server(self) -> Server:
        """The Temporal server. Raises Unavailable, ConfigurationError."""
        async with self._connecting:
            if self._server is None:
                self._server = await Server.open(self.settings)
        return self._server

    def close(self) -> None:
        """End what was begun."""
        if self._server is not None:
            self._server.close()


def assistant_server(settings: Settings, *, allow_writes: bool) -> MCPServer[None]:
    """The server; without `allow_writes` it has no tool that changes anything."""
    assistant = Assistant(settings)

    @asynccontextmanager
    async def lifespan(_server: MCPServer[None]) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            assistant.close()

    server = MCPServer[None](
        "anabranch",
        instructions=_INSTRUCTIONS,
        version=version("anabranch"),
        log_level="ERROR",
        lifespan=lifespan,
    )
    for tool in (*_of_graphs(assistant), *_of_runs(assistant)):
        server.add_tool(_told(tool), annotations=_READING, structured_output=False)
    if allow_writes:
        for tool in _of_writes(assistant):
            server.add_tool(_told(tool), annotations=_WRITING, structured_output=False)
    return server


def _told(tool: Tool[P]) -> Callable[P, Awaitable[CallToolResult]]:
    """A tool whose answer is JSON within the limit, and whose errors have a code, a place and a suggestion."""

    @functools.wraps(tool)
    async def called(*args: P.args, **kwargs: P.kwargs) -> CallToolResult:
        try:
            answer = await tool(*args, **kwargs)
            text = json.dumps(answer, ensure_ascii=False, indent=1)
            if len(text) > MAX_ANSWER:
                message = f"the answer has {len(text):,} characters, over the limit of {MAX_ANSWER:,}"
                raise SizeLimitExceeded(message, suggestion="ask for less: a path, a part, fewer runs")
        except AnabranchError as error:
            return _failed(error)
        return CallToolResult(content=[TextContent(type="text", text=text)], structured_content={"result": answer})

    return called


def _failed(error: AnabranchError) -> CallToolResult:
    code, message = error.code, error.message
    if isinstance(error, GraphError):
        first = error.problems[0]
        code, message = first.code, "\n".join(map(str, error.problems[:20]))
    told = {
        "code": code,
        "message": message,
        "place": None if error.place is None else str(error.place),
        "suggestion": error.suggestion,
        "may_be_retried": error.retryable,
    }
    content = TextContent(type="text", text=json.dumps(told, ensure_ascii=False))
    return CallToolResult(content=[content], structured_content={"error": told}, is_error=True)


def _bounded(name: str, value: object) -> None:
    if (size := len(json.dumps(value))) > MAX_GIVEN:
        raise SizeLimitExceeded(
            f"`{name}` has {size:,} characters of JSON, over the limit of {MAX_GIVEN:,}", place=name
        )


def _of_graphs(assistant: Assistant) -> tuple[Tool[...], ...]:
    library = assistant.library

    async def list_graphs() -> Any:
        """List the graphs of the folder: name, file, description, inputs; of a broken one its problems."""
        return await asyncio.to_thread(library.listed)

    async def validate(graph: Graph, text: Text | None = None) -> Any:
        """Find every problem of a graph, with its place and what to do; or of `text`, as if the file had it."""
        if text is None:
            problems = await asyncio.to_thread(library.problems, graph)
        else:
            problems = await asyncio.to_thread(library.problems_of_text, text, graph)
        shown = [problem_object(each, library.folder) for each in problems[:_SHOWN_PROBLEMS]]
        return {"valid": not any(not each.warning for each in problems), "count": len(problems), "problems": shown}

    async def explain_problem(code: Annotated[str, Field(max_length=128)]) -> Any:
        """Explain the code of a problem or an error: what it means, and what to do."""
        return explained(code)

    async def draw(graph: Graph, form: Literal["mermaid", "tree", "boxes"] = "mermaid", details: bool = False) -> Any:
        """Draw a graph as text."""
        loaded = await asyncio.to_thread(library.load, graph)
        drawings = {"mermaid": mermaid, "tree": tree, "boxes": boxes}
        return str(await asyncio.to_thread(drawings[form], loaded.graph, details=details))

    async def dry_run(graph: Graph, data: Object, outcomes: Object | None = None) -> Any:
        """Show what a run with the input `data` would do, without a server.

        Rules are evaluated. `outcomes` says how other nodes end: `{node: {set: {…}} | {fail: CODE} | {timeout: true}}`;
        without it they are assumed to succeed with example values.
        """
        _bounded("data", data)
        _bounded("outcomes", outcomes)
        loaded = await asyncio.to_thread(library.load, graph)
        return await asyncio.to_thread(rehearsed, loaded, data, outcomes or {}, assistant.settings)

    return list_graphs, validate, explain_problem, draw, dry_run


def _of_runs(assistant: Assistant) -> tuple[Tool[...], ...]:
    async def list_runs(
        graph: Graph | None = None, state: str | None = None, limit: Annotated[int, Field(ge=1, le=MOST_RUNS)] = 20
    ) -> Any:
        """List runs of the Temporal server, the newest first: graph, state, what each waits for."""
        return await (await assistant.server()).listed(graph, state, limit)

    async def show_run(run: Run) -> Any:
        """Show a run: its nodes with their states, its context, what it waits for, how it ended."""
        return await (await assistant.server()).shown(run)

    async def why(run: Run, path: str | None = None, node: str | None = None) -> Any:
        """Explain why a value of a run's context is what it is, or why a node ran or was skipped."""
        return await (await assistant.server()).why(run, path, node)

    return list_runs, show_run, why


def _of_writes(assistant: Assistant) -> tuple[Tool[...], ...]:
    async def start_run(graph: Graph, data: Object, workflow_id: str | None = None) -> Any:
        """Start a run of a graph of the folder with the input `data`. It changes the world as the graph says."""
        _bounded("data", data)
        loaded = await asyncio.to_thread(assistant.library.load, graph)
        return await (await assistant.server()).start(loaded, data, workflow_id)

    async def answer(run: Run, node: str, answer: JsonValue) -> Any:
        """Answer an approval of a run, in place of the person who is asked. The answer must fit the schema."""
        _bounded("answer", answer)
        return await (await assistant.server()).answer(run, node, answer)

    return start_run, answer
