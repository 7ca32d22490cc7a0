"""A graph as a PNG picture."""

from __future__ import annotations

import math
import re

from anabranch.graph.drawing.svg import NO_STATES, States, printed
from anabranch.graph.model import Graph

_LONGEST_SIDE = 16_000
_PIXELS = 60_000_000
_WHITE = "#ffffff"


def png(graph: Graph, states: States = NO_STATES, *, details: bool = False) -> bytes:
    """The graph on white, twice as large as on a screen where that is not too much."""
    import mermaidx

    image = printed(graph, states, details=details).decode()
    width, height = _size(image)
    return bytes(mermaidx.svg_to_png(image, width=round(width * _scale(width, height)), background=_WHITE))


def _size(image: str) -> tuple[float, float]:
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', image)
    return (float(box[1]), float(box[2])) if box else (1.0, 1.0)


def _scale(width: float, height: float) -> float:
    """2, or less where the picture would have more pixels than the renderer can hold."""
    return min(2.0, _LONGEST_SIDE / max(width, height), math.sqrt(_PIXELS / (width * height)))
