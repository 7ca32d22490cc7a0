"""The names of a node's `input`: those that nothing of the node reads, and those that it cannot have."""

from __future__ import annotations

from collections.abc import Iterator

from anabranch.errors import Problem
from anabranch.graph.dataflow.reads import work_reads
from anabranch.graph.expressions.expressions import ROOTS
from anabranch.graph.kinds.kinds import kind_of, own_names
from anabranch.graph.model import BaseNode
from anabranch.graph.source.problems import described
from anabranch.graph.source.yaml_source import Pointer, Source


def check_own_names(path: Pointer, node: BaseNode, roots: frozenset[str], source: Source) -> Iterator[Problem]:
    """Problems of a node whose expressions compile; `roots` are the names that are reserved around it."""
    if (names := own_names(node)) is None:
        return
    for name in sorted((ROOTS | roots).intersection(names)):
        place = source.place((*path, "input", name), key=True)
        message = f"{described(path)} gives the name `{name}` by its `input`, which has another meaning there"
        yield Problem("NAME_RESERVED", message, place, "give it another name")
    read = None if kind_of(node).reads_more(node) else work_reads(node, roots).keys
    if read is None:
        return
    for name in names:
        if name not in read:
            place = source.place((*path, "input", name), key=True)
            message = f"{described(path)} gives the name `{name}` by its `input`, and none of its fields reads it"
            yield Problem("INPUT_UNUSED", message, place, "remove it", warning=True)
