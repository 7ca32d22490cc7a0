"""The versions of a run's context as a table: who wrote what, and what merges settled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from anabranch.display import plain

_LONGEST = 60
_SHOWN = 6


def versions_table(history: Iterable[Mapping[str, Any]]) -> Table:
    """What the query `history` answered."""
    table = Table(box=None, padding=(0, 0, 0, 2), header_style="dim")
    table.add_column("version", justify="right", style="bold")
    table.add_column("by", no_wrap=True)
    table.add_column("changes", overflow="fold")
    for entry in history:
        changes = [*(f"{path} = {short(value)}" for path, value in entry["set"].items())]
        changes += [f"{path} removed" for path in entry["removed"]]
        more = f", and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
        summary = Text(plain(", ".join(changes[:_SHOWN])) + more)
        for conflict in entry.get("conflicts", ()):
            summary.append("\n").append_text(conflict_line(conflict))
        for warning in entry.get("warnings", ()):
            summary.append("\n").append_text(warning_line(warning))
        kind = entry["kind"]
        by = Text(plain(entry["by"]), "" if kind == "node" else "dim" if kind == "input" else "magenta")
        table.add_row(str(entry["version"]), by, summary)
    return table


def conflict_line(conflict: Mapping[str, Any]) -> Text:
    """One conflict: its sides, and how it was settled."""
    absent = "(too large)" if "values_left_out" in conflict else "removed"
    sides = " | ".join(f"{each['by']}: {short(each.get('value'), absent)}" for each in conflict["candidates"])
    choice = short(conflict.get("choice"), absent) if conflict["settled"] else "not settled"
    text = f" at {conflict['path']}: {sides} → {choice} ({conflict['strategy']})"
    return Text.assemble(("conflict", "magenta"), plain(text))


def warning_line(text: str) -> Text:
    """What a node warns of."""
    return Text.assemble(("warning", "bold yellow"), f" {plain(text)}")


def short(value: object, absent: str = "null") -> str:
    """A value as JSON, cut if it is long."""
    text = absent if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
