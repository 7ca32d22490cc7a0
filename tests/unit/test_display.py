"""Texts of others in terminals, in Markdown and in drawings: seen as they are, and taken for nothing else."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from typing import Any

import pytest
from rich.console import Console

from anabranch.cli.live import LiveRun
from anabranch.cli.versions import versions_table
from anabranch.display import code_span, one_line, plain, plain_json
from anabranch.graph.drawing.mermaid import mermaid
from anabranch.graph.drawing.tree import tree
from anabranch.graph.model import Graph
from tests.markup import CORPUS, HIDDEN, TERMINAL

_STYLE = re.compile(r"\x1b\[[\d;]*m")
"""What rich itself writes on a terminal."""
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def unseen(text: str) -> set[str]:
    return {char for char in text if unicodedata.category(char) in UNSEEN and char not in "\n\t"}


@pytest.mark.parametrize("text", CORPUS)
def test_a_text_is_shown_with_all_of_its_characters_and_only_what_would_not_be_seen_is_escaped(text: str) -> None:
    shown = plain(text)
    assert unseen(shown) == set()
    if not unseen(text) and text not in HIDDEN:
        assert shown == text


@pytest.mark.parametrize("text", [*HIDDEN, *TERMINAL, "\ud800", "Größe 寸法 नमस्ते 👍\u3000x"])
def test_json_is_escaped_without_a_change_of_its_value(text: str) -> None:
    written = json.dumps({text: [text]}, ensure_ascii=False, indent=2)
    assert unseen(plain_json(written)) == set()
    assert json.loads(plain_json(written)) == {text: [text]}


def test_letters_of_all_scripts_signs_and_wide_spaces_stay() -> None:
    text = "Größe 寸法 नमस्ते שלום مرحبا 👍\u3000\u00a0x\n\tend"
    assert plain(text) == text
    assert plain_json(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)


@pytest.mark.parametrize("text", CORPUS)
def test_a_code_span_is_one_line_and_its_fence_is_not_in_its_text(text: str) -> None:
    span = code_span(text)
    fence = re.match("`+", span)
    assert fence is not None
    inside = span[len(fence[0]) : -len(fence[0])]
    assert span == f"{fence[0]}{inside}{fence[0]}"
    assert fence[0] not in re.findall("`+", inside)
    assert not unseen(span)
    assert "\n" not in span
    assert inside.strip() == one_line(text, 200).strip()


def test_long_texts_are_cut() -> None:
    assert one_line("x" * 100, 10) == "x" * 9 + "…"
    assert one_line("\u202e" * 100, 10) == r"\u202e\u2…"


def on_a_terminal(renderable: Any) -> str:
    screen = Console(file=io.StringIO(), width=200, force_terminal=True, highlight=False, height=2000)
    screen.print(renderable)
    assert isinstance(screen.file, io.StringIO)
    return _STYLE.sub("", screen.file.getvalue())


def test_no_text_acts_on_a_terminal_in_the_tree_of_a_run_and_in_the_table_of_its_versions() -> None:
    graph = Graph.model_validate({"name": "g", "nodes": {"a": {"type": "approval"}}})
    candidates = [{"by": text, "value": text} for text in CORPUS]
    conflict = {"path": "p", "strategy": "sum", "candidates": candidates, "settled": True, "choice": 1}
    for text in CORPUS:
        live = LiveRun(graph, text)
        error = {"type": text, "message": f"!{text}"}
        status: dict[str, Any] = {
            "status": "running",
            "nodes": {"a": {"status": "waiting", "error": error}},
            "approvals": {text: {"prompt": text, "answer": f"temporal {text}", "deadline": 0}},
            "conflicts": {text: [{**conflict, "path": text, "candidates": candidates[:2]}]},
        }
        live.show(status)
        live.show_history([{"kind": "node", "by": "a", "set": {text: 1}, "removed": [text]}])
        live.cannot_see(text)
        assert unseen(on_a_terminal(live.renderable())) == set(), text
    version = {"version": 1, "kind": "node", "by": "".join(CORPUS), "set": dict.fromkeys(CORPUS, 1), "removed": CORPUS}
    assert unseen(on_a_terminal(versions_table([{**version, "conflicts": [conflict]}]))) == set()


@pytest.mark.parametrize("text", CORPUS)
def test_no_text_breaks_out_of_its_label_in_a_drawing(text: str) -> None:
    nodes = {"a": {"type": "approval", "prompt": text, "description": text}, "b": {"type": "approval"}}
    graph = Graph.model_validate({"name": "g", "nodes": nodes, "edges": [{"from": "a", "to": "b"}]})
    head, first, second, edge = mermaid(graph, details=True).splitlines()
    assert (head, second, edge) == ("flowchart TD", '  n1[/"b<br/>approval: a person decides"\\]', "  n0 --> n1")
    assert re.fullmatch(r'  n0\[/"(?:[\w ,:!?=.()/;#-]|<br/>)*"\\\]', first), first
    assert unseen(tree(graph, details=True)) == set()
