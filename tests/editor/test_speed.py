"""How long an editor waits at a graph of 500 nodes, when a letter has been typed: by processor time, not by a clock."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anabranch.editor.completion import proposals
from anabranch.editor.definition import definitions
from anabranch.editor.document import Document
from anabranch.editor.formatting import formatted
from anabranch.editor.hover import meaning
from anabranch.editor.project import Project
from anabranch.editor.symbols import symbols
from benchmarks.editor import NODES, graph
from tests.cost import Limit, attempts

LIMIT = Limit(seconds=0.1)
TEXT = graph(NODES)
LINE = TEXT.split("\n").index(f"  step_{NODES // 2}:") + 4
"""Of a condition."""
ASKED: dict[str, Callable[[Document, Project], object]] = {
    "problems": lambda document, project: project.problems(document.source, document.path),
    "completion in an expression": lambda document, project: proposals(document, project, LINE, 20),
    "completion of a node": lambda document, project: proposals(document, project, TEXT.count("\n") - 1, 30),
    "hover": lambda document, project: meaning(document, project, LINE, 20),
    "definition": lambda document, project: definitions(document, project, LINE, 20),
    "symbols": lambda document, project: symbols(document),
    "format": lambda document, project: formatted(document),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Path]]:
    """A project in which the graph has been open for a while; what other tests left is not looked through."""
    project, path = Project(), tmp_path_factory.mktemp("graphs") / "large.yaml"
    opened = Document(TEXT, path)
    assert project.problems(opened.source, path) == ()
    assert len(opened.outline.keys) > NODES
    gc.collect()
    gc.freeze()
    yield project, path
    gc.unfreeze()


@pytest.mark.parametrize("asked", ASKED)
def test_an_answer_takes_less_than_a_tenth_of_a_second(project: tuple[Project, Path], asked: str) -> None:
    excess: str | None = "nothing was asked"
    for number, attempt in enumerate(attempts(LIMIT)):
        changed = TEXT.replace(f"Step {NODES // 2}", f"Step {NODES // 2} {asked}{number}")
        document = Document(changed, project[1])
        with attempt:
            assert ASKED[asked](document, project[0]) is not None
        excess = LIMIT.excess(attempt.cost)
    assert excess is None
