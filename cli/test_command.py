"""`anabranch test`: run test files and print their results; the exit code says whether all passed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anabranch.cli.report import err, out, show_error, show_finding, show_problems
from anabranch.cli.test_report import result_object, share_object, show_coverage, show_file, show_sum
from anabranch.display import plain, plain_json
from anabranch.errors import AnabranchError
from anabranch.preflight.handlers import handler_warnings
from anabranch.settings import Settings
from anabranch.testkit.coverage import Share
from anabranch.testkit.file import TestFile, read_test_file, test_files
from anabranch.testkit.results import FileResult, Session
from anabranch.testkit.rules import rule_evaluator


@dataclass(frozen=True, slots=True)
class TestOptions:
    """What `anabranch test` was asked for."""

    fail_each_node: bool
    min_coverage: float | None
    as_json: bool


def run_tests(paths: list[Path], settings: Settings, options: TestOptions) -> int:
    """Run the tests of files and folders and print the results; returns the exit code."""
    files, unreadable = _read(test_files(paths))
    _warn(files, settings.imports)
    results: list[FileResult] = []
    with rule_evaluator(settings) as evaluate:
        session = Session(evaluate, options.fail_each_node)
        for file in files:
            with err().status(plain(file.path)):
                results.append(session.run(file))
            if not options.as_json:
                show_file(results[-1])
    shares = {_named(name): coverage.shares() for name, coverage in session.coverage.items()}
    outcomes = [result.passed for found in results for result in found.results]
    if options.as_json:
        _print_json(results, shares, unreadable)
    else:
        out().print()
        for name, each in shares.items():
            show_coverage(name, each)
        show_sum(outcomes.count(True), outcomes.count(False))
    enough = _covered_enough(shares, options.min_coverage)
    return 0 if all(outcomes) and enough and not unreadable else 1


def _read(paths: list[Path]) -> tuple[list[TestFile], dict[str, AnabranchError]]:
    """The files that can be read; what is wrong with the others is printed at once."""
    files: list[TestFile] = []
    unreadable: dict[str, AnabranchError] = {}
    for path in paths:
        try:
            files.append(read_test_file(path))
        except AnabranchError as error:
            show_error(error)
            unreadable[str(path)] = error
    return files, unreadable


def _warn(files: list[TestFile], imports: Sequence[str]) -> None:
    """Print what the imported modules lack of each graph, once."""
    for file in {file.loaded.source.file: file for file in files}.values():
        show_problems(handler_warnings(file.loaded, imports))


def _covered_enough(shares: dict[str, dict[str, Share]], least: float | None) -> bool:
    enough = True
    for name, kinds in shares.items() if least is not None else ():
        for kind, share in kinds.items():
            if least is not None and share.percent < least:
                enough = False
                text = f"the tests cover {share.percent:.0f} % of the {kind}, under {least:g} %"
                show_finding("COVERAGE_TOO_LOW", name, text)
    return enough


def _named(path: str) -> str:
    """The path from here, where it lies below."""
    here = Path.cwd()
    found = Path(path)
    return str(found.relative_to(here)) if found.is_relative_to(here) else path


def _print_json(
    results: list[FileResult], shares: dict[str, dict[str, Share]], unreadable: dict[str, AnabranchError]
) -> None:
    report: dict[str, Any] = {
        "files": [
            {"file": str(found.file.path), "tests": [result_object(result) for result in found.results]}
            for found in results
        ],
        "unreadable": [{"file": name, "code": each.code, "message": str(each)} for name, each in unreadable.items()],
        "coverage": {
            name: {kind: share_object(share) for kind, share in kinds.items()} for name, kinds in shares.items()
        },
    }
    out().file.write(plain_json(json.dumps(report, indent=2, ensure_ascii=False)) + "\n")
