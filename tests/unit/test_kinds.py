"""What is known of each node type, and what of it a run is held to."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from anabranch.graph.kinds.kind import Runs
from anabranch.graph.kinds.kinds import kind_named, kind_of
from anabranch.graph.kinds.pin import pinned
from anabranch.graph.load import load_text, written_out
from anabranch.graph.model import NODE_TYPES, Graph

SELECT = {"type": "db", "connection": "DB", "query": "select 1 as one"}
UPDATE = {**SELECT, "query": "update t set a = 1"}


@pytest.mark.parametrize("name", NODE_TYPES)
def test_each_node_type_has_a_record_of_its_own_model(name: str) -> None:
    kind = kind_named(name)
    assert kind.name == name
    assert (kind.handler is not None) == (kind.runs is Runs.HANDLER)


@pytest.mark.parametrize("name", NODE_TYPES)
def test_a_record_names_fields_that_its_model_has(name: str) -> None:
    kind = kind_named(name)
    aliases = {info.alias or attribute for attribute, info in kind.model.model_fields.items()}
    named = {spec.steps[0] for spec in kind.fields} | ({kind.answer_schema} if kind.answer_schema else set())
    assert named <= aliases


def test_a_pinned_graph_says_of_each_node_whether_it_has_an_effect() -> None:
    body = {"nodes": {"inner": {**UPDATE, "compensate": SELECT}}}
    nodes = {
        "look": SELECT,
        "write": {**UPDATE, "compensate": {"type": "http", "url": "https://shop.example", "method": "DELETE"}},
        "said": {**SELECT, "effect": True},
        "unsaid": {**UPDATE, "effect": False, "idempotent": False},
        "each": {"type": "foreach", "items": "xs", "body": body, "effect": False},
        "child": {"type": "graph", "graph": "other", "mode": "child_workflow"},
    }
    told = json.loads(written_out(Graph.model_validate({"name": "g", "nodes": nodes})))["nodes"]
    assert {key: node["effect"] for key, node in told.items()} == {
        "look": False,
        "write": True,
        "said": True,
        "unsaid": False,
        "each": False,
        "child": True,
    }
    assert told["write"]["compensate"]["effect"] is True
    assert (told["each"]["body"]["nodes"]["inner"]["effect"], told["each"]["body"]["nodes"]["inner"]["idempotent"]) == (
        True,
        True,
    )
    assert told["each"]["body"]["nodes"]["inner"]["compensate"]["idempotent"] is False
    assert {key: told[key]["idempotent"] for key in ("look", "write", "said", "unsaid")} == {
        "look": False,
        "write": True,
        "said": True,
        "unsaid": False,
    }


def test_a_node_with_a_body_keeps_what_its_author_said_of_effects() -> None:
    loop = {"type": "while", "while": "x", "body": {"nodes": {"a": SELECT}}}
    graph = pinned(Graph.model_validate({"name": "g", "nodes": {"loop": loop}}))
    assert graph.nodes["loop"].effect is None


def test_pinning_twice_changes_nothing() -> None:
    once = pinned(load_text(f"name: g\nnodes: {json.dumps({'a': SELECT, 'b': UPDATE})}").graph)
    assert pinned(once) == once


def in_a_process_of_its_own(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_sql_parser_is_not_imported_for_the_help_nor_for_a_graph_without_sql() -> None:
    code = """
import sys
from anabranch.cli.main import app
from anabranch.graph.load import load_text, written_out
written_out(load_text("name: g\\nnodes: {a: {type: python, handler: h, compensate: {type: http, url: 'https://x'}}}").graph)
print("sqlglot" in sys.modules)
"""
    assert in_a_process_of_its_own(code) == "False\n"


def test_a_pinned_graph_is_run_without_judging_its_sql_anew() -> None:
    nodes = {"a": {**UPDATE, "compensate": UPDATE}, "b": {**SELECT, "query": "select x, y from t"}}
    edges = [{"from": "a", "to": "b", "when": "has(context.z)"}]
    text = written_out(Graph.model_validate({"name": "g", "nodes": nodes, "edges": edges}))
    code = f"""
import sys
from anabranch.graph.pinned import plan_of
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState
plan = plan_of({text!r}, {{}}, revision=1, inputs=[])
machine = Machine(RunState(plan, {{}}, run={{"id": "r"}}))
(first,) = machine.start(0)
(undo,) = machine.failed("a", Failure("timeout", "TIMEOUT", "", "a"), 1)
print(undo.address, undo.roots["forward_key"], first.planned.wire["idempotent"], "sqlglot" in sys.modules)
"""
    assert in_a_process_of_its_own(code) == "undo a r/a True False\n"


def test_a_record_is_found_by_a_node_of_its_type() -> None:
    graph = load_text("name: g\nnodes: {a: {type: wait, for: 1s}}").graph
    assert kind_of(graph.nodes["a"]).name == "wait"
