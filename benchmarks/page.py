"""The tables of `docs/performance.md`, which the benchmarks write between marks."""

from __future__ import annotations

from pathlib import Path


def marks(target: str) -> tuple[str, str]:
    """Before and behind what a target of make writes."""
    return f"<!-- `make {target}` writes what follows -->", f"<!-- `make {target}` writes what precedes -->"


def write(page: Path, target: str, text: str) -> None:
    """Put a text between the marks of a target."""
    begin, end = marks(target)
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    assert found, f"{page} lacks {begin}"
    _, found, after = rest.partition(end)
    assert found, f"{page} lacks {end}"
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
