"""How wide a text is, without the font that will show it: wide enough for the usual ones."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

_WIDTHS: Final = {
    **dict.fromkeys("iljI.,:;'|! ", 0.34),
    **dict.fromkeys('frt()[]{}/\\-"`', 0.42),
    **dict.fromkeys("mMwW@%", 0.95),
    **dict.fromkeys("<>=+~#&", 0.8),
}
_LOWER: Final = 0.61
_UPPER: Final = 0.71
_WIDE: Final = 1.0
_ELLIPSIS: Final = "…"


def width_of(text: str, size: float) -> float:
    """The width of the text in a font of this size."""
    return size * sum(map(_advance, text))


def cut(text: str, size: float, longest: float) -> str:
    """The text, or as much of its beginning as fits, with an ellipsis."""
    if width_of(text, size) <= longest:
        return text
    return f"{_fitting(text, size, longest - width_of(_ELLIPSIS, size))}{_ELLIPSIS}"


def wrapped(text: str, size: float, longest: float, most: int) -> tuple[str, ...]:
    """The text in at most so many lines, broken at spaces; the last is cut."""
    lines = list(_lines(text, size, longest))
    if len(lines) <= most:
        return tuple(lines)
    return *lines[: most - 1], cut(f"{lines[most - 1]}{_ELLIPSIS}", size, longest)


def _lines(text: str, size: float, longest: float) -> Iterator[str]:
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if width_of(longer, size) <= longest:
            line = longer
            continue
        if line:
            yield line
        line = word
        while width_of(line, size) > longest:
            part = _fitting(line, size, longest)
            yield part
            line = line[len(part) :]
    if line:
        yield line


def _fitting(text: str, size: float, longest: float) -> str:
    """The beginning that fits, of one character at least."""
    used = 0.0
    for place, char in enumerate(text):
        used += size * _advance(char)
        if used > longest:
            return text[: max(place, 1)]
    return text


@lru_cache(maxsize=4096)
def _advance(char: str) -> float:
    if (known := _WIDTHS.get(char)) is not None:
        return known
    if unicodedata.combining(char):
        return 0.0
    if unicodedata.east_asian_width(char) in ("W", "F"):
        return _WIDE
    return _UPPER if char.isupper() else _LOWER
