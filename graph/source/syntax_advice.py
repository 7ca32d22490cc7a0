"""What is likely wrong with a text that is not YAML."""

from __future__ import annotations

import yaml
from yaml.error import Mark

_QUOTE = "write the text in quotes"
_INDENT = "indent the line as the lines beside it"
_BY_PROBLEM = (
    ("character '\\t'", "indent with spaces, not with tabs"),
    ("that cannot start any token", _QUOTE),
    ("end of stream", "close the quotes, or the brackets"),
    ("but got ':'", f"{_QUOTE} if it has a colon; a bracket or a comma may be missing"),
    ("expected ',' or", "close each bracket with its own"),
    ("block end", _INDENT),
)


def syntax_advice(error: yaml.MarkedYAMLError, text: str, mark: Mark | None) -> str | None:
    """What to do about a syntax error at `mark`; None where nobody can tell."""
    problem = error.problem or ""
    if mark is not None and "mapping values are not allowed" in problem:
        before = _line_of(text, mark)[: mark.column]
        return f"{_QUOTE}: it has a colon" if ": " in before or before.lstrip().startswith("- ") else _INDENT
    return next((advice for words, advice in _BY_PROBLEM if words in problem), None)


def _line_of(text: str, mark: Mark) -> str:
    start = text.rfind("\n", 0, mark.index) + 1
    end = text.find("\n", mark.index)
    return text[start : len(text) if end < 0 else end]
