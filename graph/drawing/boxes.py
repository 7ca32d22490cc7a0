"""A graph as boxes and arrows of text, as wide as its reader's terminal where that is possible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from anabranch.display import one_line
from anabranch.graph.drawing.mermaid import BREAK, at_most, mermaid, narrow_mermaid
from anabranch.graph.model import Graph

MAX_BOXES: Final = 500
_LONGEST_TEXT: Final = 70
_LABEL_COLUMNS: Final = 40


def boxes(
    graph: Graph,
    states: Mapping[str, str] | None = None,
    *,
    details: bool = False,
    ascii_only: bool = False,
    columns: int | None = None,
) -> str:
    """The graph as boxes and arrows of text. InputError above 500 nodes.

    Where it is wider than `columns`, names are broken at underscores, and edges have numbers that are explained below.
    Of what is still too wide, it is the narrowest.
    """
    at_most(MAX_BOXES, graph)
    drawn = _rendered(mermaid(graph, states, details=details), ascii_only=ascii_only)
    if columns is None or _width(drawn) <= columns:
        return drawn
    narrowest = drawn
    for narrow in _narrow(graph, states or {}, details=details, ascii_only=ascii_only):
        if _width(narrow) <= columns:
            return narrow
        narrowest = min(narrowest, narrow, key=_width)
    return narrowest


def _narrow(graph: Graph, states: Mapping[str, str], *, details: bool, ascii_only: bool) -> Iterator[str]:
    """From the top down, then from left to right."""
    for rightward in (False, True):
        source, texts = narrow_mermaid(graph, states, details=details, rightward=rightward)
        lines = [_rendered(source, ascii_only=ascii_only, narrow=True)]
        lines += [f"{number}: {one_line(text, _LONGEST_TEXT)}" for number, text in enumerate(texts, start=1)]
        drawn = "\n".join(lines)
        yield drawn.encode("ascii", "backslashreplace").decode() if ascii_only else drawn


def _rendered(source: str, *, ascii_only: bool, narrow: bool = False) -> str:
    import termaid

    return termaid.render(
        source.replace(BREAK, "\\n"),
        use_ascii=ascii_only,
        padding_x=0 if narrow else 2,
        padding_y=0,
        gap=1 if narrow else 2,
        max_label_width=_LABEL_COLUMNS,
    )


def _width(drawn: str) -> int:
    return max(map(len, drawn.splitlines()), default=0)
