"""Node types that other distributions bring: read, checked, drawn, and refused by name where they cannot be used."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from anabranch.activities.registry import parse_node
from anabranch.activities.standard import node_activities
from anabranch.cli.main import app
from anabranch.errors import ConfigurationError, GraphError, WorkerOutdated
from anabranch.graph import node_types
from anabranch.graph.checks.schemas import graph_json_schema
from anabranch.graph.dataflow.reads import node_reads, node_writes
from anabranch.graph.drawing.mermaid import mermaid
from anabranch.graph.drawing.tree import tree
from anabranch.graph.kinds.kinds import has_body, has_effect
from anabranch.graph.load import load_graph, load_text, written_out
from anabranch.graph.pinned import UnreadableGraph, plan_of
from anabranch.settings import Settings
from tests.node_type_kit import PROJECT, distribution, installed

SMS = "{type: sms, to: '{{ phone }}', text: 'Hello {{ name }}'}"
plan_of_text = partial(plan_of, library={}, revision=1, inputs=())


@pytest.fixture
def sms() -> Generator[None]:
    with installed(PROJECT):
        yield


def problems(nodes: str) -> list[str]:
    with pytest.raises(GraphError) as caught:
        load_text(f"name: g\nnodes:\n  a: {nodes}\n", "g.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.usefixtures("sms")
def test_a_node_of_another_distribution_is_of_its_own_model() -> None:
    node = load_text(f"name: g\nnodes: {{a: {SMS}}}").graph.nodes["a"]
    assert (type(node).__module__, type(node).__name__) == ("anabranch_sms.kind", "SmsNode")
    assert node.model_dump(include={"to", "preview"}) == {"to": "{{ phone }}", "preview": False}


@pytest.mark.usefixtures("sms")
def test_the_module_of_a_type_is_imported_when_a_graph_names_it() -> None:
    load_text("name: g\nnodes: {a: {type: wait, for: 1s}}")
    assert node_types.names()[-1] == "sms"
    assert "anabranch_sms.kind" not in sys.modules
    load_text(f"name: g\nnodes: {{a: {SMS}}}")
    assert "anabranch_sms.kind" in sys.modules
    assert "anabranch_sms.activity" not in sys.modules


@pytest.mark.usefixtures("sms")
@pytest.mark.parametrize(
    ("node", "problem"),
    [
        ("{type: sms, to: x}", "g.yaml:3:3: error[FIELD_MISSING]: node 'a' needs the field `text`"),
        ("{type: sms, to: x, text: y, tex: z}", "g.yaml:3:34: error[FIELD_UNKNOWN]: node 'a' has no field `tex`"),
        ("{type: sms, to: x, text: 5}", "g.yaml:3:31: error[VALUE_INVALID]: `text` of node 'a' must be a string"),
        ("{type: sms, to: x, text: ' '}", "g.yaml:3:31: error[SMS_TEXT]: node 'a' has an empty text"),
        ("{type: sms, to: '{{ 1 + }}', text: y}", "g.yaml:3:29: error[EXPRESSION_INVALID]"),
        ("{type: smss, to: x, text: y}", "g.yaml:3:13: error[NODE_TYPE_UNKNOWN]: node 'a' has the unknown type 'smss'"),
        (
            "{type: foreach, items: x, body: {nodes: {b: {type: sms, to: x, retry: {max_attempts: no}}}}}",
            "g.yaml:3:47: error[FIELD_MISSING]: node 'a/b' needs the field `text`",
        ),
    ],
)
def test_what_is_wrong_with_such_a_node_is_said_as_of_any_other(node: str, problem: str) -> None:
    assert problems(node)[0].startswith(problem)


@pytest.mark.usefixtures("sms")
def test_a_near_type_of_another_distribution_is_suggested() -> None:
    assert problems("{type: smss}")[0].endswith("help: did you mean `sms`?")
    assert problems("{to: x}")[0].endswith("approval, receive, emit, fail, stop, sms")


@pytest.mark.usefixtures("sms")
def test_what_such_a_node_reads_and_writes_follows_from_its_record() -> None:
    node = load_text(f"name: g\nnodes: {{a: {SMS}}}").graph.nodes["a"]
    assert node_reads(node) == frozenset({"phone", "name"})
    assert node_writes("a", node) == frozenset({"a"})
    assert not has_body(node)


@pytest.mark.usefixtures("sms")
def test_whether_such_a_node_has_an_effect_is_pinned_with_its_graph() -> None:
    text = "name: g\nnodes: {a: {type: sms, to: x, text: y}, b: {type: sms, to: x, text: y, preview: true}}"
    graph = load_text(text).graph
    assert [has_effect(node) for node in graph.nodes.values()] == [True, False]
    told = json.loads(written_out(graph))["nodes"]
    assert [node["effect"] for node in told.values()] == [True, False]


@pytest.mark.usefixtures("sms")
def test_such_a_node_may_be_cached_guarded_local_and_a_compensation() -> None:
    undone = f"{{type: sms, to: x, text: y, circuit_breaker: {{}}, compensate: {SMS}}}"
    local = "{type: sms, to: x, text: y, local: true}"
    cached = "{type: sms, to: x, text: y, effect: false, cache: {key: x}, retry: {max_attempts: 1}}"
    assert load_text(f"name: g\nnodes: {{a: {undone}, b: {cached}, c: {local}}}").warnings == ()
    told = problems("{type: wait, for: 1s, cache: {key: x}}")
    assert "only for rule, db, ai, http, grpc, python, emit, sms nodes" in told[0]


@pytest.mark.usefixtures("sms")
def test_such_a_node_is_drawn_as_its_record_says() -> None:
    graph = load_graph(PROJECT / "graphs" / "notify.yaml").graph
    assert "draft (sms)\n" in tree(graph)
    assert 'n0>"draft<br/>sms#58; to #123;#123; phone #125;#125;"]' in mermaid(graph, details=True).replace(
        "sms:", "sms#58;"
    )


@pytest.mark.usefixtures("sms")
def test_the_json_schema_knows_the_types_of_other_distributions() -> None:
    validator = Draft202012Validator(graph_json_schema())
    nodes: dict[str, Any] = {"a": {"type": "sms", "to": "x", "text": "y"}}
    assert validator.is_valid({"name": "g", "nodes": nodes})
    assert not validator.is_valid({"name": "g", "nodes": {"a": {"type": "sms", "to": 3, "text": "y"}}})
    assert not validator.is_valid({"name": "g", "nodes": {"a": {"type": "smss", "to": "x", "text": "y"}}})


@pytest.mark.usefixtures("sms")
@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("validate", "graphs/notify.yaml"), "notify"),
        (("visualize", "graphs/notify.yaml"), "tell (sms)"),
        (("dry-run", "graphs/notify.yaml", "--set", "phone=1", "--set", "name=Ann"), "tell"),
        (("test", "tests/notify.test.yaml"), "1 passed"),
        (("test", "tests/notify.test.yaml", "--fail-each-node"), "timeout  failed      tell"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_every_command_takes_such_a_graph(command: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    result = CliRunner().invoke(app, list(command))
    assert (result.exit_code, told in result.stdout) == (0, True), result.output


def test_a_broken_distribution_is_named_and_breaks_only_graphs_that_use_it(tmp_path: Path) -> None:
    broken = distribution(
        tmp_path, "broken-sms", {"sms": "broken_sms:SMS", "fax": "no_such_module:FAX"}, {"broken_sms": "import nowhere"}
    )
    with installed(broken):
        load_text("name: g\nnodes: {a: {type: wait, for: 1s}}")
        assert Draft202012Validator(graph_json_schema()).is_valid({"name": "g", "nodes": {"a": {"type": "wait"}}})
        node_activities(Settings())
        (told,) = problems("{type: sms, to: x}")
        assert told == (
            "g.yaml:3:13: error[NODE_TYPE_UNUSABLE]: node 'a' cannot be read: the node type 'sms' of the distribution "
            "broken-sms 1.0 cannot be imported: ModuleNotFoundError: No module named 'nowhere'"
            "\n  help: repair the distribution"
        )
        assert "No module named 'no_such_module'" in problems("{type: fax}")[0]


KIND = "from anabranch.graph.kinds.kind import *\nfrom anabranch.graph.model import *\n"
SMS_MODEL = KIND + 'class Sms(BaseNode):\n    type: Literal["sms"]\n'
WRONG = {
    "not a NodeKind": ("SMS = 3", "is a int, not a NodeKind"),
    "another name": (SMS_MODEL.replace('"sms"', '"mms"') + "SMS = NodeKind(Sms)", "leads to the NodeKind of 'mms'"),
    "no handler's work": (SMS_MODEL + "SMS = NodeKind(Sms, runs=Runs.RUN)", "is not run by a handler"),
    "a body": (SMS_MODEL + "SMS = NodeKind(Sms, has_body=lambda node: True)", "is not run by a handler"),
    "local by default": (SMS_MODEL + "SMS = NodeKind(Sms, local_by_default=True)", "is local by default"),
    "a field of every node": (
        SMS_MODEL + '    input: str = ""\nSMS = NodeKind(Sms)',
        "has a field `input` of its own",
    ),
    "no model of a node": (KIND + "SMS = NodeKind(dict)", "is a class derived from BaseNode, not <class 'dict'>"),
    "no type": (KIND + "class Sms(BaseNode): pass\nSMS = NodeKind(Sms)", "the model Sms does not say its type"),
}


@pytest.mark.parametrize(("module", "reason"), WRONG.values(), ids=WRONG.keys())
def test_a_record_that_cannot_be_used_is_refused_with_the_reason(tmp_path: Path, module: str, reason: str) -> None:
    with installed(distribution(tmp_path, "wrong-sms", {"sms": "wrong_sms:SMS"}, {"wrong_sms": module})):
        (told,) = problems("{type: sms}")
        assert told.startswith("g.yaml:3:13: error[NODE_TYPE_UNUSABLE]: node 'a' cannot be read: ")
        assert "the distribution wrong-sms 1.0" in told
        assert reason in told


def test_a_type_with_the_name_of_a_built_in_one_is_refused(tmp_path: Path) -> None:
    taken = "the node type 'db' of the distribution other-db 1.0 has the name of a built-in type"
    with installed(distribution(tmp_path, "other-db", {"db": "other_db:DB"})):
        assert "db" not in node_types.foreign_names()
        load_text("name: g\nnodes: {a: {type: wait, for: 1s}}")
        assert taken in problems("{type: db, connection: DB, query: select 1}")[0]
        with pytest.raises(ConfigurationError, match=taken):
            node_activities(Settings())


def test_a_type_that_two_distributions_bring_is_refused(tmp_path: Path) -> None:
    other = distribution(tmp_path, "other-sms", {"sms": "anabranch_sms.kind:SMS"})
    with installed(PROJECT, other):
        told = problems(SMS)[0]
        assert "the distribution anabranch-sms 1.2" in told
        assert "the distribution other-sms 1.0" in told
        assert "is brought twice" in told
        with pytest.raises(ConfigurationError, match="is brought twice"):
            node_activities(Settings())


@pytest.mark.parametrize("name", ["Sms", "sms node", "subprocess", "rule_node", "s" * 65])
def test_a_type_whose_name_is_not_one_or_reads_as_a_built_in_type_is_refused(tmp_path: Path, name: str) -> None:
    with installed(distribution(tmp_path, "odd", {name: "odd:KIND"})):
        assert name not in node_types.names()
        with pytest.raises(ConfigurationError, match=r"of the distribution odd 1\.0"):
            node_activities(Settings())


def test_a_worker_without_the_type_of_a_pinned_graph_refuses_the_task_and_not_the_run() -> None:
    with installed(PROJECT):
        graph = load_text(f"name: g\nnodes: {{a: {SMS}}}").graph
        text, body = written_out(graph), graph.nodes["a"].model_dump(mode="json")
        assert type(plan_of_text(text).nodes["a"].node) is type(parse_node(body)) is type(graph.nodes["a"])
    with pytest.raises(UnreadableGraph, match=r"nodes\.a: has the unknown type sms") as refused:
        plan_of_text(written_out(load_text("name: h\nnodes: {a: {type: wait, for: 1s}}").graph).replace("wait", "sms"))
    assert "phone" not in str(refused.value)
    with pytest.raises(WorkerOutdated, match="this worker has no such node type: has the unknown type sms"):
        parse_node({**body, "description": "not in the cache of nodes"})
