"""Paths of SVG: lines and polygons with round corners, and the heads of arrows."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from typing import Final

from anabranch.graph.drawing.places import Point

_HEAD_LENGTH: Final = 8.0
_HEAD_WIDTH: Final = 7.0


def number(value: float) -> str:
    """A coordinate as SVG has it, to a tenth."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def line(points: Sequence[Point], corner: float = 0.0) -> str:
    """A line through the points, its corners rounded by at most so much."""
    inner = zip(points, points[1:], points[2:], strict=False)
    bends = "".join(_bend(before, at, after, corner) for before, at, after in inner)
    return f"M{_at(points[0])}{bends}L{_at(points[-1])}"


def polygon(corners: Sequence[Point], corner: float) -> str:
    """A closed outline, its corners rounded."""
    around = [corners[-1], *corners, corners[0]]
    inner = zip(around, around[1:], around[2:], strict=False)
    bends = "".join(_bend(before, at, after, corner) for before, at, after in inner)
    return f"M{bends[1:]}Z"


def arrow(points: Sequence[Point]) -> tuple[tuple[Point, ...], str]:
    """The points of the line up to its head, and the head, whose tip is the last point."""
    tip = points[-1]
    before = next((point for point in reversed(points) if point != tip), tip)
    length = hypot(tip[0] - before[0], tip[1] - before[1]) or 1.0
    along = ((tip[0] - before[0]) / length, (tip[1] - before[1]) / length)
    back = min(_HEAD_LENGTH, length)
    foot = (tip[0] - along[0] * back, tip[1] - along[1] * back)
    side = (-along[1] * _HEAD_WIDTH / 2, along[0] * _HEAD_WIDTH / 2)
    left, right = (foot[0] + side[0], foot[1] + side[1]), (foot[0] - side[0], foot[1] - side[1])
    return (*points[:-1], foot), f"M{_at(tip)}L{_at(left)}L{_at(right)}Z"


def _bend(before: Point, at: Point, after: Point, corner: float) -> str:
    start, end = _towards(at, before, corner), _towards(at, after, corner)
    return f"L{_at(at)}" if at in (start, end) else f"L{_at(start)}Q{_at(at)} {_at(end)}"


def _towards(at: Point, other: Point, most: float) -> Point:
    """The point at most so far from `at`, and at most half the way to the other one."""
    length = hypot(other[0] - at[0], other[1] - at[1])
    if not length:
        return at
    share = min(most, length / 2) / length
    return at[0] + (other[0] - at[0]) * share, at[1] + (other[1] - at[1]) * share


def _at(point: Point) -> str:
    return f"{number(point[0])} {number(point[1])}"
