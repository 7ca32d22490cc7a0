"""What MkDocs is told of our pages, by hooks: they are written for GitHub and for the tests too."""

from __future__ import annotations

import posixpath
import re
from typing import Any

_FENCE = re.compile(r"^```(\w+) ([^\n`]+)$", re.MULTILINE)
_TITLE = re.compile(r'title="[^"]+"')
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The text of a page as the site has it."""
    return for_site(markdown, str(page.file.src_uri))


def for_site(markdown: str, page: str) -> str:
    """Without what only the tests read of a block, and with links to what the site has not as plain text."""

    def block(match: re.Match[str]) -> str:
        title = _TITLE.search(match[2])
        return f"```{match[1]}" + ("" if title is None else f" {title[0]}")

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), match[2]))
        return match[1] if target.startswith("..") or match[2].endswith("/") else match[0]

    return _LINK.sub(link, _FENCE.sub(block, markdown))
