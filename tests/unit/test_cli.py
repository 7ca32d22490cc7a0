"""The commands that need no server, called in this process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

from anabranch.cli.main import app

EXAMPLES = Path(__file__).parents[2] / "examples"
ORDERS = EXAMPLES / "distributed_context_graph.yaml"
PARALLEL = EXAMPLES / "parallel_order.yaml"
SUM = """
name: sum
nodes:
  double: {type: rule, rules: [{then: {twice: "{{ n * 2 }}"}}]}
  tell: {type: rule, rules: [{then: {told: "twice {{ n }} is {{ twice }}"}}]}
edges: [{from: double, to: tell}]
"""
WRONG = """
name: wrong
nodes:
  a: {type: rule, rulez: []}
  b: {type: roule}
edges: []
"""


@pytest.fixture(autouse=True)
def _no_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TEMPORAL_ADDRESS", "ANABRANCH_GRAPHS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sum_file(tmp_path: Path) -> Path:
    return written(tmp_path, SUM)


def written(folder: Path, text: str, name: str = "graph.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def anabranch(*args: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(each) for each in args], input=stdin)


def answer(*args: object, stdin: str | None = None) -> Any:
    result = anabranch(*args, stdin=stdin)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


# the command itself


def test_the_version_is_that_of_the_package() -> None:
    assert anabranch("--version").stdout == f"anabranch {version('anabranch')}\n"


@pytest.mark.parametrize("args", [["validate"], ["run"], ["visualize", "a", "--file", "b"], ["nonsense"], ["dev", "x"]])
def test_wrong_usage_is_exit_code_2(args: list[str]) -> None:
    assert anabranch(*args).exit_code == 2


def test_every_command_says_what_it_does() -> None:
    help_text = anabranch("--help").stdout
    commands = ["validate", "visualize", "schema", "dry-run", "run", "worker", "dev", "demo"]
    assert [name for name in commands if f" {name} " in help_text] == commands


# validate


def test_a_valid_graph_is_summarised_with_its_inputs(sum_file: Path) -> None:
    result = anabranch("validate", sum_file)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"✔ {sum_file}: graph is valid",
        "  sum 1.0.0",
        "  2 nodes (2 rule), 1 edge",
        "  inputs: n",
    ]


@pytest.mark.parametrize("path", [ORDERS, PARALLEL], ids=lambda path: path.stem)
def test_the_examples_are_valid(path: Path) -> None:
    result = anabranch("validate", "--file", path)
    assert (result.exit_code, result.stderr) == (0, "")


def test_every_problem_of_a_graph_is_printed_with_its_place_and_mend(tmp_path: Path) -> None:
    path = written(tmp_path, WRONG)
    result = anabranch("validate", path)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"error[FIELD_UNKNOWN]: {path}:4:19: ")
    assert lines[1] == "  help: did you mean `rules`?"
    assert lines[2].startswith(f"error[NODE_TYPE_UNKNOWN]: {path}:5:13: ")
    assert lines[-1] == f"{path}: 2 errors"


def test_one_wrong_graph_among_several_makes_the_exit_code_1_and_hides_no_other(tmp_path: Path, sum_file: Path) -> None:
    wrong, absent = written(tmp_path, WRONG, "wrong.yaml"), tmp_path / "absent.yaml"
    result = anabranch("validate", wrong, absent, sum_file)
    assert result.exit_code == 1
    assert "graph is valid" in result.stdout
    assert "FILE_UNREADABLE" in result.stderr


def test_each_graph_of_a_folder_and_of_those_below_is_validated(tmp_path: Path, sum_file: Path) -> None:
    folder = tmp_path / "graphs"
    (folder / "below").mkdir(parents=True)
    (folder / "notes.txt").write_text("no graph")
    (folder / "sum.test.yaml").write_text("tests: []")
    (folder / "below" / "sum.yml").write_text(sum_file.read_text())
    written(folder, WRONG, "wrong.yaml")
    result = anabranch("validate", folder)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == f"✔ {folder / 'below' / 'sum.yml'}: graph is valid"
    assert result.stderr.splitlines()[-1] == f"{folder / 'wrong.yaml'}: 2 errors"


def test_a_folder_without_graphs_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = anabranch("validate", tmp_path / "empty")
    assert result.exit_code == 2
    assert "has no YAML file" in " ".join(result.stderr.replace("│", " ").split())


def test_the_line_in_question_is_shown_on_a_terminal_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, WRONG)
    assert "▲" not in anabranch("validate", path).stderr
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = re.sub(r"\x1b\[[\d;]*m", "", anabranch("validate", path).stderr)
    assert "    4 │   a: {type: rule, rulez: []}\n      │                   ▲\n" in shown


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = written(tmp_path, 'name: "x\\e[2J\\u202Ey"\nnodes: {"a\\e[31mb": {type: rule}}\n')
    result = anabranch("validate", path)
    assert result.exit_code == 1
    assert not set(result.output) & {"\x1b", "\u202e", "\x07"}


def test_validating_a_plain_graph_waits_for_no_heavy_library(sum_file: Path) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from cli.main import app\n"
        f"assert CliRunner().invoke(app, ['validate', {str(sum_file)!r}]).exit_code == 0\n"
        "heavy = {'temporalio', 'sqlalchemy', 'jsonschema', 'lark', 'pydantic_ai', 'uvicorn'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


COMMAND = [sys.executable, "-c", "from cli.main import main; main()"]


@pytest.mark.parametrize("args", [["schema"], ["visualize", ORDERS], ["validate", ORDERS]])
def test_an_output_that_is_full_is_told_in_one_line(args: list[Any]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [*COMMAND, *map(str, args)]
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error[OUTPUT_LOST]: the output cannot be written: No space left on device"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("closed", "args", "code"),
    [("<&-", ["dry-run", ORDERS, "-i", "-"], 1), (">&-", ["visualize", ORDERS], 0), ("2>&-", ["validate", "none"], 1)],
)
def test_a_standard_stream_may_be_closed(closed: str, args: list[Any], code: int) -> None:
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, *map(str, args)]
    done = subprocess.run(shell, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


# visualize and schema


def test_a_tree_is_the_default_drawing(sum_file: Path) -> None:
    assert anabranch("visualize", sum_file).stdout.splitlines() == [
        "sum 1.0.0",
        "└─ double (rule)",
        "   ↓  tell (rule)",
    ]


def test_graph_is_short_for_boxes(sum_file: Path) -> None:
    boxes = anabranch("visualize", sum_file, "--graph").stdout
    assert boxes == anabranch("visualize", sum_file, "--format", "boxes").stdout
    assert "double" in boxes
    assert "│" in boxes
    assert anabranch("visualize", sum_file, "--graph", "--format", "svg").exit_code == 2


def test_details_tell_more_than_names() -> None:
    short, long = (anabranch("visualize", ORDERS, *more).stdout for more in ((), ("--details",)))
    assert "openai:gpt-4" not in short
    assert "openai:gpt-4" in long


def test_the_format_follows_the_name_of_the_output(tmp_path: Path, sum_file: Path) -> None:
    for name, start in (("g.svg", b"<svg"), ("g.png", b"\x89PNG"), ("g.mmd", b"flowchart"), ("g.txt", b"sum 1.0.0")):
        assert anabranch("visualize", sum_file, "--output", tmp_path / name).exit_code == 0
        assert (tmp_path / name).read_bytes().startswith(start)


def test_a_name_of_another_kind_of_picture_is_refused_and_nothing_is_written(tmp_path: Path, sum_file: Path) -> None:
    told = anabranch("visualize", sum_file, "--output", tmp_path / "g.jpg")
    assert (told.exit_code, (tmp_path / "g.jpg").exists()) == (2, False)
    assert "no drawing is '.jpg': .mmd, .svg, .png, .txt" in told.stderr
    assert anabranch("visualize", sum_file, "--output", tmp_path / "g.jpg", "--format", "png").exit_code == 0


def test_a_picture_goes_through_a_pipe_unchanged(sum_file: Path) -> None:
    assert anabranch("visualize", sum_file, "--format", "png").stdout_bytes.startswith(b"\x89PNG\r\n")


def test_an_output_that_cannot_be_written_is_an_error(tmp_path: Path, sum_file: Path) -> None:
    result = anabranch("visualize", sum_file, "-o", tmp_path / "no" / "g.svg")
    assert result.exit_code == 1
    assert result.stderr.startswith("error[INPUT_INVALID]: ")


def test_the_schema_accepts_what_is_a_graph_and_refuses_what_is_none() -> None:
    validator = Draft202012Validator(answer("schema"))
    graph = {"name": "g", "nodes": {"a": {"type": "rule", "rules": [{"then": {"x": 1}}]}}}
    assert validator.is_valid(graph)
    assert not validator.is_valid({**graph, "nodez": {}})


# the input


def test_the_input_is_a_file_standard_input_or_pairs_and_pairs_win(tmp_path: Path, sum_file: Path) -> None:
    source = written(tmp_path, '{"n": 1, "other": [true]}', "input.json")
    assert answer("dry-run", sum_file, "--json", "-i", source)["data"]["twice"] == 2
    assert answer("dry-run", sum_file, "--json", "-i", "-", stdin='{"n": 4}')["data"]["twice"] == 8
    assert answer("dry-run", sum_file, "--json", "-i", source, "--set", "n=5")["data"] == {
        "n": 5,
        "other": [True],
        "twice": 10,
        "told": "twice 5 is 10",
    }


def test_a_pair_is_json_where_it_is_json_and_text_elsewhere(sum_file: Path) -> None:
    pairs = ("--set", "n=1", "--set", "list=[1, 2]", "--set", "text=a=b", "--set", 'quoted="7"', "--set", "nan=NaN")
    data = answer("dry-run", sum_file, "--json", *pairs)["data"]
    assert {key: data[key] for key in ("list", "text", "quoted", "nan")} == {
        "list": [1, 2],
        "text": "a=b",
        "quoted": "7",
        "nan": "NaN",
    }


@pytest.mark.parametrize(
    ("text", "code", "reported"),
    [
        ('{"n": 1 2}', "INPUT_INVALID", "input.json:1:9: this is not JSON"),
        ("[1]", "INPUT_INVALID", "not a list"),
        ('{"n": NaN}', "INPUT_INVALID", "NaN is not a JSON value"),
        ("[" * 100_000, "INPUT_INVALID", "cannot be read"),
        ('{"n": 1' + "0" * 30 + "}", "WIRE_FORMAT_INVALID", "64 bits"),
        ('{"n": "\\ud800"}', "WIRE_FORMAT_INVALID", "surrogate"),
        ("{}", "INPUT_MISSING", "'n'"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_with_its_place(
    tmp_path: Path, sum_file: Path, text: str, code: str, reported: str
) -> None:
    for command in ("dry-run", "run"):
        result = anabranch(command, sum_file, "-i", written(tmp_path, text, "input.json"))
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"error[{code}]: ")
        assert reported in result.stderr


def test_bytes_that_are_not_utf_8_and_files_that_are_not_there_are_refused(tmp_path: Path, sum_file: Path) -> None:
    (tmp_path / "latin").write_bytes(b'{"n": "\xe9"}')
    assert "not UTF-8" in anabranch("dry-run", sum_file, "-i", tmp_path / "latin").stderr
    assert "No such file" in anabranch("dry-run", sum_file, "-i", tmp_path / "absent").stderr
    assert "'n' is not `key=value`" in anabranch("dry-run", sum_file, "--set", "n").stderr


def test_a_wrong_setting_is_named_by_its_variable_and_not_by_its_value(
    sum_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANABRANCH_MAX_CACHED_WORKFLOWS", "hunter2")
    result = anabranch("run", sum_file, "--set", "n=1")
    assert result.exit_code == 1
    assert result.stderr.startswith("error[CONFIGURATION_INVALID]: ANABRANCH_MAX_CACHED_WORKFLOWS: ")
    assert "hunter2" not in result.output


# dry-run


def test_a_dry_run_tells_step_by_step_what_ran_and_wrote(sum_file: Path) -> None:
    lines = anabranch("dry-run", sum_file, "--set", "n=3").stdout.splitlines()
    assert [line.split() for line in lines[2:4]] == [
        ["0", "s", "double", "success", "evaluated", "twice", "=", "6"],
        ["0", "s", "tell", "success", "evaluated", "told", "=", '"twice', "3", "is", '6"'],
    ]
    assert json.loads("\n".join(lines[4:]))["data"]["told"] == "twice 3 is 6"


def test_outcomes_that_nobody_gave_are_assumed_by_schema_and_use() -> None:
    result = anabranch("dry-run", ORDERS, "-i", EXAMPLES / "order.json")
    assert result.exit_code == 0
    assumed = [line.split()[2] for line in result.stdout.splitlines() if " assumed " in f"{line} "]
    assert assumed == ["check_inventory", "process_payment", "update_order_status"]
    data = json.loads(result.stdout[result.stdout.index("\n{") :])["data"]
    assert (data["in_stock"], data["action"], data["order_status"]) == (True, "APPROVE", "approved")


def test_a_wrong_default_strategy_is_named_by_its_variable(sum_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFAULT_RESOLUTION_STRATEGY", "nonsense")
    refused = anabranch("dry-run", sum_file, "--set", "n=1")
    assert refused.exit_code == 1
    assert "error[CONFIGURATION_INVALID]: DEFAULT_RESOLUTION_STRATEGY: 'nonsense' is not" in refused.stderr


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ("check_inventory: {set: {in_stock: false}}", "out_of_stock"),
        ("process_payment: {fail: CARD_STOLEN, message: no}", "review"),
        ("process_payment: {timeout: true}", "review"),
        ("process_payment: {set: {payment_valid: true, action: DECLINE, fraud_score: 99}}", "declined"),
    ],
)
def test_given_outcomes_decide_the_way(tmp_path: Path, outcomes: str, status: str) -> None:
    given = written(tmp_path, outcomes, "outcomes.yaml")
    args = ("dry-run", ORDERS, "-i", EXAMPLES / "order.json", "--outcomes", given, "--json")
    assert answer(*args)["data"]["order_status"] == status


def test_a_run_that_would_fail_says_what_it_would_undo(tmp_path: Path) -> None:
    given = written(tmp_path, "update_order_status: {fail: DB_DOWN, message: gone}", "outcomes.json")
    result = anabranch("dry-run", ORDERS, "-i", EXAMPLES / "order.json", "--outcomes", given)
    assert result.exit_code == 1
    assert "undo check_inventory" in result.stdout
    assert result.stderr == "error[DB_DOWN]: node 'update_order_status': gone\n  compensated: check_inventory\n"


def test_a_conflict_is_shown_with_its_sides_and_its_choice(tmp_path: Path) -> None:
    given = written(tmp_path, "check_inventory: {set: {in_stock: true, tags: [in-stock]}}", "outcomes.yaml")
    shown = anabranch("dry-run", PARALLEL, "-i", EXAMPLES / "order.json", "--outcomes", given).stdout
    assert (
        'conflict at tags: check_inventory: ["in-stock"] | calculate_shipping: ["free-shipping"] '
        '| check_fraud: ["loyal-customer"] → ["in-stock", "free-shipping", "loyal-customer"] (merge_all)'
    ) in shown


def test_timers_pass_people_answer_and_items_have_outcomes_of_their_own(tmp_path: Path) -> None:
    graph = """
    name: packing
    nodes:
      ask: {type: approval, prompt: "Pack?", schema: {properties: {packed_by: {type: string}}}, timeout: 1h}
      pause: {type: wait, for: 24h}
      pack:
        type: foreach
        items: "[10, 20]"
        as: box
        body: {nodes: {weigh: {type: python, handler: scale, reads: []}}}
        collect: {into: weights, value: weight}
    edges: [{from: ask, to: pause}, {from: pause, to: pack}]
    """
    outcomes = """
    ask: {answer: {packed_by: Ida}, after: 10m}
    pack/weigh: {set: {weight: 3}}
    pack[1]/weigh: {set: {weight: 5}}
    """
    path, given = written(tmp_path, graph), written(tmp_path, outcomes, "outcomes.yaml")
    data = answer("dry-run", path, "--outcomes", given, "--json")["data"]
    assert data == {"packed_by": "Ida", "weights": [3, 5]}
    late = written(tmp_path, outcomes.replace("10m", "2h"), "late.yaml")
    assert anabranch("dry-run", path, "--outcomes", late).stderr.startswith("error[NO_ANSWER]: node 'ask': ")


@pytest.mark.parametrize(
    ("outcomes", "reported"),
    [
        ("chek_inventory: {timeout: true}", "did you mean `check_inventory`?"),
        ("check_inventory: {explode: 1}", "explode: Extra inputs are not permitted"),
        ("check_inventory: {set: {}, timeout: true}", "a node has one outcome"),
        ("check_inventory: 7", "node 'check_inventory': "),
        ("[1]", "a mapping is expected"),
        ("a: {", "outcomes.yaml:"),
    ],
)
def test_outcomes_that_make_no_sense_are_refused(tmp_path: Path, outcomes: str, reported: str) -> None:
    given = written(tmp_path, outcomes, "outcomes.yaml")
    result = anabranch("dry-run", ORDERS, "-i", EXAMPLES / "order.json", "--outcomes", given)
    assert (result.exit_code, result.stdout) == (1, "")
    assert reported in result.stderr


def test_a_run_that_would_wait_for_an_operator_is_no_success(tmp_path: Path) -> None:
    graph = "name: g\nnodes: {a: {type: python, handler: h, reads: [], on_failure: pause}}\n"
    given = written(tmp_path, "a: {fail: X}", "outcomes.yaml")
    result = anabranch("dry-run", written(tmp_path, graph), "--outcomes", given)
    assert result.exit_code == 1
    assert result.stderr == "error[PAUSED]: the run would wait for an operator, at 'a'\n"


def test_a_dry_run_touches_neither_the_environment_nor_the_folder(tmp_path: Path, sum_file: Path) -> None:
    before = dict(os.environ)
    anabranch("dry-run", sum_file, "--set", "n=1")
    assert [path.name for path in tmp_path.iterdir()] == ["graph.yaml"]
    assert dict(os.environ) == before


def test_a_command_looks_for_no_garbage_while_it_starts_and_as_ever_where_it_runs_for_long() -> None:
    code = (
        "import gc; usual, frozen = gc.get_threshold(), gc.get_freeze_count()\n"
        "from anabranch.cli import main, leaving\n"
        "async def long(): return gc.get_threshold()\n"
        "print(gc.get_threshold()[0], gc.get_freeze_count() - frozen)\n"
        "print(leaving.run_until_over(long()) == usual, gc.get_freeze_count() - frozen > 10_000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["200000 0", "True True"]
