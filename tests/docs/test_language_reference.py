"""The reference of the graph language has a page for each node type, and examples that show what comes out."""

from __future__ import annotations

from pathlib import Path

import pytest

from anabranch.graph.load import load_graph
from anabranch.graph.model import NODE_TYPES
from tests.docs.pages import REFERENCE, ROOT, pages
from tools.reference.examples import FOLDER, Example, examples
from tools.reference.language import EVERY_NODE, FILE

NAMES = [example.name for example in examples()]


def test_each_node_type_has_a_page_and_an_example() -> None:
    written = {Path(page).stem for page in pages() if page.startswith(REFERENCE)}
    assert written == {"README", EVERY_NODE, FILE, *NODE_TYPES}
    assert {EVERY_NODE, FILE, *NODE_TYPES} - set(NAMES) == set()


@pytest.mark.parametrize("example", examples(), ids=NAMES)
def test_an_example_is_a_dry_run_that_shows_what_comes_out(example: Example) -> None:
    command, *shown = example.session.read_text(encoding="utf-8").splitlines()
    assert command.startswith(f"$ anabranch dry-run {example.name}.yaml")
    assert set(shown) - {"…", ""} != set()


def test_each_file_of_the_examples_belongs_to_one_of_them() -> None:
    used = {path for example in examples() for path in example.files}
    assert {path.name for path in FOLDER.iterdir()} - {path.name for path in used} == {"prices.binpb"}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_a_graph_of_the_examples_has_no_problems(path: Path) -> None:
    assert load_graph(path).warnings == ()


def test_the_readme_names_the_reference() -> None:
    assert f"]({REFERENCE}README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
