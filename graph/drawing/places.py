"""What a layout is asked and what it answers: boxes, the links between them, and where they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """The size of a node, and of what stands at its right, which no arrow leads to."""

    width: float
    height: float
    beside: float = 0.0
    """The room at the right."""
    below: float = 0.0
    """How far what is at the right reaches down below the node."""
    is_round: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """An arrow between two boxes, by their numbers, and the size of its label."""

    source: int
    target: int
    label: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """The corners of an arrow from border to border, and the middle of its label."""

    points: tuple[Point, ...]
    label: Point | None = None

    def moved(self, x: float, y: float) -> Route:
        """The same, so far to the right and down."""
        label = None if self.label is None else (self.label[0] + x, self.label[1] + y)
        return Route(tuple((left + x, top + y) for left, top in self.points), label)


@dataclass(frozen=True, slots=True)
class Layout:
    """The upper left corner of each box and the route of each arrow, within a drawing that begins at (0, 0)."""

    width: float
    height: float
    corners: tuple[Point, ...]
    routes: tuple[Route, ...]

    def moved(self, x: float, y: float) -> Layout:
        """The same, so far to the right and down."""
        corners = tuple((left + x, top + y) for left, top in self.corners)
        return Layout(self.width, self.height, corners, tuple(route.moved(x, y) for route in self.routes))
