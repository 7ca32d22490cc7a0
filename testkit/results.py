"""The results of the tests of a file, what they covered, and the matrix of failures."""

from __future__ import annotations

from dataclasses import dataclass, field

from anabranch.errors import AnabranchError, SourceLocation
from anabranch.testkit.coverage import Coverage
from anabranch.testkit.expectations import Mismatch, mismatches
from anabranch.testkit.file import TestFile
from anabranch.testkit.matrix import MatrixRow, fail_each_node
from anabranch.testkit.model import Case
from anabranch.testkit.play import Evaluate, Script, play


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one test. `error` is why it could not be played to the end."""

    case: Case
    place: SourceLocation
    mismatches: tuple[tuple[SourceLocation, Mismatch], ...] = ()
    error: AnabranchError | None = None
    matrix: tuple[MatrixRow, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether everything is as the test expects."""
        return self.error is None and not self.mismatches


@dataclass(frozen=True, slots=True)
class FileResult:
    """The results of the tests of one file, in order."""

    file: TestFile
    results: tuple[Result, ...]


@dataclass(slots=True)
class Session:
    """Runs test files and sums up what they cover, by the graph's file."""

    evaluate: Evaluate
    fail_each_node: bool = False
    coverage: dict[str, Coverage] = field(default_factory=dict)

    def run(self, file: TestFile) -> FileResult:
        """Run every test of a file."""
        name = str((file.path.parent / file.cases.graph).resolve())
        coverage = self.coverage.setdefault(name, Coverage(file.plan))
        return FileResult(file, tuple(self._run(file, index, coverage) for index in range(len(file.cases.tests))))

    def _run(self, file: TestFile, index: int, coverage: Coverage) -> Result:
        case = file.cases.tests[index]
        at, place_of = ("tests", index), file.source.place
        place = place_of((*at, "name"))
        script = Script.of(case, file.data[index], file.cases.outcomes, assume=file.cases.assume)
        try:
            played = play(file.plan, script, self.evaluate)
            coverage.add(played)
            rows = fail_each_node(file.plan, script, played.path, self.evaluate) if self.fail_each_node else ()
            found = tuple((place_of((*at, *each.at)), each) for each in mismatches(case, played))
            return Result(case, place, found, matrix=tuple(rows))
        except AnabranchError as error:
            return Result(case, place, error=error)
