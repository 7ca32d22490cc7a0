"""What is proposed, and what is said, at places of graphs that are whole, unfinished, or broken elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from anabranch.editor.completion import MOST, proposals
from anabranch.editor.document import Document
from anabranch.editor.hover import meaning
from anabranch.editor.project import Project

GRAPH = """\
name: order
inputs:
  quantity: {type: integer}
definitions:
  retries: {patient: {max_attempts: 9}}
nodes:
  check:
    type: rule
    description: Whether it can be sold
    rules:
      - when: quantity > 0
        then: {accepted: true, order.total: "{{ quantity * 2 }}"}
  pay:
    type: http
    url: "https://shop/{{ order.total }}"
    method: POST
  each:
    type: foreach
    items: lines
    as: line
    body:
      nodes:
        one:
          type: python
          handler: weigh
          args: {sku: "{{ line.sku }}"}
edges:
  - {from: check, to: pay, when: accepted}
  - from: pay
    to: each
    outcome: failure
"""


@pytest.fixture(scope="module")
def project() -> Project:
    return Project()


def marked(text: str) -> tuple[str, int, int]:
    """A text without its mark, `‸`, and the line and column of that."""
    before, _, after = text.partition("‸")
    return before + after, before.count("\n"), len(before) - before.rfind("\n") - 1


def labels(project: Project, text: str, path: Path | None = None) -> list[str]:
    whole, line, column = marked(text)
    return [each.label for each in proposals(Document(whole, path), project, line, column)]


PLACES = {
    "the first field of a file": ("‸", "name", "rules"),
    "a field of the graph, in a file that ends there": (f"{GRAPH}res‸", "result", "nodes"),
    "a field of a node": (GRAPH.replace("    method: POST", "    he‸"), "headers", "rules"),
    "a field that every node has": (GRAPH.replace("    method: POST", "    ‸"), "on_failure", "url"),
    "the first field of a node without a type": ("nodes:\n  a:\n    ‸", "type", "url"),
    "a field of a part of a node": (GRAPH.replace("POST", "POST\n    retry:\n      ‸"), "backoff", "url"),
    "a field in brackets": (GRAPH.replace("POST", "POST\n    cache: {ttl: 1h, ‸"), "key", "ttl"),
    "a field of a node in a body": (GRAPH.replace("          handler: weigh", "          ‸"), "handler", "items"),
    "a field of an edge that has begun": (GRAPH.replace("    to: each", "    ‸"), "otherwise", "from"),
    "a node type": (GRAPH.replace("type: http", "type: ‸"), "foreach", "check"),
    "a node type in brackets": ("nodes: {a: {type: ‸", "foreach", "name"),
    "a value of a field": (GRAPH.replace("method: POST", "method: ‸"), "PATCH", "http"),
    "true or false": (GRAPH.replace("method: POST", "pivot: ‸"), "true", "POST"),
    "an outcome": (GRAPH.replace("outcome: failure", "outcome: ‸"), "always", "pay"),
    "a node at the end of an edge": (GRAPH.replace("to: pay, when: accepted}", "to: ‸"), "each", "accepted"),
    "a name of a definition": (GRAPH.replace("method: POST", "retry: ‸"), "patient", "order"),
    "a key of a policy": (f"{GRAPH}context:\n  merge: {{‸", "order.total", "check"),
    "a policy": (f"{GRAPH}context:\n  merge: {{accepted: ‸", "fail_on_conflict", "order"),
    "a key that a node reads": (GRAPH.replace("method: POST", "reads: [‸"), "quantity", "order.total"),
    "a key in a condition": (GRAPH.replace("when: accepted", "when: ac‸"), "accepted", "check"),
    "a function in a condition": (GRAPH.replace("when: accepted", "when: ‸"), "math.round", "trim"),
    "a function of a value": (GRAPH.replace("when: accepted", "when: order.total.‸"), "trim", "math.round"),
    "a function of a group": (GRAPH.replace("when: accepted", "when: math.‸"), "round", "trim"),
    "a part of a key": (GRAPH.replace("when: accepted", "when: order.‸"), "total", "accepted"),
    "a field of the run": (GRAPH.replace("when: accepted", "when: run.‸"), "attempt", "accepted"),
    "a key in a template": (GRAPH.replace("{{ order.total }}", "{{ qu‸"), "quantity", "check"),
    "an item of a loop": (GRAPH.replace("{{ line.sku }}", "{{ ‸"), "line", "result"),
    "the error behind a failure edge": (
        GRAPH.replace("outcome: failure", "outcome: failure\n    when: ‸"),
        "error",
        "line",
    ),
    "a key in a rule's changes": (GRAPH.replace("then: {accepted: true", "then: {‸"), "order.total", "check"),
    "an expression below its field": (f"{GRAPH}result:\n  all:\n    ‸", "accepted", "check"),
    "the result of a node": (GRAPH.replace("method: POST", "output: {paid: ‸"), "result", "line"),
    "a field behind a broken line": (GRAPH.replace("    method: POST", "    url: }{\n    ‸"), "headers", "rules"),
    "a node where an edge before is broken": (
        GRAPH.replace("{from: check,", "{from: ]").replace("to: each", "to: ‸"),
        "pay",
        "x",
    ),
}


@pytest.mark.parametrize(("text", "proposed", "not_proposed"), PLACES.values(), ids=PLACES)
def test_what_may_be_written_is_proposed(project: Project, text: str, proposed: str, not_proposed: str) -> None:
    found = labels(project, text)
    assert proposed in found
    assert not_proposed not in found


NOWHERE = {
    "a text": GRAPH.replace("https://shop/", "htt‸"),
    "a comment": GRAPH.replace("method: POST", "method: POST  # ‸"),
    "a text of an expression": GRAPH.replace("when: accepted", "when: accepted == 'a‸"),
    "behind a hole": GRAPH.replace("{{ order.total }}", "{{ order.total }} ‸"),
    "a new id": GRAPH.replace("  pay:\n", "  ‸:\n"),
}


@pytest.mark.parametrize("text", NOWHERE.values(), ids=NOWHERE)
def test_nothing_is_proposed_where_anything_may_stand(project: Project, text: str) -> None:
    assert labels(project, text) == []


def test_graphs_of_the_folder_are_proposed(project: Project, tmp_path: Path) -> None:
    (tmp_path / "parcel.yaml").write_text("name: parcel\nnodes: {a: {type: stop}}\n")
    assert labels(project, "nodes:\n  a: {type: graph, graph: ‸", tmp_path / "order.yaml") == ["parcel"]


def test_a_proposal_takes_the_place_of_what_is_written_of_it(project: Project) -> None:
    whole, line, column = marked(GRAPH.replace("to: pay, when: accepted}", "to: pa‸"))
    found = {each.label: (each.replaced, each.insert) for each in proposals(Document(whole), project, line, column)}
    assert found["pay"] == (2, "pay")
    whole, line, column = marked("nodes:\n  a:\n    ty‸")
    found = {each.label: (each.replaced, each.insert) for each in proposals(Document(whole), project, line, column)}
    assert found["type"] == (2, "type: ")


def test_of_very_many_keys_those_are_proposed_that_begin_with_what_is_typed(project: Project) -> None:
    keys = ", ".join(f"k{number}: 1" for number in range(400))
    graph = f"nodes:\n  a: {{type: rule, rules: [{{then: {{{keys}}}}}]}}\nresult:\n  x: ‸\n"
    assert len(labels(project, graph)) == MOST + 1  # the server says that there are more
    assert labels(project, graph.replace("‸", "k39‸")) == ["k39", *(f"k39{number}" for number in range(10))]
    assert "size" in labels(project, graph.replace("‸", "si‸"))


MEANINGS = {
    "a field": (GRAPH.replace("url:", "ur‸l:"), "The address, in full."),
    "a field of the graph": (GRAPH.replace("edges:", "ed‸ges:"), "Its edges."),
    "a field with choices": (GRAPH.replace("outcome:", "outc‸ome:"), "One of `success`, `failure`"),
    "a node type": (GRAPH.replace("type: rule", "type: ru‸le"), "Business rules over the context"),
    "a node": (GRAPH.replace("  check:", "  ch‸eck:"), "Writes `accepted`, `order.total`.\n\nNeeds `quantity`."),
    "the description of a node": (GRAPH.replace("  check:", "  check‸:"), "Whether it can be sold"),
    "the end of an edge": (GRAPH.replace("to: pay", "to: p‸ay"), "**pay** (http)"),
    "a key": (GRAPH.replace("when: accepted", "when: acc‸epted"), "Written by node 'check' (line 7)."),
    "a part of a key": (GRAPH.replace("order.total }}", "order.to‸tal }}"), "Written by node 'check' (line 7)."),
    "a key that is written": (GRAPH.replace("{accepted:", "{acc‸epted:"), "Written by node 'check'"),
    "an input": (GRAPH.replace("when: quantity", "when: quan‸tity"), "An input of the graph"),
    "a key of nobody": (
        GRAPH.replace("items: lines", "items: li‸nes").replace("weigh", "weigh\n          output: {w: result}"),
        "No node writes it",
    ),
    "a key that code may write": (
        GRAPH.replace("items: lines", "items: li‸nes"),
        "says what they write: node 'each/one'",
    ),
    "the item of a loop": (GRAPH.replace("line.sku }}", "li‸ne.sku }}"), "A name that the loop"),
    "a function": (GRAPH.replace("when: accepted", "when: si‸ze(order) > 1"), "`size("),
    "a function of a value": (GRAPH.replace("when: accepted", "when: order.tr‸im() == 'a'"), "trim()"),
    "a function of a group": (GRAPH.replace("when: accepted", "when: math.ro‸und(quantity) > 1"), "math.round(weight)"),
    "the run": (GRAPH.replace("when: accepted", "when: ru‸n.attempt > 1"), "`run.attempt`"),
    "a value": (GRAPH.replace("method: POST", "method: PO‸ST"), "The HTTP method."),
    "a field in a body": (GRAPH.replace("handler: weigh", "hand‸ler: weigh"), "The handler's name"),
    "a field of a broken node": (GRAPH.replace("    url:", "    url: }{\n    ur‸l:"), "The address, in full."),
    "a field of a definition": (GRAPH.replace("max_attempts", "max_att‸empts"), "How often at most"),
}


@pytest.mark.parametrize(("text", "said"), MEANINGS.values(), ids=MEANINGS)
def test_what_stands_there_is_explained(project: Project, text: str, said: str) -> None:
    whole, line, column = marked(text)
    found = meaning(Document(whole), project, line, column)
    assert found is not None
    assert said in found[0]
