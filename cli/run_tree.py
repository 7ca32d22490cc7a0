"""A run as a tree: every node with its state, how long it took and what it wrote, and below it what is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from anabranch.cli.questions import Asking
from anabranch.context.values import Json
from anabranch.display import plain
from anabranch.graph.drawing.rows import Row, rows
from anabranch.graph.model import Graph
from anabranch.workflows.interpreter.decisions import RUN

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


class RunTree:
    """What the query `status` answers, drawn. `server` is the address that the commands to copy must name."""

    def __init__(self, graph: Graph, workflow_id: str, server: str | None = None) -> None:
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
        self._wrote: dict[str, list[str]] = {}

    @property
    def closed(self) -> int:
        """How many nodes have come to their end."""
        return sum("ended" in node for node in self._nodes.values())

    def show(self, status: Mapping[str, Json]) -> None:
        """Draw what the query `status` answered."""
        self._status = status

    def show_history(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Draw what nodes wrote, from what the query `history` answered."""
        for version in history:
            if version["kind"] in ("node", "fallback"):
                self._wrote[version["by"]] = [*version["set"], *(f"{path} removed" for path in version["removed"])]

    def questions(self) -> list[Text]:
        """What is asked, with the commands that answer."""
        return self._asking.lines(self._status)

    def drawn(
        self,
        notes: Sequence[str] = (),
        *,
        room: int | None = None,
        now: float | None = None,
        spinner: Callable[[], object] | None = None,
        asks: bool = True,
    ) -> RenderableType:
        """The run as it was last shown, in `room` lines if they are few. `now` is the time of that, in seconds.

        With a `spinner` it is what nodes that run begin with. `notes` are told below.
        """
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(no_wrap=True, style="dim")
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim", ratio=1)
        for row in self._in_sight(room):
            node = self._nodes.get(row.node, {})
            name = self._name(row.rails, row.node, node, spinner)
            table.add_row(name, self._types[row.node], _took(node, now), self._description(row.node))
        told = (*self._lacking(), *self._limited(), *self._warnings(), *self._finally_failed(), *notes)
        below = [Text(text, "yellow") for text in told if text]
        return Group(self._head(), table, *(self.questions() if asks else []), *below)

    @property
    def _decisions(self) -> Mapping[str, Mapping[str, str]]:
        decisions: Mapping[str, Mapping[str, str]] = self._status.get("decisions", {})
        return decisions

    @property
    def _nodes(self) -> Mapping[str, dict[str, Any]]:
        nodes: Mapping[str, dict[str, Any]] = self._status.get("nodes", {})
        return nodes

    def _finally_failed(self) -> Iterator[str]:
        """Why the `finally` failed, which changes nothing of how the run ended."""
        if (error := self._status.get("finally_failed")) is not None:
            yield plain(f"the finally failed at {error['node']}: {error['code']}: {error['message']}")

    def _lacking(self) -> Iterator[str]:
        """Which workers lack what, while others are looked for."""
        lacking: Mapping[str, str] = self._status.get("lacking", {})
        for address, message in lacking.items():
            yield f"{plain(address)} waits for another worker: {plain(message)}"

    def _limited(self) -> Iterator[str]:
        """What nodes wait for that a limit did not let begin."""
        limited: Mapping[str, str] = self._status.get("limited", {})
        for address, why in limited.items():
            yield f"{plain(address)} waits for its turn: {plain(why)}"

    def _warnings(self) -> Iterator[str]:
        """What nodes warned of."""
        for said in self._status.get("warnings", ()):
            yield f"{plain(said['by'])}: {plain(said['warning'])}"

    def _in_sight(self, room: int | None) -> list[Row]:
        """All rows, or of many those round the last node that has started."""
        if room is None or len(self._rows) <= room:
            return self._rows
        started = [index for index, row in enumerate(self._rows) if "started" in self._nodes.get(row.node, {})]
        first = max(0, min((started[-1] if started else 0) - room // 2, len(self._rows) - room))
        return self._rows[first : first + room]

    def _head(self) -> Text:
        state = str(self._status.get("status", "starting"))
        colour = {"completed": "green", "failed": "red", "cancelled": "yellow"}.get(state, "cyan")
        told = self._decisions.get(RUN)
        by = f"  by {plain(told['by'])}" if told is not None and told["did"] == state else ""
        return Text.assemble((self._title, "bold"), "  ", (state, f"bold {colour}"), (by, "dim"))

    def _name(self, rails: str, name: str, node: Mapping[str, Any], spinner: Callable[[], object] | None) -> Text:
        state = node.get("status", "pending")
        mark, style = _MARKS.get(state, ("?", ""))
        shown = spinner() if state == "running" and spinner is not None else mark
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
        if (told := self._decisions.get(name)) is not None:
            parts.append((f"{_decided(told)}  ", "dim"))
        if under_way := sum(address.startswith((f"{name}[", f"{name}/", f"{name}~")) for address in self._nodes):
            parts.append((f"{under_way} under way  ", "cyan"))
        if (error := node.get("error")) is not None:
            parts.append((plain(f"{error['type']}: {error['message']}").splitlines()[0], "red"))
        more = f" +{len(wrote) - _WROTE}" if len(wrote) > _WROTE else ""
        return Text.assemble(*parts, plain(", ".join(wrote[:_WROTE])) + more)


def _decided(told: Mapping[str, str]) -> str:
    """What somebody told a node, or the run."""
    return plain(f"{told['did']} by {told['by']}")


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


def _took(node: Mapping[str, Any], now: float | None) -> str:
    if "started" not in node:
        return ""
    ended = node.get("ended", (time.time() if now is None else now) * 1000)
    seconds: float = max(0.0, ended - node["started"]) / 1000
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
