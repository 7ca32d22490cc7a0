"""Problems of a document as editors show them: each over the word at its place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from anabranch.editor.document import Document
from anabranch.editor.outline import Span
from anabranch.errors import Problem, SourceLocation

_WORD: Final = re.compile(r"[\w$~-]+(?:\.[\w$~-]+)*|\"(?:[^\"\\]|\\.)*\"|'[^']*'|.")
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem, and the part of the document that it is about."""

    problem: Problem
    span: Span
    elsewhere: SourceLocation | None = None
    """Its place, where that is in another file."""


def findings(document: Document, problems: Iterable[Problem]) -> Iterator[Finding]:
    """Each problem over a word of the document; what is in another file over the name of that, or the first line."""
    own = {str(document.path), "<inline>"}
    for problem in problems:
        place = problem.place
        if place is None:
            yield Finding(problem, _first_line(document))
        elif place.file in own:
            yield Finding(problem, _word(document, place.line - 1, place.column - 1))
        else:
            yield Finding(problem, _mention(document, Path(place.file).name), place)


def _word(document: Document, line: int, column: int) -> Span:
    """The word at a place; the end of the text, where the place is behind it."""
    if not 0 <= line < len(document.lines):
        last = max(len(document.lines) - 1, 0)
        return Span(last, 0, last, len(document.lines[last]))
    text = document.lines[line]
    column = min(max(column, 0), len(text))
    found = _WORD.match(text, column, column + _LONGEST)
    return Span(line, column, line, column if found is None else found.end())


def _mention(document: Document, name: str) -> Span:
    for number, line in enumerate(document.lines):
        if (column := line.find(name)) >= 0:
            return Span(number, column, number, column + len(name))
    return _first_line(document)


def _first_line(document: Document) -> Span:
    return Span(0, 0, 0, len(document.lines[0]))
