"""`definitions` of a graph: put where they are named, told where they are wrong, and gone when the graph is loaded."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from anabranch.errors import GraphError, Problem
from anabranch.graph.checks.schemas import graph_json_schema
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.load import canonical, load_text
from anabranch.testkit.assume import example_of

GRAPH = """
name: invoices
definitions:
  schemas:
    line: {type: object, required: [sku], properties: {sku: {type: string}, note: {$ref: "#/definitions/note"}}}
    note: {type: object, properties: {text: {type: string}, answer: {$ref: "#/definitions/schemas/note"}}}
  retries:
    gently: {max_attempts: 8, initial_interval: 5s}
  bases:
    billing: {url: "https://billing.example/v1/", headers: {Authorization: "env:HTTP_SECRET_B", X-A: a}, query: {t: 1}}
    store: {url: "https://store.example", auth: {bearer: "env:HTTP_SECRET_S"}}
inputs: {line: line, lines: {type: array, items: {$ref: "#/definitions/schemas/line"}}}
context: {schema: {properties: {note: {$ref: "#/definitions/note/properties/answer"}}}}
defaults: {retry: gently}
nodes:
  create:
    type: http
    base: billing
    method: POST
    url: "/invoices/{{ line.sku }}"
    retry: gently
    headers: {x-a: b}
    query: {page: 2}
    compensate: {type: http, base: billing, method: DELETE, url: invoices, retry: gently}
  look: {type: http, base: store, url: /a}
  own: {type: http, base: store, url: /b, auth: {bearer: "env:HTTP_SECRET_O"}}
  check: {type: approval, schema: note}
  again:
    type: while
    until: turn == 2
    body: {nodes: {ask: {type: ai, model: "openai:gpt-4", prompt: p, output_schema: note, retry: gently}}}
  block: {type: block, nodes: {ask: {type: approval, schema: note}}}
finally: {nodes: {tell: {type: approval, schema: note}}}
"""
NOTE = '{type: object, properties: {text: {type: string}, answer: {$ref: "#/$defs/note"}}}'
WITH_NOTE = f"{NOTE[:-1]}, $defs: {{note: {NOTE}}}}}"
LINE = '{type: object, required: [sku], properties: {sku: {type: string}, note: {$ref: "#/$defs/note"}}'
RETRY = "{max_attempts: 8, initial_interval: 5s}"
SECRET = 'Authorization: "env:HTTP_SECRET_B"'
WRITTEN_OUT = f"""
name: invoices
inputs:
  line: {LINE}, $defs: {{note: {NOTE}}}}}
  lines: {{type: array, items: {{$ref: "#/$defs/line"}}, $defs: {{line: {LINE}}}, note: {NOTE}}}}}
context: {{schema: {{properties: {{note: {{$ref: "#/$defs/note/properties/answer"}}}}, $defs: {{note: {NOTE}}}}}}}
defaults: {{retry: {RETRY}}}
nodes:
  create:
    type: http
    method: POST
    url: "https://billing.example/v1/invoices/{{{{ line.sku }}}}"
    retry: {RETRY}
    headers: {{{SECRET}, x-a: b}}
    query: {{t: 1, page: 2}}
    compensate:
      type: http
      method: DELETE
      url: "https://billing.example/v1/invoices"
      retry: {RETRY}
      headers: {{{SECRET}, X-A: a}}
      query: {{t: 1}}
  look: {{type: http, url: "https://store.example/a", auth: {{bearer: "env:HTTP_SECRET_S"}}}}
  own: {{type: http, url: "https://store.example/b", auth: {{bearer: "env:HTTP_SECRET_O"}}}}
  check: {{type: approval, schema: {WITH_NOTE}}}
  again:
    type: while
    until: turn == 2
    body: {{nodes: {{ask: {{type: ai, model: "openai:gpt-4", prompt: p, output_schema: {WITH_NOTE}, retry: {RETRY}}}}}}}
  block: {{type: block, nodes: {{ask: {{type: approval, schema: {WITH_NOTE}}}}}}}
finally: {{nodes: {{tell: {{type: approval, schema: {WITH_NOTE}}}}}}}
"""


def found(text: str) -> list[Problem]:
    try:
        return list(load_text(text, "g").warnings)
    except GraphError as error:
        return list(error.problems)


def test_a_graph_with_definitions_is_the_graph_that_is_written_out() -> None:
    loaded = load_text(GRAPH, "g")
    assert [each.code for each in loaded.warnings] == [each.code for each in load_text(WRITTEN_OUT, "g").warnings]
    assert loaded.graph == load_text(WRITTEN_OUT, "g").graph
    assert canonical(loaded.graph) == canonical(load_text(WRITTEN_OUT, "g").graph)
    assert loaded.graph.definitions is None
    assert list(graph_inputs(loaded.graph)) == ["line", "lines"]


NODE = "nodes: {n: {type: rule, rules: [{then: {a: 1}}]}}"


HTTP = "nodes: {n: {type: http, url: 'https://x.example', retry: §%s}}"
BASED = "nodes: {n: {type: http, base: b, url: %s}}"
NEAR, NONE = "did you mean `gently`?", "define it there"


@pytest.mark.parametrize(
    ("text", "code", "suggestion"),
    [
        ("definitions: {retries: {gently: {}}}\n" + HTTP % "gentle", "DEFINITION_UNKNOWN", NEAR),
        ("definitions: {retries: {gently: {}}}\n" + HTTP % "often", "DEFINITION_UNKNOWN", "there are gently"),
        ("nodes: {n: {type: approval, schema: §line}}", "DEFINITION_UNKNOWN", NONE),
        ("nodes: {n: {type: approval, schema: §boolean}}", "DEFINITION_UNKNOWN", "write {type: boolean}"),
        ("nodes: {n: {type: http, base: §b, url: /x}}", "DEFINITION_UNKNOWN", NONE),
        ("inputs: {a: §line}\n" + NODE, "DEFINITION_UNKNOWN", NONE),
        ("inputs: {a: {$ref: §'#/definitions/schemas/line'}}\n" + NODE, "DEFINITION_UNKNOWN", NONE),
        ("inputs: {a: {$ref: §'#/definitions/line'}}\n" + NODE, "SCHEMA_REFERENCE", "define it under $defs"),
        ("definitions: {schemas: {§line: {}}}\n" + NODE, "DEFINITION_UNUSED", "remove it"),
        ("definitions: {schemas: {l: {type: §things}}}\n" + NODE, "SCHEMA_INVALID", None),
        ("definitions: {schemas: {l: {type: §things}}}\ninputs: {a: l, b: l}\n" + NODE, "SCHEMA_INVALID", None),
        ("definitions: {retries: {r: {}}}\nnodes: {n: {type: wait, for: 1s, retry: §r}}", "FIELD_HAS_NO_EFFECT", None),
        ("definitions: {retries: {r: {max_attempts: §-1}}}\ndefaults: {retry: r}\n" + NODE, "VALUE_INVALID", None),
        ("definitions: {§schemata: {}}\n" + NODE, "FIELD_UNKNOWN", "did you mean `schemas`?"),
        ("definitions: {bases: {b: {url: 'https://x'}}}\n" + BASED % "§'https://y/z'", "HTTP_BASE", None),
        ("definitions: {bases: {b: {url: x}}}\n" + BASED % "§/z", "HTTP_URL", None),
    ],
)
def test_what_is_wrong_is_told_once_at_its_place(text: str, code: str, suggestion: str | None) -> None:
    before = text[: text.index("§")]
    place = f"{before.count(chr(10)) + 2}:{len(before) - before.rfind(chr(10))}"
    problems = found(f"name: g\n{text.replace('§', '')}")
    meant = [each for each in problems if each.code == code]
    assert [str(each.place) for each in meant] == [f"g:{place}"]
    assert suggestion is None or meant[0].suggestion == suggestion


def test_what_a_definition_brings_is_counted_each_time() -> None:
    large = ", ".join(f"k{index}: {{type: string}}" for index in range(2_000))
    nodes = ", ".join(f"n{index}: {{type: approval, schema: large}}" for index in range(40))
    (problem,) = found(f"name: g\ndefinitions: {{schemas: {{large: {{properties: {{{large}}}}}}}}}\nnodes: {{{nodes}}}")
    assert problem.code == "GRAPH_TOO_LARGE"


def test_names_that_a_schema_has_itself_are_left_alone() -> None:
    text = """
name: g
definitions: {schemas: {x: {type: string}}}
inputs:
  a: {$defs: {x: {type: number}}, properties: {mine: {$ref: "#/$defs/x"}, default: {$ref: "#/definitions/x"}}}
  b:
    definitions: {x: {type: number}}
    properties: {mine: {$ref: "#/definitions/x"}}
    default: {$ref: "#/definitions/x"}
nodes: {n: {type: rule, rules: [{then: {k: 1}}]}}
"""
    inputs: Any = load_text(text, "g").graph.inputs
    assert inputs["a"]["$defs"] == {"x": {"type": "number"}, "x_": {"type": "string"}}
    assert inputs["a"]["properties"] == {"mine": {"$ref": "#/$defs/x"}, "default": {"$ref": "#/$defs/x_"}}
    assert inputs["b"]["properties"] == {"mine": {"$ref": "#/definitions/x"}}
    assert inputs["b"]["default"] == {"$ref": "#/definitions/x"}


def test_editors_know_definitions_and_names() -> None:
    schema = graph_json_schema()
    validator = Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(yaml.safe_load(GRAPH))] == []
    assert list(validator.iter_errors({**yaml.safe_load(GRAPH), "definitions": {"retries": {"r": 5}}}))


def test_example_values_follow_references() -> None:
    inputs = load_text(GRAPH, "g").graph.inputs or {}
    example: Any = example_of(inputs["line"])
    assert example["sku"] == "example"
    assert example["note"]["text"] == "example"
