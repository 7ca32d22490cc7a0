"""Pages that repeat the code are up to date, and nothing public lacks a docstring."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

import anabranch
from tests.docs.pages import ROOT, blocks_of, pages

NAMES = sorted({*anabranch.__all__} - {"__version__", "errors"})
PROJECT = ROOT / "docs" / "extending"


def test_what_make_docs_writes_is_there() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "docs", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_page_has_every_public_name() -> None:
    headings = re.findall(r"^### (\w+)$", pages()["docs/api.md"], re.MULTILINE)
    assert sorted(headings) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_and_its_methods_have_docstrings(name: str) -> None:
    value = getattr(anabranch, name)
    members = vars(value).items() if isinstance(value, type) else ()
    public = {name: value} | {key: getattr(value, key) for key, _ in members if not key.startswith("_")}
    lacking = [key for key, each in public.items() if (callable(each) or isinstance(each, property)) and not doc(each)]
    assert lacking == []


def doc(value: object) -> str | None:
    """A docstring, but not one that a dataclass makes of its fields."""
    text = inspect.getdoc(value)
    return None if text is None or text.startswith(f"{getattr(value, '__name__', '')}(") else text


def test_the_page_shows_every_file_of_the_project() -> None:
    shown = {block.title for block in blocks_of("docs/extending.md") if block.title}
    files = [path for path in PROJECT.rglob("*") if path.suffix in {".py", ".yaml", ".toml", ".ts"}]
    assert shown == {path.relative_to(PROJECT).as_posix() for path in files if path.name != "__init__.py"}


def test_the_import_of_the_package_loads_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import anabranch; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded - set(sys.stdlib_module_names) == {"anabranch"}


def test_the_help_of_the_command_loads_no_sdk() -> None:
    code = """
import sys
from typer.testing import CliRunner
from anabranch.cli.main import app
assert CliRunner().invoke(app, ["--help"]).exit_code == 0
print(*{name.split(".")[0] for name in sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & {"temporalio", "sqlalchemy", "redis", "cel_expr_python", "pydantic_ai"} == set()
