"""Every YAML block of the documentation is a graph without problems, or the part of one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from anabranch.errors import GraphError
from anabranch.graph.load import load_graph
from anabranch.graph.model import Graph
from tests.docs.pages import Block, blocks, blocks_of, folder_of

WORDS = {"fragment", "invalid", "warns"}
ELSEWHERE = "docs/extending.md"  # its node type has to be installed: tests/acceptance/test_own_project.py does
THEIRS = "theirs"  # in the syntax of another system: tests/docs/test_coming_from.py reads it
GRAPHS = [
    b
    for b in blocks("yaml")
    if b.page != ELSEWHERE and THEIRS not in b.words and not (b.title or "").endswith(".test.yaml")
]
PARTS = {field.alias or name for name, field in Graph.model_fields.items()}


def whole(block: Block) -> dict[str, Any]:
    """The graph that a fragment is a part of: with a name, and a node for each id that only its edges name."""
    part: dict[str, Any] = yaml.safe_load(block.text)
    assert part.keys() <= PARTS, f"{block}: {part.keys() - PARTS} is not a field of a graph"
    ends = [edge[end] for edge in part.get("edges", ()) for end in ("from", "to")]
    if not part.get("nodes") and not ends:
        ends = ["first"]
    others = {node: {"type": "rule", "rules": [{"then": {f"done_{node}": True}}]} for node in ends}
    return {"name": "fragment"} | part | {"nodes": others | part.get("nodes", {})}


def written(block: Block, folder: Path) -> Path:
    """The file of a block's graph, beside the files of its page."""
    if (files := folder_of(block.page)) is not None:
        shutil.copytree(files, folder, dirs_exist_ok=True)
    for other in blocks_of(block.page) if files is None else ():
        if other.title and not other.words:
            (folder / other.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / other.title).write_text(other.text, encoding="utf-8")
    path = folder / (block.title or "graph.yaml")
    text = yaml.safe_dump(whole(block), sort_keys=False) if "fragment" in block.words else block.text
    path.write_text(text, encoding="utf-8")
    return path


def problems(block: Block, folder: Path) -> list[str]:
    """What `validate` finds in a block, beside the files of its page; of a fragment only the errors."""
    try:
        warnings = load_graph(written(block, folder)).warnings
    except GraphError as error:
        return [str(problem) for problem in error.problems]
    return [] if block.words & {"fragment", "warns"} else [str(problem) for problem in warnings]


@pytest.mark.parametrize("block", GRAPHS, ids=str)
def test_a_graph_of_the_documentation_has_no_problems(block: Block, tmp_path: Path) -> None:
    assert block.words <= WORDS
    found = problems(block, tmp_path)
    assert bool(found) == ("invalid" in block.words), found
