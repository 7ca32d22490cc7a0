"""The pages of docs/reference/ as Markdown: from the models, the records of the node types, and the examples."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from anabranch.graph.docstrings import field_docstrings
from anabranch.graph.fields import Model
from anabranch.graph.kinds.kind import NodeKind, Runs
from anabranch.graph.kinds.kinds import kind_named
from anabranch.graph.model import BaseNode
from tools.reference.examples import of_page, templates
from tools.reference.language import EVERY_NODE, FILE, Page, own_fields, pages
from tools.reference.shapes import Named, default, is_of_parts, shape

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"
GUIDE = "../graph-language.md"
_SPELLINGS = {"Grpc": "gRPC", "Tls": "TLS"}
_DONE_BY = {
    Runs.HANDLER: "a handler of the worker, as an activity",
    Runs.ACTIVITY: "an activity of any worker",
    Runs.RUN: "the run itself",
}
_HELP = next(each.default for each in fields(NodeKind) if each.name == "outcome_help")
_TITLES = {EVERY_NODE: "Fields of every node", FILE: "The file"}
_WRITTEN = ["This page is written by `make docs`, from the models and the files of `docs/reference/examples/`.", ""]


def reference() -> Mapping[Path, str]:
    """All pages by their paths."""
    every = tuple(pages())
    found = {FOLDER / f"{page.name}.md": "\n".join(_page(page, every)) for page in every}
    return {FOLDER / "README.md": "\n".join(_index(every)), **found}


def _index(every: tuple[Page, ...]) -> Iterator[str]:
    yield from ("# Reference of the graph language", "")
    yield from ("Every field, with what it may hold, its default and an example that a test runs.", "")
    yield f"[The guide]({GUIDE}) explains how they work together."
    yield from ("`anabranch schema` prints the same facts as a JSON Schema, for editors.", "")
    yield from ("| page | |", "|---|---|")
    for page in every:
        yield f"| [{_TITLES.get(page.name) or f'`{page.name}`'}]({page.name}.md) | {_cell(_first(page.model))} |"
    yield "| [Functions](../functions.md) | Of expressions and templates, each with examples. |"
    yield "| [Expressions](../expressions.md) | Operators, numbers, limits. |"
    yield from ("| [Problems](../problems.md) | What `validate` finds. |", "")
    yield from ("## How to read the tables", "")
    yield "A field is *evaluated* as"
    yield from ("", "- an **expression**: the text is CEL, such as `total > 100`;")
    yield "- a **template**: texts, also those inside of lists and objects, may hold `{{ expression }}`;"
    yield from ("- a **literal**: it is taken as it is written.", "")
    yield "A *duration* is `250ms`, `30s`, `5m`, `24h`, `2d`, `1m30s` or a number of seconds."
    yield from ("*name → …* is a mapping of YAML; a *list* is one in brackets or of lines with dashes.", "")
    yield from _WRITTEN


def _page(page: Page, every: tuple[Page, ...]) -> Iterator[str]:
    yield from (f"# {_title(page)}", "", *_sentences(page.model), "")
    if issubclass(page.model, BaseNode) and page.model is not BaseNode:
        yield from _facts(kind_named(page.name))
    yield from _table(page.model, page, every)
    for part in page.parts:
        yield from (f"## {_heading(part)}", "", *_sentences(part), "", *_table(part, page, every))
    found = of_page(page.name, frozenset(each.name for each in every))
    yield from ("## Examples" if len(found) > 1 else "## Example", "")
    for example in found:
        yield from example.shown()
    yield from _WRITTEN


def _facts(kind: NodeKind[Any]) -> Iterator[str]:
    effect = "as its fields say" if callable(kind.effect) else "yes" if kind.effect else "no"
    if kind.runs is Runs.RUN and kind.effect is True:
        effect = "what the nodes inside have"
    yield f"- **Done by** {_DONE_BY[kind.runs]}."
    yield f"- **Has an [effect]({GUIDE}#effects)**: {effect}."
    yield f"- **May [compensate](../execution.md#saga)** another node: {'no' if kind.runs is Runs.RUN else 'yes'}."
    if kind.outcomes or kind.outcome_help != _HELP:
        yield f"- **In tests**: {kind.outcome_help}."
    yield from (f"- **In the guide**: [{kind.name}]({GUIDE}#{_anchor(kind.name)}).", "")


def _table(model: type[Model], page: Page, every: tuple[Page, ...]) -> Iterator[str]:
    described = field_docstrings(model)
    links = _links(page, every)
    rows = [
        f"| `{name}` | {_cell(_holds(model, attribute, links))} "
        f"| {_evaluated(model, attribute)} | {_cell(default(model.model_fields[attribute]))} "
        f"| {_cell(described[attribute])} |"
        for name, attribute in own_fields(model).items()
    ]
    if rows:
        yield from ("| field | holds | evaluated as | default | meaning |", "|---|---|---|---|---|", *rows, "")


def _links(page: Page, every: tuple[Page, ...]) -> Named:
    places = {part: f"{each.name}.md" for each in every for part in (each.model, *each.parts)}

    def link(part: type[Model]) -> str:
        file = "" if places[part] == f"{page.name}.md" else places[part]
        return f"[{_words(part)}]({file}#{_words(part).lower().replace(' ', '-')})"

    return link


def _holds(model: type[Model], attribute: str, links: Named) -> str:
    if attribute == "type":
        return "one of the [node types](README.md)"  # each model says its own
    return shape(model.model_fields[attribute], links)


def _evaluated(model: type[Model], attribute: str) -> str:
    field = model.model_fields[attribute]
    if "expression" in shape(field, lambda _: ""):
        return "expression"
    if (model, attribute) in templates():
        return "template"
    return "" if is_of_parts(field.annotation) else "literal"


def _words(part: type[Model]) -> str:
    """`CircuitBreaker` as one says it."""
    words: list[str] = re.findall(r"[A-Z][a-z]+", part.__name__.removesuffix("Spec"))
    return " ".join(_SPELLINGS.get(each) or each.lower() for each in words)


def _heading(part: type[Model]) -> str:
    words = _words(part)
    return words if words.startswith(tuple(_SPELLINGS.values())) else words[0].upper() + words[1:]


def _title(page: Page) -> str:
    return _TITLES.get(page.name) or f"The node type `{page.name}`"


def _anchor(name: str) -> str:
    """The heading of the guide that names a node type."""
    text = (ROOT / "docs" / "graph-language.md").read_text(encoding="utf-8")
    found = [each for each in re.findall(r"^### (.+)$", text, re.MULTILINE) if name in re.findall(r"\w+", each)]
    return re.sub(r"[^\w\- ]", "", found[0].lower()).replace(" ", "-")


def _first(model: type[Model]) -> str:
    return next(iter(_sentences(model)))


def _sentences(model: type[Model]) -> Iterator[str]:
    text = " ".join((inspect.getdoc(model) or "").partition("\n\n")[0].split())
    yield from re.split(r"(?<=[^.\d][.!?]) +(?=[A-Z`])", text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
