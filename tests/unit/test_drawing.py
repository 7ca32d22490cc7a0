"""Drawings: what they show, and that no name, condition or description breaks out of its label."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.errors import InputError
from anabranch.graph.drawing.boxes import MAX_BOXES, boxes
from anabranch.graph.drawing.mermaid import escaped, mermaid
from anabranch.graph.drawing.tree import tree
from anabranch.graph.load import load_graph, load_text
from anabranch.graph.model import Graph

ORDER = load_graph(Path("examples/distributed_context_graph.yaml")).graph
HOSTILE = load_text(
    """
name: hostile
nodes:
  end:
    type: rule
    description: "\\"]; click n0 href javascript:alert(1) `md` <script>alert(1)</script> %%{init}%% \\u202E| end"
    rules: [{then: {k: 1}}]
  b:
    type: foreach
    items: xs
    collect: {into: o, value: item}
    body:
      nodes:
        c: {type: wait, for: 90m}
        d: {type: approval, prompt: "1. ok? --> n9"}
      edges: [{from: c, to: d, when: "'\\"|x|' == '--> end;'"}]
edges: [{from: end, to: b, outcome: failure}]
"""
).graph


RULE = "{type: rule, rules: [{then: {x: true}}]}"


def chain(count: int) -> Graph:
    nodes = "".join(f" n{index}: {{type: wait, for: 1s}}\n" for index in range(count))
    edges = "".join(f" - {{from: n{index}, to: n{index + 1}}}\n" for index in range(count - 1))
    return load_text(f"name: chain\nnodes:\n{nodes}edges:\n{edges}").graph


def test_mermaid_shows_types_by_shape_and_conditions_and_outcomes_on_edges() -> None:
    lines = mermaid(ORDER).splitlines()
    assert lines[:3] == ["flowchart TD", '  n0{{"validate_order"}}', '  n1[("check_inventory")]']
    assert '  n0 -->|"validated"| n1' in lines
    assert '  n4 -.->|"on failure"| n6' in lines
    assert '  n5 -->|"order_status == #34;declined#34;"| n7' in lines


def test_an_edge_that_is_taken_when_no_other_is_says_otherwise() -> None:
    edges = "[{from: a, to: b, when: x}, {from: a, to: c, otherwise: true}]"
    graph = load_text(
        f"name: g\nnodes: {{a: {RULE}, b: {{type: wait, for: 1s}}, c: {{type: wait, for: 1s}}}}\nedges: {edges}"
    ).graph
    assert '  n0 -->|"otherwise"| n2' in mermaid(graph).splitlines()
    assert "   └─ [otherwise] c (wait)" in tree(graph)


@pytest.mark.parametrize(
    ("outcome", "label"),
    [("[timeout, failure]", "on failure or timeout"), ("[success, timeout]", "on success or timeout")],
)
def test_several_outcomes_are_all_named_on_the_edge(outcome: str, label: str) -> None:
    edges = f"[{{from: a, to: b, outcome: {outcome}, when: x}}]"
    graph = load_text(f"name: g\nnodes: {{a: {RULE}, b: {{type: wait, for: 1s}}}}\nedges: {edges}").graph
    assert f'  n0 -.->|"{label}: x"| n1' in mermaid(graph).splitlines()
    assert f"   ↓  [{label}: x] b (wait)" in tree(graph).splitlines()


def test_states_are_colors_and_unknown_states_are_none() -> None:
    drawn = mermaid(ORDER, {"validate_order": "succeeded", "check_inventory": "running", "decide_order": "bewitched"})
    assert "  class n0 succeeded\n" in drawn
    assert "  class n1 running\n" in drawn
    assert "n5 " not in "".join(line for line in drawn.splitlines() if "class " in line)
    assert "bewitched" not in drawn


def test_details_say_what_nodes_do() -> None:
    assert '  n4(["process_payment<br/>ai: openai:gpt-4<br/>Judges the payment and the risk of fraud"])' in mermaid(
        ORDER, details=True
    )


def test_a_body_is_drawn_inside_its_node_and_its_states_go_by_address() -> None:
    assert mermaid(HOSTILE, {"b/c": "waiting"}).splitlines() == [
        "flowchart TD",
        '  n0{{"end"}}',
        '  subgraph n1 ["b: for each item of xs"]',
        '    n2(("c"))',
        '    n3[/"d"\\]',
        '    n2 -->|"#39;#34;#124;x#124;#39; == #39;--#62; end#59;#39;"| n3',
        "  end",
        '  n0 -.->|"on failure"| n1',
        "  classDef waiting fill:#fff3bf,stroke:#f08c00,color:#664d03",
        "  class n2 waiting",
    ]


@given(st.text(max_size=80))
def test_an_escaped_text_has_no_character_that_means_something(text: str) -> None:
    assert re.fullmatch(r"(?:[^\W]|[ ,:!?=.()/-]|#\d+;)*", escaped(text, 60))


def test_boxes_show_every_node_and_condition() -> None:
    drawn = boxes(ORDER)
    assert all(name in drawn for name in ORDER.nodes)
    assert "!validated" in drawn
    assert "<br/>" not in boxes(HOSTILE, details=True)
    assert boxes(HOSTILE, ascii_only=True).isascii()


def width(drawn: str) -> int:
    return max(map(len, drawn.splitlines()))


@pytest.mark.parametrize("name", ["distributed_context_graph", "ecommerce_saga", "parallel_order", "purchasing"])
def test_the_boxes_of_each_example_fit_into_80_columns(name: str) -> None:
    assert width(boxes(load_graph(Path(f"examples/{name}.yaml")).graph, columns=80)) <= 80


def test_boxes_that_fit_are_drawn_as_without_a_limit() -> None:
    assert boxes(ORDER, columns=width(boxes(ORDER))) == boxes(ORDER)


def test_boxes_for_a_narrow_terminal_have_numbers_on_edges_and_say_below_what_they_mean() -> None:
    lines = boxes(ORDER, columns=80).splitlines()
    meanings = [line for line in lines if re.match(r"\d+: ", line)]
    assert meanings == lines[-len(meanings) :]
    assert meanings == [
        "1: validated",
        "2: !validated",
        "3: in_stock",
        "4: !in_stock",
        "5: on failure",
        "6: on timeout",
        '7: order_status != "declined"',
        '8: order_status == "declined"',
    ]
    assert "inventory" in "".join(lines[:-8])
    assert "check_inventory" not in "".join(lines)


def test_a_graph_that_no_drawing_makes_narrow_enough_is_drawn_as_narrow_as_can_be() -> None:
    assert width(boxes(ORDER, columns=10)) == width(boxes(ORDER, columns=80))
    assert boxes(HOSTILE, ascii_only=True, columns=10).isascii()


def test_a_tree_shows_each_node_once_and_points_to_it_elsewhere() -> None:
    drawn = tree(ORDER)
    assert drawn.splitlines()[:4] == [
        "order_processing 1.0.0: An order from validation to notification",
        "└─ validate_order (rule)",
        "   ├─ [validated] check_inventory (db)",
        "   │  ├─ [in_stock] calculate_shipping (rule)",
    ]
    assert drawn.count("update_order_status (db)") == 1
    assert drawn.count("update_order_status (above)") == 4


def test_a_tree_with_details_says_what_nodes_do_and_what_undoes_them() -> None:
    drawn = tree(ORDER, details=True)
    assert "   │     Reserves the stock, where there is enough of it\n" in drawn
    assert "undone by db: POSTGRES_URL: update inventory set reserved = reserved - ca…" in drawn
    assert "⟳ for each item of xs" in tree(HOSTILE)
    assert "for 90m" in tree(HOSTILE, details=True)


def test_a_tree_of_a_long_chain_does_not_walk_off_to_the_right() -> None:
    lines = tree(chain(2000)).splitlines()
    assert len(lines) == 2001
    assert max(map(len, lines)) < 40


def test_no_drawing_holds_control_or_direction_characters() -> None:
    for drawn in (mermaid(HOSTILE, details=True), tree(HOSTILE, details=True), boxes(HOSTILE, details=True)):
        assert "\u202e" not in drawn


def test_a_graph_too_large_for_a_drawing_is_refused_with_another_way() -> None:
    large = chain(MAX_BOXES + 1)
    assert mermaid(large).count("-->") == MAX_BOXES
    with pytest.raises(InputError, match=f"at most {MAX_BOXES}.*tree"):
        boxes(large)
