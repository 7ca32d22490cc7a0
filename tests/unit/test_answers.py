"""What the words of a command make of an answer, and of a choice."""

from __future__ import annotations

from typing import Any

import pytest

from anabranch.cli.answers import Answer, Choice
from anabranch.context.values import Json
from anabranch.errors import InputError
from anabranch.steering.waiting import Approval, OpenConflict

YES: dict[str, Any] = {"type": "boolean"}


def asking(schema: dict[str, Json] | None) -> Approval:
    return Approval("ask", "Ship?", schema, 0, None)


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"type": "boolean"}, True),
        ({"properties": {"approved": YES}}, {"approved": True}),
        ({"properties": {"approved": YES, "note": {"type": "string"}}}, {"approved": True}),
        ({"properties": {"approved": YES, "urgent": YES}, "required": ["approved"]}, {"approved": True}),
    ],
)
def test_yes_is_the_one_boolean_of_the_schema(schema: dict[str, Json], answer: Json) -> None:
    assert Answer(None, verdict=True, pairs=()).value(asking(schema)) == answer


@pytest.mark.parametrize(
    "schema", [None, {}, {"properties": {"a": YES, "b": YES}}, {"properties": {"a": YES, "b": YES}, "required": ["c"]}]
)
def test_yes_is_refused_where_the_schema_has_no_single_boolean(schema: dict[str, Json] | None) -> None:
    with pytest.raises(InputError, match="its schema has no single boolean") as refused:
        Answer(None, verdict=True, pairs=()).value(asking(schema))
    assert refused.value.place == "node 'ask'"


def test_pairs_set_paths_beside_a_verdict() -> None:
    given = Answer(None, verdict=False, pairs=("by.name=Ada", "count=9007199254740993"))
    assert given.value(asking({"properties": {"approved": YES}})) == {
        "approved": False,
        "by": {"name": "Ada"},
        "count": 9007199254740993,
    }
    with pytest.raises(InputError, match="a single yes or no"):
        given.value(asking({"type": "boolean"}))
    with pytest.raises(InputError, match="'approved' is not `key=value`"):
        Answer(None, verdict=None, pairs=("approved",)).value(None)


def test_a_whole_answer_is_any_json() -> None:
    assert Answer("null", verdict=None, pairs=()).value(None) is None
    assert Answer("[1]", verdict=None, pairs=()).value(None) == [1]
    for text in ("{approved", "NaN", "[" * 100_000):
        with pytest.raises(InputError, match="this is not JSON"):
            Answer(text, verdict=None, pairs=()).value(None)


@pytest.mark.parametrize(("name", "choice"), [("1", 1), ("2", "2"), ("left", "left"), ("-1", "-1")])
def test_a_choice_is_a_writer_s_name_else_an_index(name: str, choice: Json) -> None:
    conflict = OpenConflict("join", "x", ("left", "2"), {})
    assert Choice(name, None, is_removed=False).request(conflict) == {"choose": choice}


def test_a_choice_may_be_another_value_or_that_the_key_is_removed() -> None:
    assert Choice(None, "null", is_removed=False).request(None) == {"value": None}
    assert Choice(None, None, is_removed=True).request(None) == {"remove": True}
    assert Choice(None, None, is_removed=False).request(None) == {}
