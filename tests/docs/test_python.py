"""Every Python block of the documentation runs, those of one page in one namespace."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from tests.docs.pages import blocks, blocks_of

PAGES = sorted({block.page for block in blocks("python") if "theirs" not in block.words})


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page: str) -> None:
    names: dict[str, Any] = {"__name__": page}
    for block in blocks_of(page):
        if block.language == "python" and block.title is None and "theirs" not in block.words:
            code = "\n" * (block.line - 1) + block.text  # an error then names the line of the page
            exec(compile(code, page, "exec"), names)


def test_the_example_of_the_cache_keeps_what_it_is_given() -> None:
    names: dict[str, Any] = {}
    for block in blocks_of("docs/context.md"):
        if block.language == "python":
            exec(block.text, names)
    remember = names["remember"]
    assert inspect.iscoroutinefunction(remember)
    asyncio.run(remember(names["order"]))
