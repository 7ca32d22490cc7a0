"""Where boxes and the arrows between them go: in layers from top to bottom, the same for the same input.

This module alone imports the layout engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Final

import graphlay

from anabranch.graph.drawing.grid import GAP, in_rows, ranks
from anabranch.graph.drawing.places import Box, Layout, Link, Point, Route

_OPTIONS: Final[Mapping[str, Any]] = {
    "direction": "topbottom",
    "coords": {"branch_style": "symmetric"},
    "spacing": {"layer_gap": 26.0, "node_gap": GAP, "dummy_gap": 18.0},
}
_MOST_AT_ONE: Final = 100
_MOST_SIDE_BY_SIDE: Final = 600_000


def layered(boxes: Sequence[Box], links: Sequence[Link]) -> Layout:
    """Lay out the boxes and links in layers from top to bottom; below them, in rows, boxes without links."""
    linked = sorted({end for link in links for end in (link.source, link.target)})
    alone = sorted(set(range(len(boxes))).difference(linked))
    if not alone:
        return _linked(boxes, links)
    below = in_rows([boxes[number] for number in alone], [])
    if not linked:
        return below
    place = {number: count for count, number in enumerate(linked)}
    moved = [replace(link, source=place[link.source], target=place[link.target]) for link in links]
    return _stacked(_linked([boxes[number] for number in linked], moved), linked, below, alone)


def _linked(boxes: Sequence[Box], links: Sequence[Link]) -> Layout:
    return in_rows(boxes, links) if _is_too_much(boxes, links) else _solved(boxes, links)


def _is_too_much(boxes: Sequence[Box], links: Sequence[Link]) -> bool:
    """Whether the engine would take minutes: its time grows with the cube of the lines that run side by side."""
    met = Counter(end for link in links for end in ((link.source, 0), (link.target, 1)))
    if max(met.values()) > _MOST_AT_ONE:
        return True
    rank = ranks(len(boxes), links)
    depth = Counter(rank[link.source] for link in links)
    depth.subtract(rank[link.target] for link in links)
    side_by_side = accumulate(depth[each] for each in range(max(rank) + 1))
    return sum(count * count for count in side_by_side) > _MOST_SIDE_BY_SIDE


def _stacked(above: Layout, linked: Sequence[int], below: Layout, alone: Sequence[int]) -> Layout:
    width = max(above.width, below.width)
    left, right = (width - above.width) / 2, (width - below.width) / 2
    upper = above.moved(left, 0.0)
    corners = dict(zip(linked, upper.corners, strict=True))
    corners |= zip(alone, below.moved(right, above.height + GAP).corners, strict=True)
    height = above.height + GAP + below.height
    return Layout(width, height, tuple(corners[number] for number in sorted(corners)), upper.routes)


def _solved(boxes: Sequence[Box], links: Sequence[Link]) -> Layout:
    problem = _Problem([*boxes])
    spans = [problem.add(link) for link in links]
    drawn = problem.solved()
    if any(box.beside for box in boxes):
        # The engine takes a box and what is beside it for one, and lets all arrows end in the middle of that.
        problem.arrows = list(_beside(problem, drawn))
        drawn = problem.solved()
    corners = [_corner(node["center"], box) for node, box in zip(drawn.nodes, problem.boxes, strict=True)]
    routes = [_route(problem, drawn.edges, corners, span) for span in spans]
    return _from_zero(boxes, corners, problem.boxes, routes)


@dataclass(frozen=True, slots=True)
class _Arrow:
    """One arrow for the engine. Its ends are from -1 to 1, at the left and at the right end of a box's border."""

    source: int
    target: int
    start: float | None = None
    end: float | None = None


@dataclass(slots=True)
class _Problem:
    """What the engine is asked. A label is a box like the others, halfway: so it is on its line, and nothing on it."""

    boxes: list[Box]
    arrows: list[_Arrow] = field(default_factory=list)

    def add(self, link: Link) -> range:
        """Take a link; the numbers of its arrows."""
        first = len(self.arrows)
        if link.label is None:
            self.arrows.append(_Arrow(link.source, link.target))
        else:
            label = len(self.boxes)
            self.boxes.append(Box(*link.label))
            self.arrows += [_Arrow(link.source, label, end=0.0), _Arrow(label, link.target, start=0.0)]
        return range(first, len(self.arrows))

    def solved(self) -> graphlay.Layout:
        """The engine's answer."""
        return graphlay.layout(
            {"nodes": [_node(box) for box in self.boxes], "edges": [_edge(arrow) for arrow in self.arrows]},
            preset="layered",
            options=_OPTIONS,
        )


def _node(box: Box) -> dict[str, Any]:
    return {
        "size": {"width": box.width + box.beside, "height": box.height + box.below},
        "shape": "ellipse" if box.is_round and not box.beside else "box",
        "key": "",
    }


def _edge(arrow: _Arrow) -> dict[str, Any]:
    edge: dict[str, Any] = {"source": arrow.source, "target": arrow.target, "weight": 1.0}
    if arrow.start is not None:
        edge["source_port"] = {"offset": {"side": "bottom", "t": arrow.start}}
    if arrow.end is not None:
        edge["target_port"] = {"offset": {"side": "top", "t": arrow.end}}
    return edge


def _beside(problem: _Problem, drawn: graphlay.Layout) -> Iterator[_Arrow]:
    """The arrows, with ends at the box alone where something is beside it, in the order that they have without that."""
    starts: dict[int, list[tuple[float, int]]] = {}
    ends: dict[int, list[tuple[float, int]]] = {}
    for place, (arrow, edge) in enumerate(zip(problem.arrows, drawn.edges, strict=True)):
        starts.setdefault(arrow.source, []).append((edge["points"][0]["x"], place))
        ends.setdefault(arrow.target, []).append((edge["points"][-1]["x"], place))
    at_start, at_end = _spread(problem.boxes, starts), _spread(problem.boxes, ends)
    for place, arrow in enumerate(problem.arrows):
        yield replace(arrow, start=at_start.get(place, arrow.start), end=at_end.get(place, arrow.end))


def _spread(boxes: Sequence[Box], met: Mapping[int, list[tuple[float, int]]]) -> dict[int, float]:
    """Arrow → where it meets its box, evenly spread over those with something beside them."""
    places: dict[int, float] = {}
    for number, ends in met.items():
        if (box := boxes[number]).beside:
            for count, (_, place) in enumerate(sorted(ends), start=1):
                at = box.width * count / (len(ends) + 1)
                places[place] = 2 * at / (box.width + box.beside) - 1
    return places


def _corner(center: Mapping[str, float], box: Box) -> Point:
    return center["x"] - (box.width + box.beside) / 2, center["y"] - (box.height + box.below) / 2


def _route(problem: _Problem, edges: Sequence[Mapping[str, Any]], corners: Sequence[Point], arrows: range) -> Route:
    (x, y), *others = ((point["x"], point["y"]) for arrow in arrows for point in edges[arrow]["points"])
    points = ((x, y - problem.boxes[problem.arrows[arrows[0]].source].below), *others)
    if len(arrows) == 1:
        return Route(points)
    label = problem.arrows[arrows[0]].target
    box, (left, top) = problem.boxes[label], corners[label]
    return Route(points, (left + box.width / 2, top + box.height / 2))


def _from_zero(
    boxes: Sequence[Box], corners: Sequence[Point], all_boxes: Sequence[Box], routes: Sequence[Route]
) -> Layout:
    seen = [point for route in routes for point in route.points]
    for box, (x, y) in zip(all_boxes, corners, strict=True):
        seen += [(x, y), (x + box.width + box.beside, y + box.height + box.below)]
    left, top = min(x for x, _ in seen), min(y for _, y in seen)
    width, height = max(x for x, _ in seen) - left, max(y for _, y in seen) - top
    return Layout(width, height, tuple(corners[: len(boxes)]), tuple(routes)).moved(-left, -top)
