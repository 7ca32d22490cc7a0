"""How the documentation is written: short lines, one sentence on each, links that lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks_of, pages, prose

MAX_COLUMNS = 120
_CODE = re.compile(r"`[^`]*`")
_SECOND_SENTENCE = re.compile(r"[^.\d][.!?][)*\"']* +[A-Z`\[]")
_NO_END = re.compile(r"\b(?:e\.g|i\.e|vs|cf)\.|^[\s\-\d.]*\*\*[^*]+[.!?]\*\*")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PAGES = sorted(pages())


@pytest.mark.parametrize("page", _PAGES)
def test_no_line_is_too_long_but_in_tables_and_output(page: str) -> None:
    lines = [(number, line) for number, line in prose(page) if not line.startswith("|")]
    lines += [
        (b.line, line) for b in blocks_of(page) if b.language not in {"console", "text"} for line in b.text.split("\n")
    ]
    assert [number for number, line in lines if len(line) > MAX_COLUMNS] == []


@pytest.mark.parametrize("page", _PAGES)
def test_each_sentence_has_a_line_of_its_own(page: str) -> None:
    wrong = []
    for number, line in prose(page):
        text = _NO_END.sub("", _CODE.sub("`code`", line))
        if not text.startswith(("|", "#")) and _SECOND_SENTENCE.search(text):
            wrong.append(f"{page}:{number}: {line}")
    assert wrong == []


@pytest.mark.parametrize("page", _PAGES)
def test_links_lead_to_files_and_headings_that_exist(page: str) -> None:
    text = "\n".join(line for _, line in prose(page))
    broken = []
    for target in _LINK.findall(text):
        file, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", file):
            continue
        path = (ROOT / page).parent / file if file else ROOT / page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


def anchors(path: Path) -> set[str]:
    """What GitHub calls the headings of a page in links."""
    headings = re.findall(r"^#+ +(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
