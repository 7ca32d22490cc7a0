"""No run of more than ten lines of code is written twice."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.sources import sources

LONGEST = 10
Place = tuple[Path, int]


def code_lines(source: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line that says something: no imports, comments, blank lines or lone brackets."""
    imports = {
        number
        for node in _statements(ast.parse(source).body)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    for number, line in enumerate(source.splitlines(), 1):
        text = line.strip()
        if number not in imports and not text.startswith("#") and any(map(str.isalnum, text)):
            yield number, text


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a block and of those in it; to walk through their expressions too takes most of the time."""
    for node in body:
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _statements(getattr(node, name, []))


def repeated(files: dict[Path, str]) -> list[tuple[Place, Place]]:
    """Pairs of places at each of which one run of more than LONGEST lines starts."""
    places: dict[tuple[str, ...], list[Place]] = defaultdict(list)
    for path, source in files.items():
        lines = list(code_lines(source))
        for start in range(len(lines) - LONGEST):
            run = lines[start : start + LONGEST + 1]
            places[tuple(text for _, text in run)].append((path, run[0][0]))
    return [(first, other) for first, *others in places.values() for other in others]


def test_no_run_of_more_than_ten_lines_is_written_twice() -> None:
    assert [f"{a}:{i} and {b}:{j}" for (a, i), (b, j) in repeated(sources())] == []


def test_a_run_that_is_written_twice_is_found_wherever_it_starts() -> None:
    run = "\n".join(f"step_{number}()" for number in range(LONGEST + 1))
    other = run.replace("\n", "\n\n    # a comment\n")
    found = repeated({Path("a.py"): f"import json\n{run}\n", Path("b.py"): f"def f():\n  if x:\n    {other}\n"})
    assert found == [((Path("a.py"), 2), (Path("b.py"), 3))]
    assert repeated({Path("a.py"): run.partition("\n")[2], Path("b.py"): run.partition("\n")[2]}) == []
