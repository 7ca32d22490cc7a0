"""A text whose parts were read by themselves is the same as one that was read as a whole, at every edit of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.editor.assembled import assembled
from anabranch.editor.document import Document
from anabranch.editor.outline import outline
from anabranch.errors import GraphError
from anabranch.graph.source.yaml_source import Source, read_yaml
from tests.editor.graphs import GRAPHS

USUAL = """\
# a comment
name: order   # of whom

nodes:
  # the first
  check:
    type: rule
    description: |+
      several
      lines

  "pay.now": {type: http, url: "https://x"}
edges:
  - {from: check, to: "pay.now"}
  -
    from: check
    to: pay
result: {a: "b"}
"""


def plainly(source: Source) -> tuple[object, ...]:
    """What is in a source, with the place of each value."""
    places = {
        path: [
            None if mark is None else (mark.index, mark.line, mark.column)
            for mark in (extent.start, extent.end, extent.key)
        ]
        + [extent.style, extent.scalar]
        for path, extent in source.spans.items()
    }
    return source.text, repr(source.value), places


def same_or_read(text: str) -> bool:
    """Whether the parts of a text made the whole of it; what they made is what reading makes."""
    made = assembled(outline(text), text, "f")
    if made is not None:
        assert plainly(made) == plainly(read_yaml(text, "f"))
    return made is not None


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_every_graph_is_the_sum_of_its_parts(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert same_or_read(text) == ("\n---" not in f"\n{text}" and "nodes:" in text)


@pytest.mark.parametrize("path", [None, *GRAPHS[::4]], ids=lambda path: "usual" if path is None else path.stem)
def test_an_edited_text_is_read_where_its_parts_do_not_make_it(path: Path | None) -> None:
    """A line is lost or there twice, indented otherwise, or cut off; a character comes in."""
    text = USUAL if path is None else path.read_text(encoding="utf-8")
    chance = random.Random(text)
    for _ in range(60):
        lines = text.splitlines(keepends=True)
        number = chance.randrange(len(lines))
        kept = lines[number]
        others = [
            "",
            kept * 2,
            f" {kept}",
            kept[1:],
            kept.rstrip()[:-1] + "\n",
            kept.rstrip() + chance.choice("{['\"|&#") + "\n",
        ]
        lines[number] = chance.choice(others)
        same_or_read("".join(lines))


_OTHERS = """\
---
...
%YAML 1.2
edges:
- {from: a, to: b}
  x: &a 1
  y: *a
nodes: {}
   z: 1
 w: 1
'q': "1
b": 2
}
? k
: v
  x: 2
name: again
plain
  - a
"""
_LINES = st.sampled_from([*USUAL.splitlines(), *_OTHERS.splitlines(), "\ttab: 1"])


@given(st.lists(_LINES, max_size=12))
def test_lines_in_any_order_are_the_same_or_read(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        read_yaml(text, "f")
    except GraphError:
        assert assembled(outline(text), text, "f") is None
    else:
        same_or_read(text)


def test_of_a_text_that_has_changed_in_one_node_only_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    Document(USUAL).source()
    texts: list[str] = []

    def read(text: str, file: str) -> Source:
        texts.append(text)
        return read_yaml(text, file)

    monkeypatch.setattr("anabranch.editor.parts.read_yaml", read)
    source = Document(USUAL.replace("several", "some")).source()
    assert [text.split(":")[0].strip() for text in texts] == ["check"]
    assert source.place(("nodes", "pay.now", "url")).line == 12
