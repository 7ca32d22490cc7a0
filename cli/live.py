"""The live tree of a run, redrawn as its nodes change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import RenderableType
from rich.live import Live
from rich.spinner import Spinner

from anabranch.cli.queues import Unserved
from anabranch.cli.report import err
from anabranch.cli.run_tree import RunTree
from anabranch.context.values import Json
from anabranch.display import plain
from anabranch.graph.model import Graph


class LiveRun:
    """Draws on standard error until it is left; without a terminal, only what is asked and the last state.

    `server` is the address that the commands to copy must name.
    """

    def __init__(self, graph: Graph, workflow_id: str, server: str | None = None) -> None:
        self._console = console = err()
        console.soft_wrap = False  # it counts lines to draw over them
        self._tree = RunTree(graph, workflow_id, server)
        self._told: set[str] = set()
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
        return self._tree.closed

    def show(self, status: Mapping[str, Json]) -> None:
        """Draw what the query `status` answered."""
        self._tree.show(status)
        self._note = ""
        if not self._console.is_terminal:
            self._tell()

    def _tell(self) -> None:
        """Print what is asked as it comes up: without a terminal nothing is drawn until the end."""
        for line in self._tree.questions():
            if line.plain not in self._told:
                self._told.add(line.plain)
                self._console.print(line, soft_wrap=True)

    def show_history(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Draw what nodes wrote, from what the query `history` answered."""
        self._tree.show_history(history)

    def cannot_see(self, message: str) -> None:
        """Say that the run's state cannot be read now, and why."""
        self._note = f"waiting for a worker that answers ({plain(message)})"

    def show_unserved(self, found: Sequence[Unserved]) -> None:
        """Say which task queues nobody serves."""
        self._unserved = found

    def say(self, text: str) -> None:
        """Keep a line below the tree."""
        self._said = text

    def renderable(self) -> RenderableType:
        """The run as it was last shown."""
        notes = [*map(str, self._unserved), self._note, self._said]
        if self._over:
            return self._tree.drawn(notes, asks=False)
        room = max(5, self._console.height - 3)
        return self._tree.drawn(notes, room=room, spinner=lambda: self._spinner.render(self._console.get_time()))
