"""A graph's text in the usual layout says what it said, comments too; what cannot be read stays as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anabranch.editor.document import Document
from anabranch.editor.formatting import formatted
from anabranch.graph.source.comments import comments_of
from anabranch.graph.source.yaml_source import read_yaml
from tests.editor.graphs import GRAPHS

WIDE = """\
# of orders
name: order~~~
nodes:
    # the first
    check:
        type: rule
        rules:
        -   when: quantity > 0   # always
            then: {accepted: true,
                   note: "a
             b"}
        # of the node
    ask:
      type: approval
      prompt: |
          Is it
            right?

      # behind
edges:
-   from: check
    to: ask
-
    from: ask
    to: check


"""
USUAL = """\
# of orders
name: order
nodes:
  # the first
  check:
    type: rule
    rules:
      - when: quantity > 0   # always
        then: {accepted: true,
               note: "a
         b"}
    # of the node
  ask:
    type: approval
    prompt: |
        Is it
          right?

    # behind
edges:
  - from: check
    to: ask
  -
    from: ask
    to: check
"""


def laid_out(text: str) -> str:
    return formatted(Document(text))


def test_each_level_has_two_spaces_and_lines_have_no_end_of_blanks() -> None:
    assert laid_out(WIDE.replace("~", " ")) == USUAL
    assert laid_out(USUAL) == USUAL


def test_ends_of_lines_stay_what_they_were() -> None:
    assert laid_out("name: a\r\nnodes:\r\n    b: {type: stop}\r\n") == "name: a\r\nnodes:\r\n  b: {type: stop}\r\n"


def widened(text: str) -> str:
    """The text with four spaces for each level."""
    lines = [re.sub(r"^( *)- (?=\S)", r"\1-   ", line) for line in text.splitlines(keepends=True)]
    return "".join(" " * (len(line) - len(line.lstrip(" "))) + line for line in lines)


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_every_graph_says_the_same_whatever_its_layout_was(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert laid_out(text) == text  # ours have the usual layout
    given = widened(text)
    found = laid_out(given)
    assert laid_out(found) == found
    before, after = read_yaml(given, ""), read_yaml(found, "")
    assert repr(after.value) == repr(before.value)
    assert [each.text for each in comments_of(after)] == [each.text for each in comments_of(before)]
    assert found.count("\n  ") >= text.count("\n  ") > 0


@pytest.mark.parametrize(
    "text", ["", "nodes: [", "a: &x 1\nb: *x\n", "nodes:\n  a: 1\n b: 2\n", "- " * 100, "\t: \x00"]
)
def test_what_cannot_be_read_stays_as_it_is(text: str) -> None:
    assert laid_out(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "a: |2\n    b\n   c\n",
        "a:\n  - - b\n    - c\n",
        "? a\n: b\n",
        "a: >+\n   b\n\n\n",
        "a: 'x\n\n  y'\n",
        "{a: 1,\n b: 2}\n",
    ],
)
def test_texts_and_lists_of_any_form_keep_their_values(text: str) -> None:
    assert repr(read_yaml(laid_out(text), "").value) == repr(read_yaml(text, "").value)
