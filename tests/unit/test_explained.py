"""Each exception from a linter or a type checker says why."""

from __future__ import annotations

import re

from tests.sources import sources

EXCEPTION = re.compile(r"# (?:noqa|type: ignore|pyright: ignore)\b.*")
EXPLAINED = re.compile(
    r"# noqa: [A-Z0-9, ]+ - \w.*|# (?:type|pyright): ignore\[[\w, -]+\]  # (?:pyright: ignore\[\w+\]  # )?\w.*"
)


def unexplained(source: str) -> list[str]:
    found = [match.group() for match in EXCEPTION.finditer(source)]
    return [each for each in found if not EXPLAINED.fullmatch(each)]


def test_each_exception_says_why() -> None:
    here = {path: unexplained(source) for path, source in sources().items() if path.name != "test_explained.py"}
    assert {str(path): found for path, found in here.items() if found} == {}


def test_an_exception_without_a_reason_is_found() -> None:
    assert unexplained("x = 1  # noqa\ny = 2  # noqa: E501\nz = 3  # type: ignore[misc]\n") == [
        "# noqa",
        "# noqa: E501",
        "# type: ignore[misc]",
    ]
    assert unexplained("x = f()  # type: ignore[misc]  # f has no types\n") == []
