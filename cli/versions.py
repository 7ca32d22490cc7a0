"""The versions of a run's context as a table: who wrote what, and what merges settled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from anabranch.cli.abridged import ALL, Left, folded
from anabranch.display import plain

_LONGEST = 60
_SHOWN = 6


def versions_table(history: Iterable[Mapping[str, Any]], *, with_times: bool = False) -> Table:
    """What the query `history` answered. `with_times` it also says when, in UTC."""
    table = Table(box=None, padding=(0, 0, 0, 2), header_style="dim")
    table.add_column("version", justify="right", style="bold")
    if with_times:
        table.add_column("when", no_wrap=True, style="dim")
    table.add_column("by", overflow="fold")
    table.add_column("changes", overflow="fold")
    for entry in folded([*history], lambda each: str(each["by"])):
        if isinstance(entry, Left):
            table.add_row(*[""] * (1 + with_times), "", Text(f"{entry}: {ALL}", "dim"))
            continue
        changes = [*(f"{path} = {short(value)}" for path, value in entry["set"].items())]
        changes += [f"{path} removed" for path in entry["removed"]]
        more = f", and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
        summary = Text(plain(", ".join(changes[:_SHOWN])) + more)
        if (person := entry.get("answered_by")) is not None:
            summary.append(f"\nanswered by {plain(person)}", "dim")
        for conflict in entry.get("conflicts", ()):
            summary.append("\n").append_text(conflict_line(conflict))
        for warning in entry.get("warnings", ()):
            summary.append("\n").append_text(warning_line(warning))
        for usage in entry.get("usage", ()):
            summary.append(f"\n{spent(usage)}", "dim")
        kind = entry["kind"]
        by = Text(plain(entry["by"]), "" if kind == "node" else "dim" if kind == "input" else "magenta")
        number = str(entry["number"] if with_times else entry["version"])
        table.add_row(number, *([_time(entry["at"])] if with_times else []), by, summary)
    return table


def spent(usage: Mapping[str, Any]) -> str:
    """What was spent at a model, in a few words."""
    tokens = f"{plain(usage['model'])}: {usage['input_tokens']} + {usage['output_tokens']} tokens"
    return tokens if "cost" not in usage else f"{tokens}, cost {usage['cost']:g}"


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%H:%M:%S}.{at % 1000:03}"


def conflict_line(conflict: Mapping[str, Any]) -> Text:
    """One conflict: its sides, and how it was settled."""
    absent = "(too large)" if "values_left_out" in conflict else "removed"
    sides = " | ".join(f"{each['by']}: {short(each.get('value'), absent)}" for each in conflict["candidates"])
    choice = short(conflict.get("choice"), absent) if conflict["settled"] else "not settled"
    by = f", chosen by {conflict['settled_by']}" if "settled_by" in conflict else ""
    text = f" at {conflict['path']}: {sides} → {choice} ({conflict['strategy']}{by})"
    return Text.assemble(("conflict", "magenta"), plain(text))


def warning_line(text: str) -> Text:
    """What a node warns of."""
    return Text.assemble(("warning", "bold yellow"), f" {plain(text)}")


def short(value: object, absent: str = "null") -> str:
    """A value as JSON, cut if it is long."""
    text = absent if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
