"""A test file, read and checked against its graph: all of its problems are reported at once, each with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from anabranch.context.values import Json
from anabranch.errors import AnabranchError, GraphError, InputError, Problem
from anabranch.graph.load import LoadedGraph, load_graph
from anabranch.graph.plan import Plan, plan_graph
from anabranch.graph.source.attachments import read_text
from anabranch.graph.source.files import json_object, mapping
from anabranch.graph.source.problems import shape_problems
from anabranch.graph.source.yaml_source import Source, read_yaml
from anabranch.testkit.checks import case_problems, outcome_problems
from anabranch.testkit.model import Case, Cases

SUFFIXES = (".test.yaml", ".test.yml")


@dataclass(frozen=True, slots=True)
class TestFile:
    """Tests of one graph. `data` are the inputs of its cases, in order."""

    __test__ = False  # for pytest: not a class of tests

    path: Path
    cases: Cases
    source: Source
    loaded: LoadedGraph
    plan: Plan
    data: tuple[dict[str, Json], ...]


def test_files(paths: list[Path]) -> list[Path]:
    """The test files of the paths: a folder means every `*.test.yaml` in it and below. Raises InputError."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(each for each in path.rglob("*") if each.name.endswith(SUFFIXES) and each.is_file())
        if not inside:
            raise InputError("the folder has no `*.test.yaml` file", place=str(path), suggestion="name a test file")
        found += inside
    return list(dict.fromkeys(found))


def read_test_file(path: Path) -> TestFile:
    """The tests of a file, and their graph. Raises GraphError listing all problems of either."""
    source = read_yaml(read_text(path, str(path)), str(path))
    cases = _cases(source)
    loaded = load_graph(path.parent / cases.graph)
    plan = plan_graph(loaded.graph, loaded.graphs)
    problems = [*_twice(cases, source), *outcome_problems(cases.outcomes, ("outcomes",), plan, source)]
    data: list[dict[str, Json]] = []
    for index, case in enumerate(cases.tests):
        problems += case_problems(case, ("tests", index), plan, source)
        try:
            data.append(_data(case, path.parent))
        except AnabranchError as error:
            place = source.place(("tests", index, "input"))
            problems.append(Problem(error.code, str(error), place))
    if problems:
        raise GraphError(tuple(problems))
    return TestFile(path, cases, source, loaded, plan, tuple(data))


def _cases(source: Source) -> Cases:
    problems: tuple[Problem, ...] = ()
    try:
        return Cases.model_validate(source.value)
    except ValidationError as error:
        problems = shape_problems(error, source, model=Cases, whole="the test file")
    raise GraphError(problems)


def _data(case: Case, folder: Path) -> dict[str, Json]:
    if not isinstance(case.input, str):
        return dict(case.input)
    path = folder / case.input
    return json_object(str(path)) if path.suffix == ".json" else dict(mapping(path))


def _twice(cases: Cases, source: Source) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, case in enumerate(cases.tests):
        if (first := seen.setdefault(case.name, index)) != index:
            line = source.place(("tests", first, "name")).line
            message = f"two tests are named {case.name!r}; the first one is in line {line}"
            yield Problem("TEST_NAME_TAKEN", message, source.place(("tests", index, "name")))
