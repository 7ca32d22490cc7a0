"""A graph as an SVG picture that can be read by eyes, by keyboards and by screen readers.

Every node can be focused and says in its label what it is; states are classes. There is no script, no link, no id and
no style attribute, so that a page with a strict policy can hold it. All text is escaped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from anabranch.display import one_line
from anabranch.graph.drawing import scene as scenes
from anabranch.graph.drawing.paths import arrow, line, number, polygon
from anabranch.graph.drawing.places import Point
from anabranch.graph.drawing.scene import Arrow, Card, Level, Stack
from anabranch.graph.drawing.states import EDGE_STATES, SIGNS, state_of
from anabranch.graph.drawing.stylesheet import printed_stylesheet, stylesheet
from anabranch.graph.drawing.summary import edge_label, summary
from anabranch.graph.kinds.kinds import kind_of
from anabranch.graph.model import Graph

_MARGIN: Final = 16.0
_CORNER: Final = 8.0
_LONGEST: Final = 200
_NO_CHARACTERS: Final = str.maketrans({0xFFFE: "\ufffd", 0xFFFF: "\ufffd"})
"""What XML cannot hold, beside the controls that `one_line` shows as codes."""


@dataclass(frozen=True, slots=True)
class States:
    """What a run made of the graph. What is not named has no state."""

    nodes: Mapping[str, str] = field(default_factory=dict)
    """Address of a node (`pack/weigh` in a body) → its state, such as `running` or `compensation_failed`."""
    edges: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """What stands before the ids of its level (`""`, `pack/`), and the number of the edge there → `taken` or `dead`."""
    counts: Mapping[str, str] = field(default_factory=dict)
    """Address of a node whose body is not drawn → how far that is, such as `812/1,000`."""


NO_STATES: Final = States()


def svg(graph: Graph, states: States = NO_STATES, *, details: bool = False) -> bytes:
    """The graph as a file of its own, light or dark as its reader prefers."""
    return _file(graph, states, stylesheet(), details=details)


def printed(graph: Graph, states: States = NO_STATES, *, details: bool = False) -> bytes:
    """The same on white, for programs that make a picture of pixels out of it."""
    return _file(graph, states, printed_stylesheet(), details=details)


def embedded(
    graph: Graph, states: States = NO_STATES, *, details: bool = False, opened: Collection[str] | None = None
) -> str:
    """The graph as an element of a page that has `stylesheet()` and scales it.

    Of bodies only those at the addresses `opened` are drawn, where that is given; the others are cards of the class
    `closed`, each with an element of the class `count`.
    """
    return "".join(_Writer(states).picture(graph, scenes.scene(graph, details=details, opened=opened)))


def _file(graph: Graph, states: States, style: str, *, details: bool) -> bytes:
    drawn = _Writer(states, style).picture(graph, scenes.scene(graph, details=details))
    return f"{''.join(drawn)}\n".encode()


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the elements of a picture."""

    states: States
    style: str | None = None

    def picture(self, graph: Graph, stack: Stack) -> Iterator[str]:
        """The whole of it."""
        width, height = number(stack.width + 2 * _MARGIN), number(stack.height + 2 * _MARGIN)
        size = "" if self.style is None else f' width="{width}" height="{height}"'
        about = f"{graph.name} {graph.version}{f': {graph.description}' if graph.description else ''}"
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" viewBox="0 0 {width} {height}"{size}'
            f' role="group" aria-label={_attribute(about)}>'
        )
        if self.style is not None:
            yield f"<style>{escape(self.style)}</style>"
        yield from self._stack(stack, (_MARGIN, _MARGIN), stack.width)
        yield "</svg>"

    def _stack(self, stack: Stack, at: Point, room: float) -> Iterator[str]:
        yield f"<g{_moved(at[0] + (room - stack.body.width) / 2, at[1])}>"
        yield from self._level(stack.body)
        yield "</g>"
        if stack.last is not None:
            width, height = scenes.around(stack.last)
            place = _moved(at[0] + (room - width) / 2, at[1] + stack.height - height)
            yield f'<g class="last" role="group" tabindex="0" aria-label="finally"{place}>'
            yield _box(width, height)
            yield _text("name", scenes.PADDING, 18, "finally")
            yield f'<g class="inner"{_moved((width - stack.last.width) / 2, scenes.LAST_HEADER)}>'
            yield from self._level(stack.last)
            yield "</g></g>"

    def _level(self, level: Level) -> Iterator[str]:
        for each in level.arrows:
            yield from self._arrow(each, level.address)
        for each in level.arrows:  # above all lines, which may cross
            yield from _label(each)
        for at, card in level.cards:
            yield from self._card(card, at)
            if card.undo is not None:
                yield from self._undo(card, card.undo, at)

    def _arrow(self, drawn: Arrow, address: str) -> Iterator[str]:
        edge = drawn.edge
        state = self.states.edges.get((address, drawn.index))
        classes = ["edge", *(["other"] if edge.outcome != "success" else [])]
        classes += [state] if state in EDGE_STATES else []
        named = f"{edge.source} to {edge.target}"
        said = ", ".join(filter(None, (edge_label(edge), state if state in EDGE_STATES else None)))
        points, head = arrow(drawn.points)
        yield (
            f'<g class="{" ".join(classes)}" role="img" aria-label={_attribute(f"{named}: {said}" if said else named)}'
            f" data-from={_attribute(address + edge.source)} data-to={_attribute(address + edge.target)}>"
        )
        yield f'<path class="line" d="{line(points, _CORNER)}"/><path class="head" d="{head}"/></g>'

    def _undo(self, card: Card, undo: Card, at: Point) -> Iterator[str]:
        """What undoes a node, at its right, their heads on one line."""
        middle = at[1] + min(card.height, undo.height) / 2
        left = at[0] + card.width
        yield f'<path class="undoes" d="{line([(left, middle), (left + scenes.GAP, middle)])}"/>'
        yield from self._card(undo, (left + scenes.GAP, at[1]), undoes=card)

    def _card(self, card: Card, at: Point, undoes: Card | None = None) -> Iterator[str]:
        state = state_of(self.states.nodes.get(card.address))
        classes = ["node", f"tone-{kind_of(card.node).tone}"]
        classes += ["around"] if card.inside is not None else ["closed"] if card.is_closed else []
        classes += ["undo"] if undoes is not None else []
        classes += [f"state-{state}"] if state is not None else []
        count = self.states.counts.get(card.address, "") if card.is_closed else ""
        said = _said(card, undoes, state, count)
        yield (
            f'<g class={_attribute(" ".join(classes))} role="{"img" if card.inside is None else "group"}" tabindex="0"'
            f" aria-label={_attribute(said)} data-address={_attribute(card.address)}{_moved(*at)}>"
        )
        yield f"<title>{_escaped(said)}</title>"
        yield from self._around(card, card.inside) if card.inside is not None else _plain(card, count)
        yield from _badge(card, state)
        yield "</g>"

    def _around(self, card: Card, inside: Stack) -> Iterator[str]:
        yield _box(card.width, card.height)
        yield _text("name", scenes.PADDING, 20, card.name)
        yield _text("small", scenes.PADDING, 20 + scenes.LINE, card.lines[0])
        yield '<g class="inner">'
        yield from self._stack(inside, (scenes.PADDING, scenes.HEADER), card.width - 2 * scenes.PADDING)
        yield "</g>"


def _plain(card: Card, count: str) -> Iterator[str]:
    middle = card.width / 2
    yield f'<path class="shape" d="{card.shape.outline(card.width, card.height)}"/>'
    text = scenes.NAME_SIZE + scenes.LINE * len(card.lines)
    top = card.shape.top + (card.height - card.shape.top - text) / 2
    yield _text("name", middle, top + scenes.NAME_SIZE - 2, card.name)
    for place, small in enumerate(card.lines, start=1):
        is_count = card.is_closed and place == len(card.lines)
        name, said = ("small count", count) if is_count else ("small", small)
        yield _text(name, middle, top + scenes.NAME_SIZE + scenes.LINE * place - 3, said)


def _badge(card: Card, state: str | None) -> Iterator[str]:
    if state is not None and (sign := SIGNS[state]):
        place = _moved(card.width - card.shape.sides - 4, 2)
        yield f'<g class="badge"{place}><circle r="9"/><path d="{sign}"/></g>'


def _label(drawn: Arrow) -> Iterator[str]:
    if drawn.middle is None or not drawn.label:
        return
    x, y = drawn.middle
    height = scenes.LINE * len(drawn.label)
    width = drawn.width
    yield f'<g class="label" aria-hidden="true"{_moved(x, y)}><title>{_escaped(edge_label(drawn.edge))}</title>'
    yield f'<rect class="back" x="{number(-width / 2)}" y="{number(-height / 2)}" width="{number(width)}"'
    yield f' height="{number(height)}" rx="4"/>'
    for place, text in enumerate(drawn.label):
        yield _text("small", 0, scenes.LINE * place - height / 2 + scenes.TEXT_SIZE, text)
    yield "</g>"


def _said(card: Card, undoes: Card | None, state: str | None, count: str) -> str:
    """What a screen reader says of a node."""
    node = card.node
    name = card.key if undoes is None else f"undoes {undoes.key}"
    does = ": ".join(filter(None, (node.type, summary(node))))
    became = "" if state is None else f"state: {state.replace('-', ' ')}"
    said = [f"{name}, {does}", node.description, became, count]
    return ". ".join(one_line(part, _LONGEST) for part in said if part)


def _box(width: float, height: float) -> str:
    return f'<path class="box" d="{polygon([(0, 0), (width, 0), (width, height), (0, height)], _CORNER)}"/>'


def _text(name: str, x: float, y: float, text: str) -> str:
    return f'<text class="{name}" x="{number(x)}" y="{number(y)}">{_escaped(text)}</text>'


def _moved(x: float, y: float) -> str:
    return f' transform="translate({number(x)} {number(y)})"'


def _escaped(text: str) -> str:
    return escape(one_line(text, _LONGEST).translate(_NO_CHARACTERS))


def _attribute(text: str) -> str:
    return quoteattr(one_line(text, 2 * _LONGEST).translate(_NO_CHARACTERS))
