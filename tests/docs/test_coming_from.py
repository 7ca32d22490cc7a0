"""Each page for people who come from another system has ten idioms: theirs, ours, and what ours does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from anabranch.errors import GraphError, Problem
from anabranch.graph.load import load_graph
from tests.docs.pages import Block, blocks, blocks_of, pages
from tests.docs.shell import steps

FOLDER = "docs/coming-from"
PAGES = sorted(page for page in pages() if page.startswith(f"{FOLDER}/") and not page.endswith("README.md"))
RUST = f"{FOLDER}/rust-logic-graph.md"
PARSED: Mapping[str, Callable[[str], Any]] = {
    "json": json.loads,
    "yaml": yaml.safe_load,
    "python": lambda text: compile(text, "snippet", "exec"),
}
"""How a snippet of another system is read: it is in its own syntax, and nothing here runs it."""


def idioms(page: str) -> dict[str, list[Block]]:
    """The blocks of each numbered section of a page."""
    lines = pages()[page].splitlines()
    starts = [(number, line[3:]) for number, line in enumerate(lines, 1) if re.match(r"## \d", line)]
    ends = [*starts, (len(lines) + 1, "")]
    return {
        title: [block for block in blocks_of(page) if start < block.line < end]
        for (start, title), (end, _) in pairwise(ends)
    }


IDIOMS = [(page, title, found) for page in PAGES for title, found in idioms(page).items()]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_ten_idioms(page: str) -> None:
    assert [int(title.partition(".")[0]) for title in idioms(page)] == list(range(1, 11))


@pytest.mark.parametrize(("page", "title", "found"), IDIOMS, ids=[f"{page}-{title}" for page, title, _ in IDIOMS])
def test_an_idiom_shows_theirs_and_ours_and_what_ours_does(page: str, title: str, found: list[Block]) -> None:
    theirs, *ours = found
    assert "theirs" in theirs.words
    assert PARSED[theirs.language](theirs.text)
    (*files, session) = ours
    graphs = [block.title for block in files if block.language == "yaml"]
    (step,) = steps(session)
    assert step.command.startswith(f"anabranch dry-run {graphs[-1]}")
    assert step.shown.strip() not in {"", "…"}, "the page shows nothing of what comes out"


SNIPPETS = [block for block in blocks("yaml") if block.page == RUST and "theirs" in block.words]


def refusals(path: Path) -> tuple[Problem, ...]:
    """What is wrong with a file, if anything."""
    try:
        load_graph(path)
    except GraphError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
def test_a_snippet_of_rust_logic_graph_is_read_or_refused_as_the_page_says(block: Block, tmp_path: Path) -> None:
    for other in blocks_of(RUST):
        if other.title and other.language == "yaml":
            (tmp_path / other.title).write_text(other.text, encoding="utf-8")
    path = tmp_path / "theirs.yaml"
    path.write_text(block.text, encoding="utf-8")
    codes = {problem.code for problem in refusals(path)}
    assert codes == ({"DIALECT_UNSUPPORTED"} if "refused" in block.words else set())
