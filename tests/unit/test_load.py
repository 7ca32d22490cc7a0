"""From a file to a graph: every problem at its place, files and graphs that it names, one canonical form."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from anabranch.errors import GraphError, Problem, SourceLocation
from anabranch.graph.checks.schemas import graph_json_schema
from anabranch.graph.kinds.pin import pinned
from anabranch.graph.load import LoadedGraph, canonical, find_graph, load_graph, load_library, load_text, written_out
from anabranch.graph.model import Graph, RuleNode
from anabranch.graph.policies import Retry
from anabranch.graph.source.index import MAX_FOLDERS, FolderIndex
from anabranch.graph.source.yaml_source import read_yaml

MINIMAL = "name: {name}\nnodes:\n  a: {{type: rule, rules: [{{then: {{x: 1}}}}]}}\n"
NAMING = "name: {name}\nnodes:\n  a: {{type: graph, graph: {other}}}\n"


def refused(text: str, **options: Any) -> list[str]:
    with pytest.raises(GraphError) as caught:
        load_text(text, "g.yaml", **options)
    return [f"{p.place and str(p.place).removeprefix('g.yaml:')} {p.code}" for p in caught.value.problems]


def message(text: str) -> str:
    with pytest.raises(GraphError) as caught:
        load_text(text, "g.yaml")
    return str(caught.value)


BROKEN = """\
name: broken
versoin: 2
context: {merge: {a: summ}, conflict_resolution: lww}
nodes:
  a: {type: rulez}
  b: {typ: 1}
  c:
    type: db
    querry: select 1
    connection: X_URL
    result: fist
    params: {"": 1}
  bad id: {type: ai, model: 1, prompt: x, priority: 9}
  d:
    type: foreach
    items: x
    body:
      nodes:
        q: {type: wait, for: []}
      edges:
        - {to: q, frm: z}
  e: {type: graph, graph: x, mode: foo}
  f: zzz
  g: {type: activity, activity: x, args: 3, timeout: 5x, compensate: {type: db, qq: 1}}
  h: {type: rule, priority: {key: x}, retry: {max_attempts: -1, maxx: 2}, output: {x: 5}}
edges:
  - {from: a, to: b, outcome: sucess}
  - 3
"""


def test_every_problem_of_the_shape_is_reported_at_once_at_its_place() -> None:
    assert refused(BROKEN) == [
        "2:1 FIELD_UNKNOWN",
        "3:22 VALUE_INVALID",
        "3:50 VALUE_INVALID",
        "5:13 NODE_TYPE_UNKNOWN",
        "6:3 NODE_TYPE_MISSING",
        "9:5 FIELD_UNKNOWN",
        "11:13 VALUE_INVALID",
        "12:14 KEY_INVALID",
        "13:3 KEY_INVALID",
        "13:29 VALUE_INVALID",
        "13:53 VALUE_INVALID",
        "19:25 VALUE_INVALID",
        "21:11 FIELD_MISSING",
        "21:19 FIELD_UNKNOWN",
        "22:36 VALUE_INVALID",
        "23:6 NODE_TYPE_UNKNOWN",
        "24:42 VALUE_INVALID",
        "24:54 VALUE_INVALID",
        "24:58 FIELD_MISSING",
        "24:81 FIELD_UNKNOWN",
        "25:35 VALUE_INVALID",
        "25:61 VALUE_INVALID",
        "25:65 FIELD_UNKNOWN",
        "25:87 VALUE_INVALID",
        "27:31 VALUE_INVALID",
        "28:5 VALUE_INVALID",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "nodes: {c: {type: db, connection: X, querry: x}}",
            "node 'c' has no field `querry`\n  help: did you mean `query`?",
        ),
        ("nodes: {c: {type: dbb}}", "node 'c' has the unknown type 'dbb'\n  help: did you mean `db`?"),
        ("nodes: {c: {type: db}}", "node 'c' needs the field `connection`\n  help: add `connection:`"),
        ("nodes: {c: {type: http, url: x, method: GETT}}", "not 'GETT'\n  help: did you mean `GET`?"),
        (
            "nodes: {c: {type: while, while: x, body: {nodes: {i: {type: ai, model: 1, prompt: p}}}}}",
            "`model` of node 'c/i' must be a string",
        ),
        ("nodes: {c: {type: wait, for: 1s}}\nedges: [{from: c}]", "edge 1 needs the field `to`"),
        ("nodes: {c: {type: wait, for: 1s, retry: {max_atempts: 1}}}", "did you mean `max_attempts`?"),
        ("nodes: {c: {type: wait, for: 1s, timeout: soon}}", "'soon' is not a duration of at most ten years"),
    ],
)
def test_a_problem_says_what_is_wrong_and_what_was_meant(text: str, said: str) -> None:
    assert said in message(f"name: x\n{text}\n")


def test_a_graph_needs_a_name_and_nodes() -> None:
    assert refused("{}") == ["1:1 FIELD_MISSING", "1:1 FIELD_MISSING"]
    assert refused("name: x\nnodes: {}") == ["2:1 VALUE_INVALID"]
    assert refused("[1]") == ["1:1 VALUE_INVALID"]


def test_an_inline_graph_without_a_name_is_refused() -> None:
    with pytest.raises(GraphError, match="the graph needs the field `name`"):
        load_text("nodes: {a: {type: wait, for: 1s}}")


def test_of_very_many_problems_the_first_hundred_are_reported() -> None:
    nodes = "".join(f"  n{index}: {{type: nope}}\n" for index in range(150))
    found = refused(f"name: x\nnodes:\n{nodes}")
    assert (len(found), found[0], found[-1]) == (101, "3:14 NODE_TYPE_UNKNOWN", "None TOO_MANY_PROBLEMS")


def test_the_canonical_text_is_the_same_for_every_spelling() -> None:
    first = load_text('name: x\nnodes: {a: {type: wait, for: 90s, join: any}}\nversion: "1.0.0"').graph
    second = load_text('{"version": "1.0.0", "nodes": {"a": {"for": "1m30s", "type": "wait"}}, "name": "x"}').graph
    assert canonical(first) == canonical(second) == '{"name":"x","nodes":{"a":{"type":"wait","for":90}}}'


EXAMPLES = sorted(Path("examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_canonical_text_and_the_one_that_says_everything_are_the_same_graph(path: Path) -> None:
    graph = load_graph(path).graph
    for text, same in ((canonical(graph), graph), (written_out(graph), pinned(graph))):
        assert Graph.model_validate_json(text) == same
        assert canonical(load_text(text).graph) == canonical(same)


def test_the_text_that_says_everything_names_every_field_of_every_part() -> None:
    graph = load_text("name: x\nnodes: {a: {type: rule, rules: [{then: {x: 1}}], retry: {}}}").graph
    reported = json.loads(written_out(graph))
    assert reported.keys() == {field.alias or name for name, field in Graph.model_fields.items()}
    assert reported["nodes"]["a"].keys() == {field.alias or name for name, field in RuleNode.model_fields.items()}
    assert reported["nodes"]["a"]["retry"].keys() == Retry.model_fields.keys()
    assert reported["defaults"]["retry"]["max_attempts"] == 5


def test_another_order_of_the_nodes_is_another_graph() -> None:
    one = load_text("name: x\nnodes: {a: {type: wait, for: 1s}, b: {type: wait, for: 1s}}").graph
    other = load_text("name: x\nnodes: {b: {type: wait, for: 1s}, a: {type: wait, for: 1s}}").graph
    assert canonical(one) != canonical(other)


TABLE = {
    "nodes": [
        {"id": "in", "name": "in", "type": "inputNode"},
        {"id": "out", "name": "out", "type": "outputNode"},
    ],
    "edges": [{"id": "e", "type": "edge", "sourceId": "in", "targetId": "out"}],
}


def test_files_that_nodes_name_are_read_from_beside_the_graph(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.grl").write_text('rule R "r" { when x > 1 then y = 2; }', encoding="utf-8")
    (tmp_path / "table.json").write_text(json.dumps(TABLE), encoding="utf-8")
    (tmp_path / "g.yaml").write_text(
        "name: g\nnodes:\n  a: {type: rule, grl: rules/a.grl}\n"
        "  b:\n    type: foreach\n    items: xs\n    collect: {into: o, value: '1'}\n"
        "    body: {nodes: {c: {type: rule, decision_table: table.json}}}\n",
        encoding="utf-8",
    )
    graph = load_graph(tmp_path / "g.yaml").graph
    node = graph.nodes["a"]
    assert isinstance(node, RuleNode)
    assert node.grl == 'rule R "r" { when x > 1 then y = 2; }'
    assert f'"decision_table":{json.dumps(TABLE, separators=(",", ":"))}' in canonical(graph)


def test_an_error_in_a_named_file_is_placed_in_that_file(tmp_path: Path) -> None:
    (tmp_path / "a.grl").write_text("rule R {\n  when x >> 1\n  then y = 2;\n}", encoding="utf-8")
    (tmp_path / "t.json").write_text('{"nodes": [\n 1,,]}', encoding="utf-8")
    (tmp_path / "g.yaml").write_text(
        "name: g\nnodes:\n  a: {type: rule, grl: a.grl}\n  b: {type: rule, decision_table: t.json}\n", encoding="utf-8"
    )
    with pytest.raises(GraphError) as caught:
        load_graph(tmp_path / "g.yaml")
    assert [(one.code, str(one.place)) for one in caught.value.problems] == [("YAML_SYNTAX", "t.json:2:4")]
    (tmp_path / "t.json").write_text(json.dumps(TABLE), encoding="utf-8")
    with pytest.raises(GraphError) as caught:
        load_graph(tmp_path / "g.yaml")
    assert [(one.code, one.place) for one in caught.value.problems] == [
        ("EXPRESSION_INVALID", SourceLocation("a.grl", 2, 8)),
    ]


@pytest.mark.parametrize("name", ["../secret.grl", "/etc/hosts.grl", "link.grl", "folder.grl", "pipe.grl", "none.grl"])
def test_no_file_outside_of_the_folder_and_nothing_but_files_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.grl").write_text("secret", encoding="utf-8")
    folder = tmp_path / "graphs"
    (folder / "folder.grl").mkdir(parents=True)
    (folder / "link.grl").symlink_to(tmp_path / "secret.grl")
    os.mkfifo(folder / "pipe.grl")
    (folder / "g.yaml").write_text(f"name: g\nnodes:\n  a: {{type: rule, grl: {name}}}\n", encoding="utf-8")
    with pytest.raises(GraphError) as caught:
        load_graph(folder / "g.yaml")
    assert [(one.code, one.place and one.place.line) for one in caught.value.problems] == [("FILE_UNREADABLE", 3)]
    assert "secret" not in str(caught.value).replace("secret.grl", "")


def test_a_file_that_lets_its_reader_wait_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kernel.yaml").symlink_to("/proc/kmsg")
    with suppress(BlockingIOError, PermissionError):  # what the kernel has said by now would be there at once
        log = os.open("/proc/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(log, "rb", buffering=0) as kernel:
            while kernel.read(65_536):
                pass
    with pytest.raises(GraphError) as caught:
        load_graph(tmp_path / "kernel.yaml")
    assert [problem.code for problem in caught.value.problems] == ["FILE_UNREADABLE"]


def test_an_inline_graph_reads_no_files() -> None:
    assert refused("name: x\nnodes: {a: {type: rule, grl: rules.grl}}") == ["2:30 FILE_UNREADABLE"]


def test_files_are_bounded_together(tmp_path: Path) -> None:
    (tmp_path / "a.grl").write_text("x" * 200_000, encoding="utf-8")
    nodes = "".join(f"  n{index}: {{type: rule, grl: a.grl}}\n" for index in range(7))
    (tmp_path / "g.yaml").write_text(f"name: g\nnodes:\n{nodes}", encoding="utf-8")
    with pytest.raises(GraphError) as caught:
        load_graph(tmp_path / "g.yaml")
    assert "FILES_TOO_LARGE" in {problem.code for problem in caught.value.problems}
    (tmp_path / "a.grl").write_text("x" * 300_000, encoding="utf-8")
    with pytest.raises(GraphError, match="larger than 256 KiB"):
        load_graph(tmp_path / "g.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe", "is not UTF-8"), (b"x" * 300_000, "larger than 256 KiB"), (None, "No such file")],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "g.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GraphError, match=said):
        load_graph(path)


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Files that block, do not end, or are too large to be read."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        os.mkfifo(tmp_path / "fifo")
        with (tmp_path / "sparse").open("wb") as sparse:
            sparse.truncate(2**40)
        (tmp_path / "folder").mkdir()
        devices = (
            "/proc/kmsg",
            "/proc/self/mem",
            "/proc/self/pagemap",
            "/dev/zero",
            "/dev/random",
            "/dev/tty",
            "/dev/null",
        )
        yield {
            **{name: tmp_path / name for name in ("socket", "fifo", "sparse", "folder")},
            **{name: Path(name) for name in devices if Path(name).exists()},
        }


def test_what_blocks_or_does_not_end_is_refused_and_never_read(hostile: dict[str, Path], tmp_path: Path) -> None:
    """Wherever a file may be named: on the command line, in the graphs' folder, beside a graph."""
    place = tmp_path / "graphs"
    place.mkdir()
    (place / "good.yaml").write_text(MINIMAL.format(name="good"))
    (place / "asks.yaml").write_text("name: asks\nnodes: {a: {type: rule, grl: bad.grl}}\n")
    for name, path in hostile.items():
        with pytest.raises(GraphError) as caught:
            load_graph(path)
        assert {problem.code for problem in caught.value.problems} <= {
            "FILE_UNREADABLE",
            "YAML_EMPTY",
            "YAML_INVALID",
        }, name
        for link in (place / "bad.yaml", place / "bad.grl"):
            link.unlink(missing_ok=True)
            link.symlink_to(path)
        assert find_graph(place, "good").graph.name == "good"
        with pytest.raises(GraphError, match=r"bad\.grl"):
            load_graph(place / "asks.yaml")


def test_a_fifo_beside_a_graph_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "bad.grl")
    (tmp_path / "asks.yaml").write_text("name: asks\nnodes: {a: {type: rule, grl: bad.grl}}\n")
    with pytest.raises(GraphError, match=r"the file 'bad\.grl' is not a regular file"):
        load_graph(tmp_path / "asks.yaml")


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_a_graph_is_found_by_its_name_whatever_its_file_is_called(tmp_path: Path) -> None:
    write(
        tmp_path,
        first=MINIMAL.format(name="order_flow"),
        second="# comment\n'name' : \"refund\" # more\n" + MINIMAL.format(name="z").partition("\n")[2],
        third='{"name": "json_flow", "nodes": {"a": {"type": "wait", "for": 1}}}',
        dialect="nodes: {a: RuleNode}",
        broken="name: [",
    )
    assert find_graph(tmp_path, "order_flow").source.file.endswith("first.yaml")
    assert find_graph(tmp_path, "refund").graph.name == "refund"
    assert find_graph(tmp_path, "json_flow").graph.name == "json_flow"
    assert find_graph(tmp_path, "dialect").graph.name == "dialect"
    with pytest.raises(GraphError) as caught:
        find_graph(tmp_path, "order_flwo")
    (problem,) = caught.value.problems
    assert (problem.code, problem.suggestion) == ("GRAPH_UNKNOWN", "did you mean `order_flow`?")


def test_two_files_of_one_name_are_both_named(tmp_path: Path) -> None:
    write(tmp_path, a=MINIMAL.format(name="same"), b=MINIMAL.format(name="same"))
    with pytest.raises(GraphError, match=r"a\.yaml and .*b\.yaml"):
        find_graph(tmp_path, "same")
    with pytest.raises(GraphError, match="GRAPH_NAME_TAKEN"):
        load_library(tmp_path)


def test_graphs_in_folders_below_are_found_and_hidden_ones_and_tests_are_not(tmp_path: Path) -> None:
    for place in ("", "sub/deep", ".git", "..2026_11_28"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        write(tmp_path / place, **{f"of_{len(place)}": MINIMAL.format(name=f"of_{len(place)}")})
    (tmp_path / "of_0.test.yaml").write_text(MINIMAL.format(name="of_0"))
    (tmp_path / "sub" / "circle").symlink_to(tmp_path)
    assert sorted(FolderIndex(tmp_path).names().values()) == ["of_0", "of_8"]
    assert list(FolderIndex(tmp_path, below=False).names().values()) == ["of_0"]


def test_a_folder_with_too_many_below_is_refused(tmp_path: Path) -> None:
    for number in range(MAX_FOLDERS):
        (tmp_path / f"f{number}").mkdir()
    with pytest.raises(GraphError, match="FOLDER_TOO_LARGE"):
        FolderIndex(tmp_path).names()
    assert FolderIndex(tmp_path, below=False).names() == {}


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="does not exist"):
        find_graph(tmp_path / "none", "x")


def test_a_library_holds_every_graph_or_names_the_problems_of_all(tmp_path: Path) -> None:
    write(tmp_path, a=MINIMAL.format(name="first"), b=MINIMAL.format(name="second"))
    assert list(load_library(tmp_path)) == ["first", "second"]
    write(tmp_path, c="name: x", d="name: 5\nnodes: {}")
    with pytest.raises(GraphError) as caught:
        load_library(tmp_path)
    files = {problem.place.file.rpartition("/")[2] for problem in caught.value.problems if problem.place}
    assert files == {"c.yaml", "d.yaml"}


def test_graphs_that_a_graph_names_come_with_it_however_deep(tmp_path: Path) -> None:
    write(
        tmp_path,
        top=NAMING.format(name="top", other="middle"),
        middle="name: middle\nnodes: {w: {type: while, while: x > 1, body: {graph: low}}}",
        low=MINIMAL.format(name="low"),
    )
    assert list(load_graph(tmp_path / "top.yaml").graphs) == ["middle", "low"]


SETTINGS = "saga: {deadline: 1m}\ndefaults: {timeout: 5s}\ncontext: {merge: {x: sum}}\n"


@pytest.mark.parametrize(
    ("node", "ignored"),
    [
        ("type: graph, graph: inner", "`saga` and `defaults`"),
        ("type: graph, graph: inner, mode: child_workflow", None),
        ("type: foreach, items: '[1]', body: {graph: inner}", "`saga` and `defaults` and `context`"),
    ],
)
def test_settings_of_a_graph_that_do_nothing_where_it_is_used_are_a_warning(
    tmp_path: Path, node: str, ignored: str | None
) -> None:
    inner = "nodes: {x: {type: rule, rules: [{then: {x: 1}}]}, y: {type: rule, rules: [{then: {x: 2}}]}}"
    (tmp_path / "inner.yaml").write_text(f"name: inner\n{SETTINGS}{inner}\n")
    (tmp_path / "outer.yaml").write_text(f"name: outer\nnodes: {{a: {{{node}}}}}\n")
    warnings = [each for each in load_graph(tmp_path / "outer.yaml").warnings if each.code == "SETTINGS_IGNORED"]
    assert [each.message for each in warnings] == (
        [] if ignored is None else [f"the graph 'inner' has {ignored} of its own, which count for nothing here"]
    )


def test_a_graph_that_contains_itself_is_refused_and_the_circle_shown(tmp_path: Path) -> None:
    write(
        tmp_path,
        a=NAMING.format(name="a", other="b"),
        b=NAMING.format(name="b", other="c"),
        c=NAMING.format(name="c", other="a"),
        own=NAMING.format(name="own", other="own"),
    )
    with pytest.raises(GraphError, match="contains itself: a → b → c → a"):
        load_graph(tmp_path / "a.yaml")
    with pytest.raises(GraphError, match="contains itself: own → own"):
        load_graph(tmp_path / "own.yaml")


def test_unknown_and_broken_graphs_are_problems_where_they_are_named() -> None:
    def resolve(name: str) -> LoadedGraph:
        if name == "broken":
            return load_text("name: broken\nnodes: {a: {type: nope}}", "broken.yaml")
        raise GraphError((unknown,))

    unknown = Problem("GRAPH_UNKNOWN", "nothing", suggestion="did you mean `x`?")
    text = "name: t\nnodes:\n  a: {type: graph, graph: broken}\n  b: {type: graph, graph: none}\n"
    assert refused(text, resolve=resolve) == [
        "broken.yaml:2:19 NODE_TYPE_UNKNOWN",
        "3:27 SUBGRAPH_INVALID",
        "4:27 GRAPH_UNKNOWN",
    ]


def test_without_a_resolver_named_graphs_are_left_alone() -> None:
    assert load_text(NAMING.format(name="a", other="b")).graphs == {}


OUTCOMES: list[object] = [
    *("always", ["failure", "timeout"], ["success"], "timeout"),
    *(["failure", "always"], [], ["failure", "failure"]),
]
EDGES_OF_EACH_KIND: dict[str, Any] = {
    "name": "x",
    "nodes": {"a": {"type": "wait", "for": "1s"}},
    "edges": [{"from": "a", "to": "b", "outcome": each} for each in OUTCOMES],
}


def test_the_language_has_a_json_schema_for_editors() -> None:
    schema = graph_json_schema()
    Draft202012Validator.check_schema(schema)
    example = read_yaml(Path("examples/parallel_order.yaml").read_text(encoding="utf-8"), "x").value
    assert list(Draft202012Validator(schema).iter_errors(example)) == []
    assert [error.json_path for error in Draft202012Validator(schema).iter_errors({"name": "x", "nodes": {}})] == [
        "$.nodes"
    ]
    assert set(schema["$defs"]["Edge"]["properties"]) == {"from", "to", "when", "otherwise", "outcome"}
    found = {str(error.json_path) for error in Draft202012Validator(schema).iter_errors(EDGES_OF_EACH_KIND)}
    assert found == {"$.edges[4].outcome", "$.edges[5].outcome", "$.edges[6].outcome"}


def test_editors_are_shown_what_each_field_means() -> None:
    schema = graph_json_schema()
    parts = {"Graph": schema, **schema["$defs"]}
    fields = {f"{part}.{name}": field for part, of in parts.items() for name, field in of.get("properties", {}).items()}
    lacking = [name for name, field in fields.items() if not field.get("description")]
    assert lacking == [], f"write a docstring below {lacking} in graph/: one fact that is short"
    assert fields["Graph.result"]["description"].startswith("What it comes to: name → expression")


EDGE = """name: x
nodes: {{a: {{type: wait, for: 1s}}, b: {{type: wait, for: 1s}}}}
edges: [{{from: a, to: b, outcome: {}}}]
"""


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("timeout", "timeout"),
        ("[timeout]", "timeout"),
        ("[timeout, failure]", ("failure", "timeout")),
        ("[timeout, success, failure]", ("success", "failure", "timeout")),
    ],
)
def test_a_list_of_outcomes_has_one_spelling(written: str, read: object) -> None:
    graph = load_text(EDGE.format(written)).graph
    assert graph.edges[0].outcome == read
    for text in (canonical(graph), written_out(graph)):
        assert Graph.model_validate_json(text).edges == graph.edges


@pytest.mark.parametrize(
    ("written", "place", "message"),
    [
        ("faliure", "3:35", "`outcome` of edge 1 must be one of success, failure, timeout, always, not 'faliure'"),
        ("[failure, tmeout]", "3:45", "`outcome.1` of edge 1 must be one of success, failure, timeout, not 'tmeout'"),
        ("[failure, always]", "3:45", "`outcome.1` of edge 1 must be one of success, failure, timeout, not 'always'"),
        ("[]", "3:26", "`outcome` of edge 1 is wrong: names no outcome; each of success, failure, timeout once"),
        ("[failure, failure]", "3:26", "`outcome` of edge 1 is wrong: names an outcome twice; each of"),
        ("5", "3:35", "`outcome` of edge 1 must be one of success, failure, timeout, always"),
    ],
)
def test_an_outcome_that_does_not_exist_is_one_problem_at_its_place(written: str, place: str, message: str) -> None:
    with pytest.raises(GraphError) as refused:
        load_text(EDGE.format(written), "g")
    (problem,) = refused.value.problems
    assert (problem.code, str(problem.place)) == ("VALUE_INVALID", f"g:{place}")
    assert problem.message.startswith(message)


def test_a_refusal_names_twenty_problems_errors_first_and_counts_the_others() -> None:
    warnings = [Problem("NODE_UNREACHABLE", f"warning {number}", warning=True) for number in range(500)]
    refusal = GraphError((*warnings, Problem("TYPE_UNKNOWN", "the error")))
    lines = str(refusal).splitlines()
    assert (lines[0], lines[1]) == ("error[TYPE_UNKNOWN]: the error", "warning[NODE_UNREACHABLE]: warning 0")
    assert (len(lines), lines[-1]) == (21, "… and 481 more")
    assert len(refusal.problems) == 501
