"""Modules of one's own: what they bring, and what is said where they cannot be imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from anabranch import imports
from anabranch.activities import python
from anabranch.cli.main import app
from anabranch.errors import ConfigurationError
from anabranch.imports import NOTHING, import_own
from tests.command import anabranch

HANDLERS = """
from anabranch import DistributedContext, node

@node("weigh")
async def weigh(context: DistributedContext) -> dict[str, int]:
    return {"weight": 1}
"""
SHOP = """
from temporalio import activity, workflow

@workflow.defn
class Shop:
    @workflow.run
    async def run(self) -> None: ...

@activity.defn(name="charge card")
async def charge() -> None: ...

class Beside: ...
"""
Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module into the working directory; what is imported is forgotten again at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(imports, "_imported", {})
    monkeypatch.setattr(python, "_registered", {})
    before = set(sys.modules)

    def module(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield module
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_in_the_working_directory_brings_its_handlers(write: Write) -> None:
    assert import_own([write("handlers_a", HANDLERS)]).handlers == ("weigh",)


def test_a_module_brings_the_workflows_and_activities_that_it_defines_or_imports(write: Write) -> None:
    write("shop_b", SHOP)
    own = import_own([write("served_b", "from shop_b import Shop, charge")])
    assert [each.__name__ for each in own.workflows] == ["Shop"]
    assert own.workflow_names == ["Shop"]
    assert own.activity_names == ["charge card"]


def test_what_several_modules_bring_is_served_once(write: Write) -> None:
    write("shop_c", SHOP)
    own = import_own([write("one_c", "from shop_c import *"), write("two_c", "from shop_c import *"), "one_c"])
    assert (len(own.workflows), len(own.activities)) == (1, 1)


def test_a_module_that_was_imported_before_brings_its_handlers_all_the_same(write: Write) -> None:
    name = write("handlers_d", HANDLERS)
    sys.path.insert(0, str(Path.cwd()))
    __import__(name)
    assert import_own([name]).handlers == ("weigh",)
    assert import_own([name]).handlers == ("weigh",)


def test_no_module_brings_nothing() -> None:
    assert import_own([]) == NOTHING


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "nowhere_e",
            None,
            r"there is no module 'nowhere_e' \(name a module as in `import nowhere_e`; it is looked for",
        ),
        ("nowhere_e.py", None, r"there is no module 'nowhere_e.py' \(name a module as in `import nowhere_e`;"),
        ("shop/nodes", None, r"there is no module 'shop/nodes' \(name a module as in `import shop.nodes`;"),
        ("broken_e", "\nint('x')", r"cannot be imported: .*broken_e.py:2: ValueError: invalid literal for int"),
        ("leaving_e", "raise SystemExit(3)", r"cannot be imported: .*leaving_e.py:1: SystemExit: 3"),
        ("garbled_e", "def f(:", r"cannot be imported: .*garbled_e.py:1: SyntaxError"),
        ("lacking_e", "import nothing_e", r"lacking_e.py:1: ModuleNotFoundError: No module named 'nothing_e'"),
        ("empty_e", "x = 1", r"the module 'empty_e' has no handler, no workflow and no activity \(decorate a function"),
        ("twice_e", HANDLERS + HANDLERS, r"twice_e.py:\d+: .*two handlers are registered as 'weigh'"),
        (
            "bare_e",
            "from anabranch import node\n@node\ndef f(): ...",
            r'a handler needs a name \(write @node\("name"\)\)',
        ),
    ],
)
def test_a_module_that_cannot_be_served_is_named_with_the_reason(
    write: Write, name: str, text: str | None, message: str
) -> None:
    if text is not None:
        write(name, text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        import_own([name])
    assert caught.value.place == f"--import {name}"


GRAPH = """
name: parcel
nodes:
  weigh: {type: python, handler: wiegh}
"""


@pytest.fixture
def graph(tmp_path: Path) -> str:
    (tmp_path / "parcel.yaml").write_text(GRAPH)
    (tmp_path / "parcel.test.yaml").write_text(
        "graph: parcel.yaml\ntests: [{name: it, outcomes: {weigh: {set: {weight: 1}}}, expect: {status: completed}}]"
    )
    return "parcel.yaml"


WARNING = "warning[HANDLER_UNKNOWN]: parcel.yaml:4:34: no imported module has the handler 'wiegh'"


@pytest.mark.parametrize(
    "arguments", [("validate", "parcel.yaml"), ("dry-run", "parcel.yaml"), ("test", "parcel.test.yaml")]
)
def test_an_unknown_handler_is_warned_of_where_modules_are_given(
    write: Write, graph: str, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, str]
) -> None:
    name, runner = write("handlers_f", HANDLERS), CliRunner()
    without = runner.invoke(app, arguments)
    assert (without.exit_code, without.stderr) == (0, "")
    by_option = runner.invoke(app, [*arguments, "--import", name])
    monkeypatch.setenv("ANABRANCH_IMPORT", f" {name} , ")
    by_environment = runner.invoke(app, arguments)
    for result in (by_option, by_environment):
        assert result.exit_code == 0
        assert WARNING in result.stderr
        assert "help: did you mean `weigh`?" in result.stderr


@pytest.mark.parametrize("command", ["validate", "dry-run", "run"])
def test_a_command_of_a_graph_says_which_module_is_not_there(write: Write, graph: str, command: str) -> None:
    result = CliRunner().invoke(app, [command, graph, "--import", "nowhere_g"])
    assert result.exit_code == 1
    assert "--import nowhere_g: there is no module 'nowhere_g'" in result.stderr


@pytest.mark.parametrize("command", ["worker", "dev"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--graphs", "examples", "--import", "nowhere_h"), "--import nowhere_h: there is no module 'nowhere_h'"),
        (("--graphs", "nowhere"), "ANABRANCH_GRAPHS: the folder 'nowhere' does not exist"),
    ],
)
def test_a_worker_that_lacks_something_says_so_before_it_looks_for_a_server(
    command: str, arguments: tuple[str, ...], said: str
) -> None:
    with anabranch(command, *arguments) as started:
        assert started.leave() == 1
    assert said in started.stderr
