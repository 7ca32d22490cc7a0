"""What the tests of a graph cover, beside its file: they are played in virtual time, when somebody looks."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

from anabranch.console.listing.shelf import Shelved
from anabranch.errors import AnabranchError
from anabranch.graph.source.attachments import read_text
from anabranch.graph.source.index import stamp_of
from anabranch.graph.source.yaml_source import read_yaml
from anabranch.settings import Settings
from anabranch.testkit.coverage import Coverage
from anabranch.testkit.file import SUFFIXES, TestFile, read_test_file
from anabranch.testkit.results import FileResult, Session
from anabranch.testkit.rules import rule_evaluator

_KEPT: Final = 64


class TestRuns:
    """Plays the tests of graphs, and keeps what came of it while the files stay as they are."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: OrderedDict[tuple[object, ...], dict[str, Any]] = OrderedDict()
        self._turn = threading.Lock()

    async def of(self, graph: Shelved) -> dict[str, Any]:
        """The results of the tests of a graph, and what they cover; none where it has no tests."""
        return await asyncio.to_thread(self._of, graph)

    def _of(self, graph: Shelved) -> dict[str, Any]:
        files = _tests_of(graph.file, self._settings.graphs)
        key = (graph.file, *((path, stamp_of(path)) for path in (graph.file, *files)))
        with self._turn:  # they keep a processor busy: one graph's at a time
            if key not in self._kept:
                self._kept[key] = self._played(files)
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            return self._kept[key]

    def _played(self, files: list[Path]) -> dict[str, Any]:
        tests, problems = _read(files)
        if not tests:
            return {"tests": 0, "failed": [], "problems": problems, "shares": {}}
        with rule_evaluator(self._settings) as evaluate:
            session = Session(evaluate)
            results = [session.run(each) for each in tests]
        return {
            "tests": sum(len(each.results) for each in results),
            "failed": _failed(results),
            "problems": problems,
            "shares": _shares(list(session.coverage.values())),
        }


def _tests_of(graph: Path, folder: Path) -> list[Path]:
    """The test files below a folder that are of a graph."""
    found = sorted(path for path in folder.rglob("*") if path.name.endswith(SUFFIXES) and path.is_file())
    return [path for path in found if (named := _graph_of(path)) is not None and named == graph.resolve()]


def _graph_of(path: Path) -> Path | None:
    """The file of the graph that a test file names; None where that cannot be made out."""
    try:
        value = read_yaml(read_text(path, str(path)), str(path)).value
    except AnabranchError:
        return None
    name = value.get("graph") if isinstance(value, dict) else None
    return (path.parent / name).resolve() if isinstance(name, str) else None


def _read(files: list[Path]) -> tuple[list[TestFile], list[str]]:
    """The test files, and why some cannot be read."""
    tests: list[TestFile] = []
    problems: list[str] = []
    for path in files:
        try:
            tests.append(read_test_file(path))
        except AnabranchError as error:
            problems.append(str(error))
    return tests, problems


def _failed(results: list[FileResult]) -> list[dict[str, str]]:
    return [
        {"name": result.case.name, "place": str(result.place)}
        for each in results
        for result in each.results
        if not result.passed
    ]


def _shares(coverage: list[Coverage]) -> dict[str, Any]:
    """How much of each kind the tests cover; they are all of one graph."""
    return {
        kind: {"covered": share.covered, "total": share.total, "missing": list(share.missing)}
        for each in coverage
        for kind, share in each.shares().items()
    }
