"""The reference lists everything that there is, and its expressions have the values shown."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import AliasChoices
from typer.core import TyperGroup
from typer.main import get_command

from anabranch.cli.main import app
from anabranch.graph.expressions import cost
from anabranch.graph.expressions.expressions import MAX_SOURCE, compile_expression
from anabranch.graph.expressions.functions import catalogue
from anabranch.graph.model import NODE_TYPES
from anabranch.limits import RUN_LIMITS
from anabranch.settings import Settings
from tests.docs.pages import blocks, pages

EXPRESSIONS = "docs/expressions.md"
FUNCTIONS = "docs/functions.md"
LANGUAGE = "docs/graph-language.md"
OPERATIONS = "docs/operations.md"
_CODE = re.compile(r"`[^`\n]+`|^\$ .*$", re.MULTILINE)
_ROW = re.compile(r"^\| `(.+)` \| `(.+)` \|$", re.MULTILINE)
ROWS = [(source.replace(r"\|", "|"), value) for source, value in _ROW.findall(pages()[EXPRESSIONS])]


@pytest.fixture(scope="module")
def context() -> Any:
    (block,) = [block for block in blocks("json") if block.page == EXPRESSIONS]
    return json.loads(block.text)


@pytest.mark.parametrize(("source", "value"), ROWS)
def test_an_expression_of_the_reference_has_the_value_shown(context: Any, source: str, value: str) -> None:
    found = compile_expression(source).evaluate(context, {"run": {}})
    assert json.dumps(found) == json.dumps(json.loads(value))


def section(page: str, heading: str) -> str:
    return re.split(r"^## ", pages()[page].partition(f"## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def test_the_page_of_functions_has_each_with_its_examples() -> None:
    page = pages()[FUNCTIONS]
    headings = [line.removesuffix(" *") for line in re.findall(r"^### (.+)$", page, re.MULTILINE)]
    assert headings == list(catalogue.CATALOGUE)
    shown = [" => ".join(row).replace(r"\|", "|") for row in _ROW.findall(page)]
    assert shown == [each for function in catalogue.CATALOGUE.values() for each in function.examples]


def test_both_pages_evaluate_on_the_context_that_they_show(context: Any) -> None:
    (block,) = [block for block in blocks("json") if block.page == FUNCTIONS]
    assert json.loads(block.text) == context == catalogue.EXAMPLE


def test_the_limits_of_expressions_are_those_of_the_code() -> None:
    limits = section(EXPRESSIONS, "Limits")
    assert f"| characters of one expression | {MAX_SOURCE:,} |" in limits
    assert f"| iterations of all loops of one evaluation | {cost.MAX_TURNS:,} |" in limits
    assert f"| characters and elements that an evaluation builds, or returns | {cost.MAX_BUILT >> 20} MiB |" in limits
    assert f"| cost of what a node evaluates in an activity, in units | {cost.COST_LIMIT:,} |" in limits
    assert f"starts, or ends, in units | {RUN_LIMITS.step_units:,} |" in limits


def test_the_guide_links_the_page_of_every_node_type() -> None:
    own, _, _ = section(LANGUAGE, "Node types").partition("\n### ")  # the rest has tables of other things
    assert set(re.findall(r"\(reference/(\w+)\.md\)", own)) == set(NODE_TYPES)


def test_the_operations_guide_has_every_setting_with_its_default() -> None:
    table = [line.split("|")[1:3] for line in section(OPERATIONS, "A worker").splitlines() if line.startswith("| `")]
    documented = {name: default.strip() for names, default in table for name in re.findall(r"`([A-Z_]+)`", names)}
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        name = str(alias.choices[0] if isinstance(alias, AliasChoices) else alias)
        default = "" if field.default in (None, (), {}) else str(field.default)
        if isinstance(field.default, tuple):
            default = ", ".join(field.default)
        found = documented[name].strip("`")
        switch = "off" if field.default is False else default
        assert found in {default, default.lower(), switch, "REDIS_URL", "the worker's own"}, name


def test_every_command_and_option_that_a_page_names_exists() -> None:
    main = get_command(app)
    assert isinstance(main, TyperGroup)
    unknown = []
    for page, text in pages().items():
        for line in re.findall(r"(?<!from )\banabranch ([a-z][a-z-]*(?: [^`\n|#&]*)?)", "\n".join(_CODE.findall(text))):
            name, *words = line.split()
            command = main.commands.get(name)
            options = {
                option for each in (command.params if command else ()) for option in (*each.opts, *each.secondary_opts)
            }
            unknown += [
                f"{page}: {name} {word}" for word in words if word.startswith("-") and word not in options | {"--help"}
            ]
            unknown += [f"{page}: {name}"] if command is None else []
    assert unknown == []
