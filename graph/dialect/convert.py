"""A graph file of rust-logic-graph as one of ours: what was assumed is written out, and told in a comment."""

from __future__ import annotations

from pathlib import Path

from anabranch.errors import GraphError
from anabranch.graph.dialect.rule_texts import with_rule_lists
from anabranch.graph.dialect.rust_logic_graph import normalise
from anabranch.graph.source.attachments import read_text
from anabranch.graph.source.writing import written
from anabranch.graph.source.yaml_source import read_yaml

_TOLD = {"DIALECT_ASSUMED": "assumed", "DIALECT_UNUSED": "unused"}


def converted(path: Path, *, lists: bool) -> str:
    """The text of the graph in our language. With `lists`, Drools-like rules are lists where these come to the same.

    Raises GraphError.
    """
    source, problems = normalise(read_yaml(read_text(path, str(path)), str(path)))
    told = tuple(problem for problem in problems if problem.warning)
    if len(told) < len(problems):
        raise GraphError(problems)
    notes = [(each.place.line, f"{_TOLD[each.code]}: {each.message}") for each in told if each.place is not None]
    if lists:
        source, kept = with_rule_lists(source)
        notes += [(source.place(at).line, f"stays a text: {reason}") for at, reason in kept]
    return written(source, notes)
