"""The live tree of a run: every node with its state, how long it took and what it wrote, redrawn as they change."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from anabranch.cli.questions import Asking
from anabranch.cli.queues import Unserved
from anabranch.cli.report import err
from anabranch.context.values import Json
from anabranch.display import plain
from anabranch.graph.drawing.layout import Row, rows
from anabranch.graph.model import Graph

_MARKS = {
    "pending": ("○", "dim"),
    "ready": ("◌", "cyan"),
    "running": ("●", "cyan"),
    "waiting": ("◔", "yellow"),
    "conflict": ("≠", "bold magenta"),
    "paused": ("‖", "bold yellow"),
    "succeeded": ("✔", "green"),
    "failed": ("✘", "bold red"),
    "timed_out": ("✘", "bold red"),
    "cancelled": ("⊘", "yellow"),
    "skipped": ("·", "dim"),
}
_STATES_NAMED = {"conflict", "paused", "failed", "timed_out", "cancelled", "skipped", "waiting"}
_WROTE = 4


class LiveRun:
    """Draws on standard error until it is left; without a terminal, only what is asked and the last state.

    `server` is the address that the commands to copy must name.
    """

    def __init__(self, graph: Graph, workflow_id: str, server: str | None = None) -> None:
        self._console = console = err()
        console.soft_wrap = False  # it counts lines to draw over them
        self._rows = rows(graph.nodes, [(edge.source, edge.target) for edge in graph.edges])
        if (last := graph.finally_) is not None:
            below = rows(last.nodes, [(edge.source, edge.target) for edge in last.edges])
            self._rows += [Row(row.rails, f"finally/{row.node}") for row in below]
        self._title = f"{graph.name} · {plain(workflow_id)}"
        types = [(name, node.type) for name, node in graph.nodes.items()]
        types += [(f"finally/{name}", node.type) for name, node in last.nodes.items()] if last is not None else []
        self._types = dict(types)
        self._status: Mapping[str, Any] = {}
        self._asking = Asking(server)
        self._told: set[str] = set()
        self._wrote: dict[str, list[str]] = {}
        self._note = self._said = ""
        self._unserved: Sequence[Unserved] = ()
        self._over = False
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(
            console=console, get_renderable=self.renderable, refresh_per_second=8, vertical_overflow="crop"
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over, self._said, self._unserved = True, "", ()
        self._live.vertical_overflow = "visible"
        self._live.stop()
        if not self._console.is_terminal:
            self._console.line()  # which the library does on a terminal only

    @property
    def closed(self) -> int:
        """How many nodes have come to their end."""
        return sum("ended" in node for node in self._nodes.values())

    def show(self, status: Mapping[str, Json]) -> None:
        """Draw what the query `status` answered."""
        self._status, self._note = status, ""
        if not self._console.is_terminal:
            self._tell()

    def _tell(self) -> None:
        """Print what is asked as it comes up: without a terminal nothing is drawn until the end."""
        for line in self._asking.lines(self._status):
            if line.plain not in self._told:
                self._told.add(line.plain)
                self._console.print(line, soft_wrap=True)

    def show_history(self, history: list[dict[str, Any]]) -> None:
        """Draw what nodes wrote, from what the query `history` answered."""
        for version in history:
            if version["kind"] in ("node", "fallback"):
                self._wrote[version["by"]] = [*version["set"], *(f"{path} removed" for path in version["removed"])]

    def cannot_see(self, message: str) -> None:
        """Say that the run's state cannot be read now, and why."""
        self._note = f"waiting for a worker that answers ({plain(message)})"

    def show_unserved(self, found: Sequence[Unserved]) -> None:
        """Say which task queues nobody serves."""
        self._unserved = found

    def say(self, text: str) -> None:
        """Keep a line below the tree."""
        self._said = text

    @property
    def _nodes(self) -> Mapping[str, dict[str, Any]]:
        nodes: Mapping[str, dict[str, Any]] = self._status.get("nodes", {})
        return nodes

    def renderable(self) -> RenderableType:
        """The run as it was last shown."""
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(no_wrap=True, style="dim")
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim", ratio=1)
        for row in self._in_sight():
            node = self._nodes.get(row.node, {})
            table.add_row(
                self._name(row.rails, row.node, node), self._types[row.node], _took(node), self._description(row.node)
            )
        below = [
            Text(text, "yellow")
            for text in (
                *self._lacking(),
                *self._warnings(),
                *self._finally_failed(),
                *map(str, self._unserved),
                self._note,
                self._said,
            )
            if text
        ]
        asked = [] if self._over else self._asking.lines(self._status)
        return Group(self._head(), table, *asked, *below)

    def _finally_failed(self) -> Iterator[str]:
        """Why the `finally` failed, which changes nothing of how the run ended."""
        if (error := self._status.get("finally_failed")) is not None:
            yield plain(f"the finally failed at {error['node']}: {error['code']}: {error['message']}")

    def _lacking(self) -> Iterator[str]:
        """Which workers lack what, while others are looked for."""
        lacking: Mapping[str, str] = self._status.get("lacking", {})
        for address, message in lacking.items():
            yield f"{plain(address)} waits for another worker: {plain(message)}"

    def _warnings(self) -> Iterator[str]:
        """What nodes warned of."""
        for said in self._status.get("warnings", ()):
            yield f"{plain(said['by'])}: {plain(said['warning'])}"

    def _in_sight(self) -> list[Any]:
        """All rows, or while it runs on a small screen those round the last node that has started."""
        room = max(5, self._console.height - 3)
        if self._over or len(self._rows) <= room:
            return self._rows
        started = [index for index, row in enumerate(self._rows) if "started" in self._nodes.get(row.node, {})]
        first = max(0, min((started[-1] if started else 0) - room // 2, len(self._rows) - room))
        return self._rows[first : first + room]

    def _head(self) -> Text:
        state = str(self._status.get("status", "starting"))
        colour = {"completed": "green", "failed": "red", "cancelled": "yellow"}.get(state, "cyan")
        return Text.assemble((self._title, "bold"), "  ", (state, f"bold {colour}"))

    def _name(self, rails: str, name: str, node: Mapping[str, Any]) -> Text:
        state = node.get("status", "pending")
        mark, style = _MARKS.get(state, ("?", ""))
        shown: Any = mark
        if state == "running" and not self._over:
            shown = self._spinner.render(self._console.get_time())
        faint = "dim" if state in {"pending", "skipped"} else ""
        return Text.assemble((rails, "dim"), (str(shown), style), " ", (name, faint))

    def _description(self, name: str) -> Text:
        node = self._nodes.get(name, {})
        wrote = self._wrote.get(name, [])
        parts: list[str | tuple[str, str]] = []
        if (state := node.get("status")) in _STATES_NAMED:
            parts.append((state.replace("_", " ") + "  ", _MARKS[state][1]))
        parts.extend((f"{attempt}  ", "yellow") for attempt in _attempt(node))
        parts.extend((f"{told}  ", style) for told, style in _items(node))
        if name in self._status.get("compensated", ()):
            parts.append(("compensated  ", "yellow"))
        if under_way := sum(address.startswith((f"{name}[", f"{name}/", f"{name}~")) for address in self._nodes):
            parts.append((f"{under_way} under way  ", "cyan"))
        if (error := node.get("error")) is not None:
            parts.append((plain(f"{error['type']}: {error['message']}").splitlines()[0], "red"))
        more = f" +{len(wrote) - _WROTE}" if len(wrote) > _WROTE else ""
        return Text.assemble(*parts, plain(", ".join(wrote[:_WROTE])) + more)


def _attempt(node: Mapping[str, Any]) -> Iterator[str]:
    """Which attempt of how many a composite is at, where it was tried more than once."""
    if node.get("attempt", 1) > 1 or "next_attempt" in node:
        yield f"attempt {node['attempt']}" + (f" of {node['max_attempts']}" if "max_attempts" in node else "")


def _items(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How far a `foreach` is, in parts that have a style each."""
    if (items := node.get("items")) is None:
        return
    yield f"{items['done']} of {items['all']} done", "cyan"
    if items["failed"]:
        yield f"{items['failed']} failed", "red"
    if items.get("passed_over"):
        yield f"{items['passed_over']} passed over", "yellow"
    if items["running"]:
        yield f"{items['running']} running", "cyan"


def _took(node: Mapping[str, Any]) -> str:
    if "started" not in node:
        return ""
    seconds: float = (node.get("ended", time.time() * 1000) - node["started"]) / 1000
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
