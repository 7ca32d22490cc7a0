"""Text of others where people see it: in terminals, in drawings, and in the Markdown of the Temporal Web UI.

No text may move the cursor, colour the screen, turn the writing round, hide itself, or be taken for markup.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of controls, of direction and zero-width characters, of surrogates, of line and paragraph ends."""
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Letters and marks that show nothing."""
_UNUSUAL: Final = re.compile(r"[^\x20-\x7e\n\t]+")
_CUT: Final = 4
"""How many characters of a text are looked at for each one that is shown."""


def plain(text: object) -> str:
    r"""The text with `\u202e` and the like for what would not be seen. Line feeds and tabs stay."""
    return _UNUSUAL.sub(lambda found: "".join(map(_shown, found[0])), str(text))


def plain_json(text: str) -> str:
    """JSON text with escapes for what would not be seen: the same value, and safe to show."""
    return _UNUSUAL.sub(lambda found: "".join(map(_escaped, found[0])), text)


def one_line(text: str, longest: int) -> str:
    """The text in one line of at most `longest` characters, in which everything is seen."""
    spaced = "".join(" " if char.isspace() else char for char in text[: longest * _CUT])
    line = " ".join(plain(spaced).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def code_span(text: str, longest: int = 200) -> str:
    """The text as Markdown that shows it, and nothing else: one line of code.

    Of all Markdown only a code span has no markup inside, not even links that are made of bare addresses. Its fence is
    longer than any run of backticks in the text. It belongs into a line of text or a list, not into a table.
    """
    return _code_span(text[: longest * _CUT], longest)


@lru_cache(maxsize=4096)  # a run shows the same ids after each event
def _code_span(text: str, longest: int) -> str:
    line = one_line(text, longest)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if not line or line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def _shown(char: str) -> str:
    return char.encode("unicode_escape").decode() if _hides(char) else char


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex("-", 2).split("-") if _hides(char) else ()
    return "".join(f"\\u{unit}" for unit in units) or char


def _hides(char: str) -> bool:
    return char in _BLANK or unicodedata.category(char) in _HIDDEN
