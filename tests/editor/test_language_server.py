"""`anabranch lsp`, driven by a client of another project through sessions of edits."""

from __future__ import annotations

import asyncio
import random
import re
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio
from lsprotocol import types
from typer.testing import CliRunner

from anabranch.cli.main import app
from tests.editor.editing import AT_ONCE, COMMAND, Editor, editor
from tests.editor.graphs import GRAPHS
from tests.editor.test_proposals import MEANINGS, PLACES, marked

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDER = """\
name: order
nodes:
  check:
    type: rule
    rules:
      - when: quantity > 0
        then: {accepted: true}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def typing() -> AsyncGenerator[Editor]:
    """An editor with one server for all tests, which checks at once."""
    async with editor(*AT_ONCE) as found:
        yield found


_LINE = re.compile(r"(error|warning)\[(\w+)\]: (?:(\S+?):(\d+):(\d+): )?(.*)")


def validated(path: Path) -> list[tuple[str, str, int, int, str]]:
    """What `anabranch validate` says of a file: level, code, line, column, message with its help."""
    lines = CliRunner().invoke(app, ["validate", str(path)]).output.splitlines()
    found: list[tuple[str, str, int, int, str]] = []
    for line in lines:
        if (match := _LINE.fullmatch(line)) is not None:
            level, code, _, number, column, message = match.groups()
            found.append((level, code, int(number or 1), int(column or 1), message))
        elif line.startswith("  help: ") and found:
            found[-1] = (*found[-1][:4], f"{found[-1][4]}\n{line.strip()}")
    return found


def shown(problems: list[types.Diagnostic]) -> list[tuple[str, str, int, int, str]]:
    """The same of what an editor shows."""
    levels = {types.DiagnosticSeverity.Error: "error", types.DiagnosticSeverity.Warning: "warning"}
    return [
        (
            levels[each.severity or types.DiagnosticSeverity.Error],
            str(each.code),
            each.range.start.line + 1,
            each.range.start.character + 1,
            each.message,
        )
        for each in problems
    ]


async def test_a_session_of_edits_shows_at_each_of_them_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "order.yaml"
    async with editor(*COMMAND) as typing:
        typing.write(path, "na")
        assert await typing.problems(path) == []  # no graph yet
        typing.write(path, ORDER.replace("when", "whne"))
        assert [each.code for each in await typing.problems(path)] == ["FIELD_UNKNOWN"]
        typing.write(path, ORDER.replace("{accepted: true}", "{accepted: tr"))
        assert [each.code for each in await typing.problems(path)] == ["YAML_SYNTAX"]
        typing.write(path, ORDER + "edges:\n  - {from: check, to: chek}\n")
        (problem,) = await typing.problems(path)
        assert problem.code == "EDGE_UNKNOWN_NODE"
        assert problem.range == types.Range(types.Position(8, 22), types.Position(8, 26))
        assert problem.message.endswith("help: did you mean `check`?")
        before = len(typing.published)
        for length in range(12, len(ORDER), 9):
            typing.write(path, ORDER[:length])
        typing.write(path, ORDER)
        assert await typing.problems(path) == []
        assert len(typing.published) == before + 1  # of texts that follow fast only the last one is checked


def variants(original: Path, chance: random.Random) -> list[str]:
    """The text of a file as it is, cut off, without a line, and with a typing error."""
    text = original.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    del lines[chance.randrange(len(lines))]
    return [text, text[: chance.randrange(len(text) // 2, len(text))], "".join(lines), text.replace(": ", ":", 1)]


async def compare(typing: Editor, original: Path, folder: Path, text: str) -> None:
    """Show a text beside the files of a graph, for what it names, and have `validate` judge the same."""
    for other in original.parent.iterdir():
        if other.is_file() and other != original:
            (folder / other.name).write_bytes(other.read_bytes())
    path = folder / f"{original.stem}_{uuid.uuid4().hex}.yaml"
    path.write_text(text, encoding="utf-8")
    typing.write(path, text)
    if re.search("^nodes:", text, re.MULTILINE):
        assert shown(await typing.problems(path)) == validated(path), text


@pytest.mark.parametrize("original", GRAPHS, ids=lambda path: path.stem)
async def test_what_is_shown_is_what_validate_says(typing: Editor, original: Path, tmp_path: Path) -> None:
    chance = random.Random(original.stem)
    await compare(typing, original, tmp_path, chance.choice(variants(original, chance)))


@pytest.mark.slow
@pytest.mark.parametrize("original", GRAPHS, ids=lambda path: path.stem)
async def test_what_is_shown_while_a_graph_is_typed_is_what_validate_says(
    typing: Editor, original: Path, tmp_path: Path
) -> None:
    chance = random.Random(original.stem)
    for variant in [each for _ in range(2) for each in variants(original, chance)]:
        await compare(typing, original, tmp_path, variant)


async def test_each_place_is_completed_and_explained_over_the_protocol_too(typing: Editor, tmp_path: Path) -> None:
    """One document, edited from place to place."""
    path = tmp_path / "order.yaml"
    wrong: list[str] = []
    for name, (text, proposed, not_proposed) in PLACES.items():
        whole, line, column = marked(text)
        typing.write(path, whole)
        found = await typing.complete(path, line, column)
        if proposed not in found or not_proposed in found:
            wrong.append(f"completion of {name}: {found}")
    for name, (text, said) in MEANINGS.items():
        whole, line, column = marked(text)
        typing.write(path, whole)
        if said not in (shown := await typing.hover(path, line, column)):
            wrong.append(f"hover on {name}: {shown}")
    assert wrong == []
    assert min(len(PLACES), len(MEANINGS)) >= 20


async def test_columns_are_counted_as_the_client_does(typing: Editor, tmp_path: Path) -> None:
    path = tmp_path / "order.yaml"
    text = ORDER.replace("{accepted: true}", '{"😀": "{{ quantity + }}"}')
    typing.write(path, text)
    (problem,) = await typing.problems(path)
    line = text.splitlines()[problem.range.start.line]
    before = line.encode("utf-16-le")[: problem.range.start.character * 2].decode("utf-16-le")
    assert line[len(before) :].lstrip().startswith("}}")


async def test_the_problems_of_another_file_are_shown_where_it_is_named(typing: Editor, tmp_path: Path) -> None:
    (tmp_path / "rules.grl").write_text('rule "one" { when x > then y = 1; }')
    path = tmp_path / "order.yaml"
    text = "name: order\nnodes:\n  check: {type: rule, grl: rules.grl}\n"
    typing.write(path, text)
    (problem,) = await typing.problems(path)
    assert problem.range == types.Range(types.Position(2, 27), types.Position(2, 36))
    assert problem.related_information is not None
    (related,) = problem.related_information
    assert related.location.uri == (tmp_path / "rules.grl").as_uri()


async def test_definitions_lead_to_nodes_graphs_and_writers(typing: Editor, tmp_path: Path) -> None:
    (tmp_path / "parcel.yaml").write_text("name: parcel\nnodes: {a: {type: stop}}\n")
    path = tmp_path / "order.yaml"
    text = ORDER + "  send: {type: graph, graph: parcel}\nedges:\n  - {from: check, to: send, when: accepted}\n"
    typing.write(path, text)
    assert await typing.define(path, 9, 12) == [("order.yaml", 2, 2)]
    assert await typing.define(path, 9, 36) == [("order.yaml", 2, 2)]
    assert await typing.define(path, 7, 33) == [("parcel.yaml", 0, 0)]
    assert await typing.define(path, 0, 0) == []


async def test_symbols_are_the_nodes_and_those_inside_of_them(typing: Editor, tmp_path: Path) -> None:
    path = tmp_path / "loop.yaml"
    text = """\
name: loop
nodes:
  each:
    type: foreach
    items: orders
    body:
      nodes:
        one: {type: rule, rules: [{then: {a: 1}}]}
finally:
  nodes:
    last: {type: stop}
"""
    typing.write(path, text)
    found = await typing.symbols(path)
    tree = {each.name: [(node.name, node.detail) for node in each.children or ()] for each in found}
    assert tree == {"name": [], "nodes": [("each", "foreach")], "finally": [("last", "stop")]}
    assert [node.name for each in found for node in each.children or () for node in node.children or ()] == ["one"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (ORDER, ORDER),
        (ORDER.removesuffix("\n"), ORDER),
        (ORDER + "\n\n", ORDER),
        (ORDER.replace("  ", "    ").replace("- ", "-   "), ORDER),
        (ORDER.replace("type: rule", "type: rule  # 😀  "), ORDER.replace("type: rule", "type: rule  # 😀")),
        (ORDER + "edges: [", ORDER + "edges: ["),
    ],
    ids=range(6),
)
async def test_the_layout_is_the_usual_one_and_a_broken_text_keeps_its_own(
    typing: Editor, text: str, wanted: str, tmp_path: Path
) -> None:
    path = tmp_path / "order.yaml"
    typing.write(path, text)
    assert await typing.lay_out(path, text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "nodes: " + "[" * 5000,
        "nodes: " + "{a: " * 5000,
        "nodes:\n" + "".join(f"{' ' * depth}x:\n" for depth in range(600)),
        "nodes:\n  a: {type: rule, rules: [{when: '" + "(" * 9000 + "'}]}\n",
        "nodes:\n  a: &x {type: stop}\n  b: *x\n",
        "nodes:\n" + "  x" * 200_000,
        "nodes:\n  a: " + '"' + "\\" * 9999,
        "nodes:\n  \x00\x85\u2028: 1\n\ud7ff",
        "nodes:\n" + "- " * 3000,
        "nodes: {" + "a" * 250_000,
        "nodes: {a: " + "a'" * 120_000,
        "nodes:\n" + (" " * 4000 + "x\n") * 20,
        "nodes:\n" + "".join(f" n{number}:\n" for number in range(8_000)),
        "nodes:\n  a: {type: [rule], rules: 7, 5: {}}\nedges: {a: b}\ninputs: 3\ncontext: [1]\nfinally: x\n",
    ],
    ids=range(14),
)
async def test_a_hostile_document_is_answered_and_does_not_end_the_server(
    typing: Editor, text: str, tmp_path: Path
) -> None:
    path, other = tmp_path / "hostile.yaml", tmp_path / "order.yaml"
    typing.write(path, text)
    lines = text.splitlines()
    for line, character in ((len(lines) - 1, len(lines[-1])), (1, 3), (10**9, 10**9)):
        await typing.complete(path, line, character)
        await typing.hover(path, line, character)
        await typing.define(path, line, character)
    await typing.symbols(path)
    await typing.lay_out(path, text)
    assert await typing.problems(path) != []
    typing.write(other, ORDER)
    assert await typing.problems(other) == []
    assert "accepted" in await typing.hover(other, 2, 3)


async def test_a_request_may_be_cancelled(typing: Editor, tmp_path: Path) -> None:
    path = tmp_path / "order.yaml"
    typing.write(path, ORDER)
    asked = asyncio.ensure_future(typing.complete(path, 5, 8))
    await asyncio.sleep(0)
    typing.client.cancel_request(types.CancelParams(1))
    await asyncio.wait([asked])
    assert await typing.problems(path) == []


async def test_a_test_of_a_graph_is_no_graph(typing: Editor, tmp_path: Path) -> None:
    path = tmp_path / "order.test.yaml"
    typing.write(path, "graph: order.yaml\nnodes: []\n")
    assert await typing.problems(path) == []
