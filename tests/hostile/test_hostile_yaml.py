"""YAML made to hurt: everything is refused by a typed error, within a second, or read as what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anabranch.errors import GraphError
from anabranch.graph.load import load_text
from anabranch.graph.model import ApprovalNode, DbNode, ForeachNode, RuleNode
from anabranch.graph.parts import Edge
from tests.examples import examples

ORDER = Path("examples/distributed_context_graph.yaml").read_text(encoding="utf-8")
DIALECT = (Path(__file__).parent.parent / "fixtures" / "graphs" / "rust_dialect.yaml").read_text(encoding="utf-8")
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + level)}: &{chr(98 + level)} [{','.join([f'*{chr(97 + level)}'] * 9)}]\n" for level in range(9)
)

REFUSED = {
    "alias bomb": BOMB,
    "merge bomb": "a: &a {x: 1}\nb: &b {<<: *a, <<: *a}\n",
    "40,000 brackets": "[" * 40_000,
    "40,000 braces": "{" * 40_000,
    "40,000 keys in keys": "{a: " * 40_000,
    "40,000 dashes": "- " * 40_000,
    "40,000 question marks": "? " * 40_000,
    "40,000 tags": "!a " * 40_000,
    "40,000 anchors": "&a " * 40_000,
    "120,000 equal keys": "{" + "a," * 120_000,
    "a python object": "nodes: !!python/object/apply:os.system ['echo x']",
    "a python name": "nodes: !!python/name:os.system",
    "a billion spaces, nearly": "a:" + " " * 250_000 + "[",
    "250,000 quotes": "'" * 250_001,
    "a megabyte": "a" * 1_000_000,
    "a number of 200,000 digits": "a: " + "9" * 200_000,
    "a number with a huge exponent": "a: 1e999999999",
    "an escaped surrogate": 'a: "\\udc80"',
    "a raw surrogate": "a: \ud800",
    "a null byte": "a: \x00",
    "an escape sequence": "a: \x1b[2J",
    "a directive for another tag": "%TAG ! tag:x,2000:\n---\n!foo a: b",
    "two documents": "a: 1\n---\na: 2",
    "a tab as indentation": "a:\n\tb: 1",
    "an unknown directive": "%YAML 9.9\n---\na: 1",
    "a list where a graph belongs": "- 1",
    "an endless comment": "#" * 262_000,
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_hostile_yaml_is_refused(text: str) -> None:
    with pytest.raises(GraphError) as caught:
        load_text(text, "hostile.yaml")
    assert all(problem.place is not None for problem in caught.value.problems)
    assert len(str(caught.value)) < 10_000


NODE = "name: x\nnodes:\n  a: {{{}}}\n"
HOSTILE_NODES = {
    "a deep expression": "type: wait, until: " + "(" * 4000 + "1" + ")" * 4000,
    "a long expression": "type: wait, until: 'a" + " + a" * 30_000 + "'",
    "a deep negation": "type: wait, until: " + "'" + "!" * 8000 + "a'",
    "many holes": "type: http, url: 'https://x/" + "{{ a }}" * 20_000 + "'",
    "an open hole": "type: http, url: 'https://x/" + "{{" * 20_000 + "'",
    "a catastrophic condition": "type: wait, until: '" + '"' * 8001 + "'",
    "a schema that nests": "type: approval, schema: " + "{not: " * 25 + "{type: 1}" + "}" * 25,
    "many binds": "type: db, connection: X, query: 'select " + ", ".join(f":b{index}" for index in range(10_000)) + "'",
    "a hundred thousand colons": "type: db, connection: X, query: '" + ":a:" * 60_000 + "'",
    "dollar quotes": "type: DBNode, connection: X, query: '" + "$a$" * 40_001 + ":b'",
    "many dollar tags": "type: DBNode, connection: X, query: '"
    + "".join(f"$t{index}$" for index in range(20_000))
    + ":b'",
    "open comments": "type: DBNode, connection: X, query: '" + "/*" * 80_000 + ":b'",
    "a duration of digits": "type: wait, for: '" + "9" * 100_000 + "s'",
    "a node of nodes": "type: " + "a" * 200_000,
}


@pytest.mark.parametrize("fields", HOSTILE_NODES.values(), ids=HOSTILE_NODES.keys())
def test_hostile_fields_are_read_or_refused(fields: str) -> None:
    assert outcome(NODE.format(fields)) in ("read", "refused")


def test_aliases_are_refused_without_being_expanded() -> None:
    with pytest.raises(GraphError) as caught:
        load_text(BOMB)
    assert {problem.code for problem in caught.value.problems} == {"YAML_ALIAS"}


def outcome(text: str) -> str:
    """`read` or `refused`; anything else is raised."""
    try:
        load_text(text, "fuzz.yaml")
    except GraphError as error:
        return "refused" if 0 < len(str(error)) < 100_000 else "refused at length"
    return "read"


@given(st.text(max_size=300))
def test_no_text_at_all_does_more_than_be_refused(text: str) -> None:
    assert outcome(text) == "refused"


@given(st.lists(st.sampled_from("abn:-[]{},\"'|>&*!%#?@` \n\t0\\$=~"), max_size=60).map("".join))
def test_no_heap_of_yaml_signs_does_more_than_be_refused(text: str) -> None:
    assert outcome(text) == "refused"


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    source=st.sampled_from([ORDER, DIALECT]),
    at=st.floats(0, 1),
    length=st.integers(0, 40),
    instead=st.sampled_from(["", "x", "[", "}", ": ", "- ", "'", '"', "{{", "5", "null", "\n", "  ", "!", "&a ", "🦀"]),
)
def test_a_damaged_graph_is_read_or_refused(source: str, at: float, length: int, instead: str) -> None:
    start = int(at * len(source))
    assert outcome(source[:start] + instead + source[start + length :]) in ("read", "refused")


_MODELS = (RuleNode, DbNode, ForeachNode, ApprovalNode, Edge)
OURS = sorted({info.alias or name for model in _MODELS for name, info in model.model_fields.items()})
FIELDS = [*OURS, "id", "node_type", "config", "condition", "dependencies", "input_mapping", "then", "merge", ""]
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["", "a", "b", "rule", "db", "{{ a }}", "a >", "1s", "RuleNode"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@settings(max_examples=examples(200))
@given(nodes=JUNK, edges=JUNK, context=JUNK)
def test_a_graph_of_junk_is_read_or_refused(nodes: object, edges: object, context: object) -> None:
    text = json.dumps({"name": "x", "nodes": nodes, "edges": edges, "context": context})
    assert outcome(text) in ("read", "refused")
