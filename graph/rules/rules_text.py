"""The rules of a text, in the form of GRL or in that of Drools; which one it is shows in how its first rule begins."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from lark.exceptions import UnexpectedInput

from anabranch.errors import ExpressionError
from anabranch.graph.rules import drools, grl
from anabranch.graph.rules.chained_rule import ChainedRule
from anabranch.graph.rules.draft import Draft, syntax_error
from anabranch.graph.rules.names import refused

MAX_RULES = 500
MAX_EXPRESSIONS = 5_000
"""Conditions and values of all rules of a text: about a second until they are compiled."""
MAX_NAME = 256
"""Characters of a rule's name."""

# What a rule begins with, comments and texts as one piece each, up to its first `{` or `when`.
_PIECE = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | (?P<first>\{|\bwhen\b) | \w+ | .""",
    re.VERBOSE | re.DOTALL,
)


def is_drools(text: str) -> bool:
    """Whether the rules are written as `rule … when … then … end`, without braces around a rule."""
    first = next((piece["first"] for piece in _PIECE.finditer(text) if piece["first"]), None)
    return first == "when"


@lru_cache(maxsize=256)
def parse_rules(text: str, roots: frozenset[str] = frozenset()) -> tuple[ChainedRule, ...]:
    """The rules of a text in the order in which they are tried: by salience, then as in the text.

    ExpressionError with line and column inside the text.
    """
    drafts = _drafts(text)
    if len(drafts) > MAX_RULES:
        raise ExpressionError(f"{len(drafts)} rules are over the limit of {MAX_RULES}", suggestion="use several nodes")
    if (size := sum(draft.size for draft in drafts)) > MAX_EXPRESSIONS:
        message = f"{size} conditions and values are over the limit of {MAX_EXPRESSIONS}"
        raise ExpressionError(message, suggestion="use several nodes")
    names = [draft.name for draft in drafts]
    known: set[str] = set()
    for draft in drafts:
        if len(draft.name) > MAX_NAME:
            raise refused(draft.token, f"the name is over the limit of {MAX_NAME} characters", "give it a short one")
        if draft.name in known:
            raise refused(draft.token, f"two rules are called {draft.name!r}", "give each rule its own name")
        known.add(draft.name)
    rules = [draft.rule(roots, names) for draft in drafts]
    return tuple(sorted(rules, key=lambda rule: -rule.salience))


def _drafts(text: str) -> Sequence[Draft]:
    read: Callable[[str], Sequence[Draft]]
    read, example = (drools.drafts, drools.EXAMPLE) if is_drools(text) else (grl.drafts, grl.EXAMPLE)
    try:
        return read(text)
    except UnexpectedInput as error:
        raise syntax_error(error, example) from None
