"""The reference of the graph language has a page for each node type, and examples that show what comes out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anabranch.graph.load import load_graph
from anabranch.graph.model import NODE_TYPES
from tests.docs.pages import REFERENCE, ROOT, pages
from tools.reference.examples import FOLDER, Example, examples, occurring
from tools.reference.language import EVERY_NODE, FILE, Page, own_fields
from tools.reference.language import pages as reference_pages

NAMES = [example.name for example in examples()]


def test_each_node_type_has_a_page_and_an_example() -> None:
    written = {Path(page).stem for page in pages() if page.startswith(REFERENCE)}
    assert written == {"README", EVERY_NODE, FILE, *NODE_TYPES}
    assert {EVERY_NODE, FILE, *NODE_TYPES} - set(NAMES) == set()


@pytest.mark.parametrize("page", tuple(reference_pages()), ids=lambda page: page.name)
def test_a_page_has_every_field_of_its_models(page: Page) -> None:
    text = pages()[f"{REFERENCE}{page.name}.md"]
    written = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert written == [name for model in (page.model, *page.parts) for name in own_fields(model)]


@pytest.mark.parametrize("page", tuple(reference_pages()), ids=lambda page: page.name)
def test_each_field_of_a_page_is_in_an_example(page: Page) -> None:
    fields = [(model, *each) for model in (page.model, *page.parts) for each in own_fields(model).items()]
    lacking = [name for model, name, attribute in fields if (model, attribute) not in occurring()]
    assert lacking == [], (
        f"write {', '.join(lacking)} into a graph of {REFERENCE}examples/, such as {page.name}.yaml,"
        f" and what its dry run prints into the .console of the same name; then run `make docs`"
    )


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
