"""What `anabranch test` prints: a line for each test, differences with places, coverage, the matrix of failures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import ndiff

from rich.table import Table
from rich.text import Text

from anabranch.cli.report import out
from anabranch.context.values import Json, Missing
from anabranch.display import plain
from anabranch.errors import SourceLocation
from anabranch.testkit.coverage import Share
from anabranch.testkit.expectations import Mismatch
from anabranch.testkit.matrix import MatrixRow
from anabranch.testkit.results import FileResult, Result

_COLOURS = {"completed": "green", "failed": "red", "cancelled": "yellow", "paused": "yellow"}


def show_file(found: FileResult) -> None:
    """Print the results of one file. Of the matrix, what an earlier test of the file has shown is left out."""
    screen, shown = out(), set[MatrixRow]()
    screen.print(Text.assemble((plain(found.file.path), "bold"), ("  " + found.file.plan.graph.name, "dim")))
    for result in found.results:
        screen.print(_line(result))
        for line in _why(result):
            screen.print(line)
        if rows := [row for row in result.matrix if row not in shown]:
            screen.print(_matrix(rows), soft_wrap=False)
            shown.update(rows)


def show_coverage(name: str, shares: Mapping[str, Share]) -> None:
    """Print what the tests of one graph went through, and what they did not."""
    counts = ", ".join(f"{share.covered}/{share.total} {kind}" for kind, share in shares.items())
    whole = not any(share.missing for share in shares.values())
    out().print(Text.assemble("coverage of ", (plain(name), "bold"), ": ", (counts, "green" if whole else "yellow")))
    for kind, share in shares.items():
        for missing in share.missing:
            out().print(Text(f"  no test of {kind.removesuffix('s')}: {plain(missing)}", "yellow"))


def show_sum(passed: int, failed: int) -> None:
    """Print how many tests passed and failed."""
    failures = f", {failed} failed" if failed else ""
    out().print(Text.assemble((f"{passed} passed", "green" if passed else ""), (failures, "bold red")))


def result_object(result: Result) -> dict[str, Json]:
    """The result of one test for other programs."""
    described: dict[str, Json] = {
        "name": result.case.name,
        "status": "passed" if result.passed else "error" if result.error else "failed",
        "line": result.place.line,
    }
    if result.error is not None:
        described["error"] = {"code": result.error.code, "message": str(result.error)}
    described["mismatches"] = [_mismatch_object(place, each) for place, each in result.mismatches]
    if result.matrix:
        described["fail_each_node"] = [row.to_json_object() for row in result.matrix]
    return described


def share_object(share: Share) -> dict[str, Json]:
    """Coverage of one kind for other programs."""
    return {"covered": share.covered, "total": share.total, "missing": [*share.missing]}


def _mismatch_object(place: SourceLocation, mismatch: Mismatch) -> dict[str, Json]:
    described: dict[str, Json] = {"line": place.line, "column": place.column, "what": mismatch.what}
    values = {"expected": mismatch.expected, "actual": mismatch.actual}
    return described | {name: value for name, value in values.items() if not isinstance(value, Missing)}


def _line(result: Result) -> Text:
    mark = ("  ✔ ", "green") if result.passed else ("  ✘ ", "bold red")
    return Text.assemble(mark, (plain(result.case.name), "" if result.passed else "bold"))


def _why(result: Result) -> Iterator[Text]:
    if (error := result.error) is not None:
        yield Text.assemble(f"      {plain(result.place)}: ", (plain(f"{error.code}: {error}"), "red"))
    for place, mismatch in result.mismatches:
        yield Text.assemble(f"      {plain(place)}: ", (plain(mismatch.what), "bold"))
        for line in _difference(mismatch):
            yield Text(
                plain(f"        {line}"), "green" if line.startswith("+") else "red" if line[0] == "-" else "dim"
            )


def _difference(mismatch: Mismatch) -> Iterator[str]:
    """`-` is what the test expects, `+` what came out."""
    expected, actual = mismatch.expected, mismatch.actual
    if isinstance(expected, list) and isinstance(actual, list):
        lines = ndiff([_json(each) for each in expected], [_json(each) for each in actual])
        yield from (line for line in lines if not line.startswith("?"))
    else:
        yield f"- {_json(expected)}"
        yield f"+ {_json(actual)}"


def _json(value: Json | Missing) -> str:
    return "(not there)" if isinstance(value, Missing) else json.dumps(value, ensure_ascii=False)


def _matrix(rows: list[MatrixRow]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", width=4)
    for title in ("if this node", "ends in", "the run is", "undone, in this order", "not undone"):
        table.add_column(title, overflow="fold", no_wrap=title == "ends in")
    for row in rows:
        left = Text(plain(", ".join(row.left)), "yellow")
        status = Text(row.status, _COLOURS.get(row.status, ""))
        table.add_row("", plain(row.node), row.outcome, status, plain(", ".join(row.undone)), left)
    return table
