"""The columns that a SQL statement returns, where its text plainly names them.

On the safe side: `*`, expressions without `as`, quoted or mixed-case names (databases fold them differently) and common
table expressions give no answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

_HIDDEN = re.compile(r"--[^\n]*|/\*.*?\*/|(?P<text>'(?:[^']|'')*')", re.DOTALL)
_TOKEN = re.compile(r"[()\[\],;]|[^\s()\[\],;]+")
_COLUMN = re.compile(r"(?:[A-Za-z_]\w*\.)*([a-z_][a-z0-9_]*)", re.ASCII)
_ENDS = frozenset({"from", "where", "union", "group", "order", "limit", ";"})


@lru_cache(maxsize=2048)
def returned_columns(query: str) -> frozenset[str] | None:
    """The names of the columns of a `select … from` or `… returning …`; None where the text does not tell."""
    tokens = _TOKEN.findall(_HIDDEN.sub(lambda hidden: " '' " if hidden["text"] else " ", query))
    words = [token.lower() for token in tokens]
    if words[:1] == ["select"]:
        start = 2 if words[1:2] == ["distinct"] else 1
    elif words[:1] and words[0] in ("insert", "update", "delete") and "returning" in words:
        start = words.index("returning") + 1
    else:
        return None
    names = [_name(item) for item in _items(tokens[start:])]
    return frozenset(name for name in names if name) if names and None not in names else None


def _items(tokens: list[str]) -> Iterator[list[str]]:
    """The tokens of each element of a select list, which ends where a clause begins."""
    item: list[str] = []
    depth = 0
    for word in tokens:
        if depth == 0 and word.lower() in _ENDS:
            break
        depth += (word in "([") - (word in ")]")
        if word == "," and depth == 0:
            yield item
            item = []
        else:
            item.append(word)
    yield item


def _name(item: list[str]) -> str | None:
    aliased = len(item) > len(("as", "name")) and item[-2].lower() == "as"
    if not aliased and len(item) != 1:
        return None
    match = _COLUMN.fullmatch(item[-1])
    return match[1] if match else None
