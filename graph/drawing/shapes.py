"""The outlines of nodes: those that Mermaid's brackets stand for, with round corners."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from anabranch.graph.drawing.paths import line, number, polygon
from anabranch.graph.drawing.places import Point

_CORNER: Final = 8.0
_SLANT: Final = 12.0
_LID: Final = 5.0
_BAR: Final = 6.0


@dataclass(frozen=True, slots=True)
class Shape:
    """An outline for any size, and the room at the sides that texts leave to it."""

    outline: Callable[[float, float], str]
    sides: float = 0.0
    top: float = 0.0
    is_round: bool = False


def _card(width: float, height: float) -> str:
    return polygon([(0, 0), (width, 0), (width, height), (0, height)], _CORNER)


def _pill(width: float, height: float) -> str:
    return polygon([(0, 0), (width, 0), (width, height), (0, height)], height / 2)


def _ellipse(width: float, height: float) -> str:
    across, down = number(width / 2), number(height / 2)
    arc = f"A{across} {down} 0 0 1 "
    return f"M0 {down}{arc}{number(width)} {down}{arc}0 {down}Z"


def _hexagon(width: float, height: float) -> str:
    corners: list[Point] = [
        *((_SLANT, 0), (width - _SLANT, 0), (width, height / 2)),
        *((width - _SLANT, height), (_SLANT, height), (0, height / 2)),
    ]
    return polygon(corners, _CORNER)


def _cylinder(width: float, height: float) -> str:
    across, right, low = number(width / 2), number(width), number(height - _LID)
    lid = f"A{across} {number(_LID)} 0 0"
    body = f"M0 {number(_LID)}{lid} 1 {right} {number(_LID)}V{low}{lid} 1 0 {low}Z"
    return f"{body}M0 {number(_LID)}{lid} 0 {right} {number(_LID)}"


def _slanted(*, top: tuple[float, float], bottom: tuple[float, float]) -> Callable[[float, float], str]:
    """Four corners, those at the top and at the bottom moved in by so much at the left and at the right."""

    def outline(width: float, height: float) -> str:
        corners: list[Point] = [
            *((top[0], 0), (width - top[1], 0)),
            *((width - bottom[1], height), (bottom[0], height)),
        ]
        return polygon(corners, _CORNER / 2)

    return outline


def _flag(width: float, height: float) -> str:
    return polygon([(0, 0), (width, 0), (width, height), (0, height), (_SLANT, height / 2)], _CORNER / 2)


def _barred(width: float, height: float) -> str:
    bars = (line([(each, 0), (each, height)]) for each in (_BAR, width - _BAR))
    return _card(width, height) + "".join(bars)


_PLAIN: Final = Shape(_card)
_SHAPES: Final[Mapping[tuple[str, str], Shape]] = {
    ("{{", "}}"): Shape(_hexagon, sides=_SLANT / 2),
    ("[(", ")]"): Shape(_cylinder, top=_LID),
    ("([", "])"): Shape(_pill, sides=6.0),
    ("((", "))"): Shape(_ellipse, sides=18.0, is_round=True),
    ("[[", "]]"): Shape(_barred, sides=_BAR),
    ("[/", "/]"): Shape(_slanted(top=(_SLANT, 0), bottom=(0, _SLANT)), sides=_SLANT / 2),
    ("[\\", "\\]"): Shape(_slanted(top=(0, _SLANT), bottom=(_SLANT, 0)), sides=_SLANT / 2),
    ("[/", "\\]"): Shape(_slanted(top=(_SLANT, _SLANT), bottom=(0, 0)), sides=_SLANT / 2),
    ("[\\", "/]"): Shape(_slanted(top=(0, 0), bottom=(_SLANT, _SLANT)), sides=_SLANT / 2),
    (">", "]"): Shape(_flag, sides=_SLANT / 2),
}


def shape_of(brackets: tuple[str, str]) -> Shape:
    """The shape that Mermaid draws for these brackets, else a card."""
    return _SHAPES.get(brackets, _PLAIN)
