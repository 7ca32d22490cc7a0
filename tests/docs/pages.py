"""The pages of the documentation and the fenced blocks in them. CONTRIBUTING.md says what a block may be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
REFERENCE = "docs/reference/"
"""Pages whose files are those of one folder: a reader runs their commands there."""
_FENCE = re.compile(r"^```(\S*)[ ]?(.*)$")
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `words` are what its info string says behind the language, its title apart."""

    page: str
    line: int
    language: str
    words: frozenset[str]
    title: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def pages() -> dict[str, str]:
    """The text of each page by its path below the root."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(found)}


@cache
def blocks(*languages: str) -> tuple[Block, ...]:
    """The blocks of these languages, page by page; all of them where none is named."""
    found = (block for page in pages() for block in blocks_of(page))
    return tuple(block for block in found if not languages or block.language in languages)


def blocks_of(page: str) -> Iterator[Block]:
    """The blocks of one page, in order."""
    opened: tuple[int, str, str] | None = None
    text: list[str] = []
    for number, line in enumerate(pages()[page].splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and opened is None:
            opened, text = (number, fence[1], fence[2]), []
        elif line == "```" and opened is not None:
            start, language, info = opened
            title = _TITLE.search(info)
            words = frozenset(_TITLE.sub("", info).split())
            yield Block(page, start + 1, language, words, title and title[1], "\n".join(text) + "\n")
            opened = None
        elif opened is not None:
            text.append(line)
    assert opened is None, f"{page}: the block of line {opened} is not closed"


def folder_of(page: str) -> Path | None:
    """The folder in which a page's commands are run as they are; None where its blocks are all that there is."""
    return ROOT / REFERENCE / "examples" if page.startswith(REFERENCE) else None


def prose(page: str) -> Iterator[tuple[int, str]]:
    """The lines of one page outside of its blocks, with their numbers."""
    inside = False
    for number, line in enumerate(pages()[page].splitlines(), 1):
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            yield number, line
