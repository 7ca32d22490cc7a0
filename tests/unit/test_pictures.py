"""Pictures of a graph, SVG and PNG: all of it is there, labelled, within its borders, and nothing else is."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest

from anabranch.graph.drawing.grid import in_rows
from anabranch.graph.drawing.layout import layered
from anabranch.graph.drawing.measure import cut, width_of, wrapped
from anabranch.graph.drawing.paths import arrow
from anabranch.graph.drawing.places import Box, Layout, Link
from anabranch.graph.drawing.png import png
from anabranch.graph.drawing.scene import Level, Stack, scene
from anabranch.graph.drawing.shapes import shape_of
from anabranch.graph.drawing.states import SIGNS
from anabranch.graph.drawing.stylesheet import printed_stylesheet, stylesheet
from anabranch.graph.drawing.svg import NO_STATES, States, embedded, svg
from anabranch.graph.kinds.kinds import kind_named
from anabranch.graph.load import load_graph
from anabranch.graph.model import NODE_TYPES, Graph
from tests.markup import CORPUS

EXAMPLES = sorted(Path("examples").glob("*.yaml"))
ORDER = load_graph(Path("examples/distributed_context_graph.yaml")).graph
WAIT: dict[str, Any] = {"type": "wait", "for": "1s"}
TRIP = Graph.model_validate(
    {
        "name": "trip",
        "nodes": {
            "book": {
                "type": "block",
                "nodes": {
                    "hotel": {**WAIT, "compensate": {"type": "python", "handler": "cancel"}},
                    "each": {"type": "foreach", "items": "xs", "body": {"nodes": {"pack": WAIT}}},
                },
                "edges": [{"from": "hotel", "to": "each", "when": "x > 1"}],
                "finally": {"nodes": {"close": WAIT}},
            },
            "oops": {"type": "fail", "code": "NO_TRIP"},
        },
        "edges": [{"from": "book", "to": "oops", "outcome": "failure"}],
        "finally": {"nodes": {"tell": WAIT}},
    }
)


def drawn(graph: Graph, states: States = NO_STATES, *, details: bool = False) -> ET.Element:
    return ET.fromstring(svg(graph, states, details=details))


def of_class(root: ET.Element, name: str) -> list[ET.Element]:
    return [element for element in root.iter() if name in element.get("class", "").split()]


def levels(stack: Stack) -> Iterator[Level]:
    for level in (stack.body, stack.last):
        if level is not None:
            yield level
            for _, card in level.cards:
                if card.inside is not None:
                    yield from levels(card.inside)


def is_apart(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    (left, top, right, bottom), (x, y, x2, y2) = one, other
    return right <= x or x2 <= left or bottom <= y or y2 <= top


def outline(box: Box, at: tuple[float, float]) -> tuple[float, ...]:
    return (*at, at[0] + box.width + box.beside, at[1] + box.height + box.below)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_node_and_edge_of_an_example_is_in_its_picture(path: Path) -> None:
    graph = load_graph(path).graph
    root = drawn(graph)
    own = scene(graph).body
    assert set(graph.nodes) <= {node.get("data-address") for node in of_class(root, "node")}
    ends = [(edge.get("data-from"), edge.get("data-to")) for edge in of_class(root, "edge")]
    assert [each for each in ends if each[0] in graph.nodes] == [(edge.source, edge.target) for edge in graph.edges]
    assert len(own.arrows) == len(graph.edges)


def test_bodies_finallys_and_what_undoes_a_node_have_addresses_and_are_inside_of_their_group() -> None:
    root = drawn(TRIP)
    assert [node.get("data-address") for node in of_class(root, "node")] == [
        *("book", "book/hotel", "book/hotel/compensate", "book/each", "book/each/pack"),
        *("book/finally/close", "oops", "finally/tell"),
    ]
    book = next(node for node in of_class(root, "node") if node.get("data-address") == "book")
    assert len(of_class(book, "node")) == 6
    assert book.get("role") == "group"
    each = next(node for node in of_class(book, "node") if node.get("data-address") == "book/each")
    assert [node.get("data-address") for node in of_class(each, "node")] == ["book/each", "book/each/pack"]
    assert [last.get("aria-label") for last in of_class(root, "last")] == ["finally", "finally"]


def test_a_node_is_focusable_and_says_what_it_is_does_and_became() -> None:
    root = drawn(TRIP, States({"book/hotel": "compensation_failed", "oops": "running", "book": "bewitched"}))
    labels = {node.get("data-address"): node.get("aria-label") for node in of_class(root, "node")}
    assert labels["book/hotel"] == "hotel, wait: for 1s. state: compensation failed"
    assert labels["book/hotel/compensate"] == "undoes hotel, python: cancel"
    assert labels["book/each"] == "each, foreach: for each item of xs"
    assert labels["oops"] == "oops, fail: NO_TRIP. state: running"
    assert labels["book"] == "book, block: block of 2 nodes"
    assert {node.get("tabindex") for node in of_class(root, "node")} == {"0"}
    assert {node.get("role") for node in of_class(root, "node")} == {"img", "group"}
    assert root.get("aria-label") == "trip 1.0.0"


def test_states_are_classes_with_a_sign_and_edges_are_taken_or_dead() -> None:
    root = drawn(TRIP, States({"oops": "timed_out", "book/hotel": "pending"}, {("", 0): "taken", ("book/", 0): "dead"}))
    (oops,) = of_class(root, "state-timed-out")
    assert oops.get("data-address") == "oops"
    assert [path.get("d") for path in of_class(oops, "badge")[0] if path.get("d")] == [SIGNS["timed-out"]]
    assert [each.get("data-address") for each in of_class(root, "state-pending")] == ["book/hotel"]
    edges = {edge.get("aria-label"): edge.get("class") for edge in of_class(root, "edge")}
    assert edges == {"book to oops: on failure, taken": "edge other taken", "hotel to each: x > 1, dead": "edge dead"}


def test_every_state_has_a_colour_on_screens_and_on_paper() -> None:
    for style in (stylesheet(), printed_stylesheet()):
        assert [state for state in SIGNS if f".state-{state} > .shape" not in style] == []
    assert "var(" not in printed_stylesheet()
    assert "prefers-color-scheme: dark" in stylesheet()
    assert set(re.findall(r"var\((--[a-z-]+)\)", stylesheet())) <= set(re.findall(r"(--[a-z-]+):", stylesheet()))


def test_a_picture_for_a_page_has_classes_alone_and_scales() -> None:
    root = ET.fromstring(embedded(TRIP, States({"oops": "failed"})))
    assert root.get("viewBox") is not None
    assert root.get("width") is None
    assert "<style" not in embedded(TRIP)
    assert {key for element in root.iter() for key in element.attrib}.isdisjoint({"style", "id", "href", "onload"})


def test_a_body_that_is_not_opened_is_one_card_that_says_how_far_it_is() -> None:
    closed = ET.fromstring(embedded(TRIP, States(counts={"book": "3/4"}), opened=()))
    named = {each.get("data-address"): each for each in of_class(closed, "node")}
    assert [*named] == ["book", "oops", "finally/tell"]
    assert "closed" in str(named["book"].get("class")).split()
    assert [each.text for each in of_class(named["book"], "count")] == ["3/4"]
    assert str(named["book"].get("aria-label")) == "book, block: block of 2 nodes. 3/4"
    opened = ET.fromstring(embedded(TRIP, States(counts={"book/each": "812/1,000, 3 failed"}), opened=("book",)))
    assert [each.get("data-address") for each in of_class(opened, "closed")] == ["book/each"]
    assert [each.text for each in of_class(opened, "count")] == ["812/1,000, 3 failed"]
    assert of_class(ET.fromstring(embedded(TRIP)), "closed") == []


def test_texts_of_others_are_texts_in_a_picture() -> None:
    hostile = (*CORPUS, "\x00\x1b\ufffe\uffff", "'\"", "]]></style><script>alert(1)</script>")
    nodes = {
        f"n{place}": {"type": "approval", "prompt": text, "description": text} for place, text in enumerate(hostile)
    }
    edges = [{"from": f"n{place}", "to": f"n{place + 1}", "when": text} for place, text in enumerate(hostile[:-1])]
    graph = Graph.model_validate(
        {"name": "g", "version": "</svg>", "description": "<script>", "nodes": nodes, "edges": edges}
    )
    root = drawn(graph, details=True)
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names == {"svg", "style", "g", "path", "text", "title", "rect"}
    allowed = {"class", "role", "tabindex", "aria-label", "aria-hidden", "data-address", "data-from", "data-to"}
    allowed |= {"viewBox", "width", "height", "transform", "d", "x", "y", "rx"}
    assert {key for element in root.iter() for key in element.attrib} == allowed
    assert len(of_class(root, "node")) == len(hostile)
    assert "alert(1)" in "".join(root.itertext())


def test_the_same_graph_gives_the_same_bytes() -> None:
    assert svg(ORDER, details=True) == svg(Graph.model_validate(ORDER.model_dump(by_alias=True)), details=True)
    assert svg(TRIP) == svg(TRIP)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_nothing_overlaps_and_no_line_runs_through_a_node(path: Path) -> None:
    for level in levels(scene(load_graph(path).graph, details=True)):
        cards = [(*at, at[0] + card.width, at[1] + card.height) for at, card in level.cards]
        cards += [
            (at[0] + card.width, at[1], at[0] + card.width + card.undo.width, at[1] + card.undo.height)
            for at, card in level.cards
            if card.undo is not None
        ]
        labels = [
            (x - each.width / 2, y - 8, x + each.width / 2, y + 8)
            for each in level.arrows
            if each.middle is not None
            for x, y in [each.middle]
        ]
        assert all(is_apart(one, other) for one, other in combinations(cards + labels, 2))
        for each in level.arrows:
            for (x, y), (x2, y2) in pairwise(each.points):
                piece = (min(x, x2), min(y, y2), max(x, x2), max(y, y2))
                assert all(is_apart(piece, card) for card in cards)


def grid_of(layout: Layout, boxes: list[Box]) -> list[tuple[float, ...]]:
    return [outline(box, at) for box, at in zip(boxes, layout.corners, strict=True)]


@pytest.mark.parametrize("count", [3, 40])
def test_boxes_without_links_stand_in_rows_below_the_others(count: int) -> None:
    boxes = [Box(100, 40)] * (count + 2)
    layout = layered(boxes, [Link(0, count + 1)])
    places = grid_of(layout, boxes)
    assert all(is_apart(one, other) for one, other in combinations(places, 2))
    below = max(places[0][3], places[-1][3])
    assert all(place[1] > below for place in places[1:-1])
    assert max(place[2] for place in places) <= layout.width < 1000
    assert max(place[3] for place in places) <= layout.height


def test_what_would_take_the_engine_minutes_is_laid_out_in_rows() -> None:
    boxes = [Box(100, 40)] * 2000
    links = [Link(0, each, (30, 19)) for each in range(1, 1999)] + [Link(each, 1999) for each in range(1, 1999)]
    layout = layered(boxes, links)
    assert layout == in_rows(boxes, links)
    assert layout.width < 5000
    assert layout.corners[0][1] < layout.corners[1][1] < layout.corners[1998][1] < layout.corners[1999][1]


def test_a_label_is_on_its_own_line() -> None:
    layout = layered([Box(100, 40)] * 4, [Link(0, each, (80, 19)) for each in (1, 2, 3)])
    for route in layout.routes:
        assert route.label is not None
        assert route.label[0] in {x for x, _ in route.points}


def test_arrows_end_at_a_node_and_not_at_what_is_beside_it() -> None:
    boxes = [Box(100, 40, beside=300, below=20), Box(100, 40, beside=300, below=20), Box(100, 40)]
    layout = layered(boxes, [Link(0, 1), Link(0, 2), Link(0, 1, (50, 19))])
    for route, target in zip(layout.routes, (1, 2, 1), strict=True):
        (x, y), (x2, y2) = route.points[0], route.points[-1]
        assert layout.corners[0][0] < x < layout.corners[0][0] + 100
        assert y == layout.corners[0][1] + 40
        assert layout.corners[target][0] < x2 < layout.corners[target][0] + 100
        assert y2 == layout.corners[target][1]


def test_2000_nodes_are_drawn() -> None:
    nodes = {f"n{place}": WAIT for place in range(2000)}
    edges = [{"from": f"n{place}", "to": f"n{place + 1}"} for place in range(1999)]
    root = drawn(Graph.model_validate({"name": "chain", "nodes": nodes, "edges": edges}))
    assert len(of_class(root, "node")) == 2000
    assert len(of_class(root, "edge")) == 1999


def test_each_type_has_the_shape_of_its_brackets_within_its_size() -> None:
    shapes = {name: shape_of(kind_named(name).shape) for name in NODE_TYPES}
    outlines = {shape.outline(120, 50) for shape in shapes.values()}
    assert len(outlines) == 11
    for each in outlines:
        numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", each)]
        assert min(numbers) >= 0
        assert max(numbers) <= 120
    assert shape_of(("<unknown", ">")) == shape_of(("[", "]"))


def test_a_head_of_an_arrow_points_where_its_line_ends() -> None:
    points, head = arrow([(0, 0), (0, 50)])
    assert points == ((0, 0), (0, 42))
    assert head == "M0 50L-3.5 42L3.5 42Z"
    assert arrow([(5, 5), (5, 5)])[1] == "M5 5L5 5L5 5Z"


def test_a_long_text_is_wrapped_and_cut() -> None:
    assert cut("abc", 10, 100) == "abc"
    assert wrapped("order_status == 1", 10, 85, 3) == ("order_status ==", "1")
    assert wrapped("", 10, 80, 3) == ()
    lines = wrapped("x" * 500, 10, 80, 2)
    assert len(lines) == 2
    assert lines[1].endswith("…")
    assert max(width_of(line, 10) for line in lines) <= 80
    assert width_of("寸", 10) > width_of("a", 10) > width_of("i", 10)


def test_png_is_a_picture_twice_as_large_as_the_svg() -> None:
    image = png(ORDER)
    width, height = struct.unpack(">II", image[16:24])
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    root = drawn(ORDER)
    assert (width, height) == pytest.approx((2 * float(root.attrib["width"]), 2 * float(root.attrib["height"])), abs=2)


def test_a_png_of_a_graph_that_is_too_high_is_made_smaller() -> None:
    nodes = {f"n{place}": WAIT for place in range(300)}
    edges = [{"from": f"n{place}", "to": f"n{place + 1}"} for place in range(299)]
    _, height = struct.unpack(">II", png(Graph.model_validate({"name": "g", "nodes": nodes, "edges": edges}))[16:24])
    assert 15_900 < height <= 16_000
