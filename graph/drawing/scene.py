"""A graph as a picture has it: each node with its size, its place, and what is inside and beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from anabranch.display import one_line
from anabranch.graph.drawing.layout import layered
from anabranch.graph.drawing.measure import cut, width_of, wrapped
from anabranch.graph.drawing.places import Box, Link, Point
from anabranch.graph.drawing.shapes import Shape, shape_of
from anabranch.graph.drawing.summary import edge_label, summary
from anabranch.graph.kinds.kinds import kind_of, loop_of
from anabranch.graph.model import Body, Finally, Graph, Node
from anabranch.graph.parts import Edge

NAME_SIZE: Final = 13.0
TEXT_SIZE: Final = 11.0
LINE: Final = 15.0
"""From one line of small text to the next."""
PADDING: Final = 12.0
HEADER: Final = 46.0
"""The head of a box around other nodes: its name, and what it does."""
LAST_HEADER: Final = 26.0
"""The same of a `finally`, which has no more than its name."""
GAP: Final = 22.0
"""Between a node and what undoes it, and between a body and its `finally`."""
_NARROWEST: Final = 96.0
_WIDEST: Final = 230.0
_NAME_HEIGHT: Final = 22.0
_BOLD: Final = 1.08
_LABEL_WIDTH: Final = 150.0
_LABEL_LINES: Final = 3
_TEXT_LINES: Final = 2
_LONGEST: Final = 200
_COUNT: Final = ("", "10,000/10,000, 10 failed")
"""How much room a closed body has for how far it is: without one, and with one."""


@dataclass(frozen=True, slots=True)
class Card:
    """One node: its name, the small text below, and its body in place of that where it has one."""

    address: str
    name: str
    """As much of the node's id as there is room for."""
    key: str
    node: Node
    shape: Shape
    width: float
    height: float
    lines: tuple[str, ...]
    is_closed: bool = False
    """Whether it has a body that is not drawn. Its last line is left to how far that is."""
    inside: Stack | None = None
    undo: Card | None = None
    """What undoes it, at its right side."""


@dataclass(frozen=True, slots=True)
class Arrow:
    """One edge of a level, with its number there."""

    index: int
    edge: Edge
    points: tuple[Point, ...]
    label: tuple[str, ...]
    """Its lines; none without a condition."""
    middle: Point | None
    width: float
    """Of the label."""


@dataclass(frozen=True, slots=True)
class Level:
    """The nodes and edges of a graph, of a body or of a `finally`. `address` stands before the ids of its nodes."""

    address: str
    width: float
    height: float
    cards: tuple[tuple[Point, Card], ...]
    arrows: tuple[Arrow, ...]


@dataclass(frozen=True, slots=True)
class Stack:
    """A level, and below it the `finally` that ends it."""

    width: float
    height: float
    body: Level
    last: Level | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    """What of the nodes is drawn."""

    details: bool
    opened: Collection[str] | None

    def opens(self, address: str) -> bool:
        """Whether the body of the node at an address is drawn."""
        return self.opened is None or address in self.opened


def scene(graph: Graph, *, details: bool = False, opened: Collection[str] | None = None) -> Stack:
    """The whole graph. `details` has cards say what their nodes do.

    Of bodies only those at the addresses `opened` are drawn, where that is given.
    """
    return _stack(graph, graph.finally_, "", _Look(details, opened))


def around(level: Level) -> tuple[float, float]:
    """The size of the box around a `finally`."""
    return max(level.width, _NARROWEST) + 2 * PADDING, level.height + LAST_HEADER + PADDING


def _stack(body: Graph | Body, last: Finally | None, address: str, look: _Look) -> Stack:
    upper = _level(body, address, look)
    if last is None:
        return Stack(upper.width, upper.height, upper)
    lower = _level(last, f"{address}finally/", look)
    width, height = around(lower)
    return Stack(max(upper.width, width), upper.height + GAP + height, upper, lower)


def _level(body: Graph | Body | Finally, address: str, look: _Look) -> Level:
    cards = [_card(key, node, f"{address}{key}", look) for key, node in body.nodes.items()]
    numbers = {key: place for place, key in enumerate(body.nodes)}
    labels = [_label(edge) for edge in body.edges]
    links = [
        Link(numbers[edge.source], numbers[edge.target], _size(label) if label else None)
        for edge, label in zip(body.edges, labels, strict=True)
    ]
    layout = layered([_box(card) for card in cards], links)
    return Level(
        address=address,
        width=layout.width,
        height=layout.height,
        cards=tuple(zip(layout.corners, cards, strict=True)),
        arrows=tuple(
            Arrow(index, edge, route.points, label, route.label, link.label[0] if link.label else 0.0)
            for index, (edge, label, link, route) in enumerate(
                zip(body.edges, labels, links, layout.routes, strict=True)
            )
        ),
    )


def _box(card: Card) -> Box:
    if (undo := card.undo) is None:
        return Box(card.width, card.height, is_round=card.shape.is_round)
    below = max(0.0, undo.height - card.height)
    return Box(card.width, card.height, beside=GAP + undo.width, below=below, is_round=card.shape.is_round)


def _card(key: str, node: Node, address: str, look: _Look) -> Card:
    undo = None
    if node.compensate is not None:
        undo = _card("undo", node.compensate, f"{address}/compensate", look)
    loop = loop_of(node)
    has_body = loop is not None and bool(loop.body.nodes)
    if loop is not None and has_body and look.opens(address):
        return _around(key, node, address, _stack(loop.body, loop.last, f"{address}/", look), undo)
    kind = kind_of(node)
    shape = shape_of(kind.shape)
    lines = tuple(_small(node)) if look.details or has_body else (cut(node.type, TEXT_SIZE, _WIDEST),)
    if has_body:
        lines = (*lines, "")
    name = cut(key, NAME_SIZE * _BOLD, _WIDEST)
    longest = max(
        width_of(name, NAME_SIZE * _BOLD), *(width_of(line, TEXT_SIZE) for line in (*lines, _COUNT[has_body]))
    )
    return Card(
        address=address,
        name=name,
        key=key,
        node=node,
        shape=shape,
        width=max(_NARROWEST, longest + 2 * (PADDING + shape.sides)),
        height=_NAME_HEIGHT + LINE * len(lines) + PADDING + shape.top,
        lines=lines,
        is_closed=has_body,
        undo=undo,
    )


def _around(key: str, node: Node, address: str, inside: Stack, undo: Card | None) -> Card:
    room = max(inside.width, _NARROWEST)
    does = one_line(f"{node.type}: {summary(node)}", _LONGEST)
    return Card(
        address=address,
        name=cut(key, NAME_SIZE * _BOLD, max(room, _WIDEST)),
        key=key,
        node=node,
        shape=shape_of(("[", "]")),
        width=max(room, *(min(width, _WIDEST) for width in _head(key, does))) + 2 * PADDING,
        height=inside.height + HEADER + PADDING,
        lines=(cut(does, TEXT_SIZE, max(room, _WIDEST)),),
        inside=inside,
        undo=undo,
    )


def _head(key: str, does: str) -> tuple[float, float]:
    return width_of(key, NAME_SIZE * _BOLD), width_of(does, TEXT_SIZE)


def _small(node: Node) -> Iterator[str]:
    """What the node is, does, and is for."""
    does = ": ".join(filter(None, (node.type, summary(node))))
    yield from wrapped(does, TEXT_SIZE, _WIDEST, _TEXT_LINES)
    yield from wrapped(one_line(node.description, _LONGEST), TEXT_SIZE, _WIDEST, _TEXT_LINES)


def _label(edge: Edge) -> tuple[str, ...]:
    return wrapped(one_line(edge_label(edge), _LONGEST), TEXT_SIZE, _LABEL_WIDTH, _LABEL_LINES)


def _size(label: tuple[str, ...]) -> tuple[float, float]:
    return max(width_of(line, TEXT_SIZE) for line in label) + PADDING, LINE * len(label) + 4
