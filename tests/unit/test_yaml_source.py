"""YAML to plain values: what is read how, what is refused, and the place of everything."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.context.values import Json
from anabranch.errors import GraphError, SourceLocation
from anabranch.graph.source.yaml_source import MAX_BYTES, MAX_DEPTH, read_yaml
from tests.json_values import at, text


def value(text: str) -> Json:
    return read_yaml(text, "graph.yaml").value


def codes(text: str) -> list[tuple[str, str]]:
    with pytest.raises(GraphError) as caught:
        read_yaml(text, "graph.yaml")
    return [(problem.code, str(problem.place)) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("12:30:45", "12:30:45"),
        ("2026-01-31", "2026-01-31"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("18446744073709551615", 2**64 - 1),
        ("'12'", "12"),
        ('"\\ud83d\\ude00"', "😀"),
        ("1.2.3", "1.2.3"),
        ("=", "="),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, expected: Json) -> None:
    found = value(f"key: {text}")
    assert found == {"key": expected}
    assert type(at(found, "key")) is type(expected)


def test_json_with_tabs_is_read_like_json() -> None:
    text = '{\n\t"name": "x\\ty",\n\t"list": [1, 2.5, null, true]\n}'
    assert value(text) == json.loads(text)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc de", max_size=6), inner, max_size=4),
        max_leaves=12,
    )
)
def test_every_json_text_is_read_as_json_reads_it(data: Json) -> None:
    assert value(json.dumps({"data": data})) == {"data": data}


def test_a_byte_order_mark_is_skipped() -> None:
    assert value("\ufeffname: x") == {"name": "x"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2", [("YAML_DUPLICATE_KEY", "graph.yaml:2:1")]),
        (
            "a: {b: 1, b: 2, b: 3}",
            [("YAML_DUPLICATE_KEY", "graph.yaml:1:11"), ("YAML_DUPLICATE_KEY", "graph.yaml:1:17")],
        ),
        ("a: &x 1\nb: *x", [("YAML_ALIAS", "graph.yaml:1:4"), ("YAML_ALIAS", "graph.yaml:2:4")]),
        ("a: {<<: {b: 1}}", [("YAML_ALIAS", "graph.yaml:1:5")]),
        ("a: !!python/object/apply:os.system [x]", [("YAML_TAG", "graph.yaml:1:4")]),
        ("a: ! x", [("YAML_TAG", "graph.yaml:1:4")]),
        ("1: a", [("YAML_KEY", "graph.yaml:1:1")]),
        ("true: a", [("YAML_KEY", "graph.yaml:1:1")]),
        ("[a]: b", [("YAML_KEY", "graph.yaml:1:1")]),
        ("a: .nan", [("YAML_VALUE", "graph.yaml:1:4")]),
        ("a: -.inf", [("YAML_VALUE", "graph.yaml:1:4")]),
        ("a: 1e999", [("YAML_VALUE", "graph.yaml:1:4")]),
        ("a: 18446744073709551616", [("YAML_VALUE", "graph.yaml:1:4")]),
        (f"a: {'9' * 5000}", [("YAML_VALUE", "graph.yaml:1:4")]),
        ('a: "\\ud800"', [("YAML_VALUE", "graph.yaml:1:4")]),
        ('a: "\\0"', [("YAML_VALUE", "graph.yaml:1:4")]),
        ("a: 1\nb: \x07", [("YAML_SYNTAX", "graph.yaml:2:4")]),
        ("a: [1", [("YAML_SYNTAX", "graph.yaml:1:6")]),
        ("a: 1\n b: 2", [("YAML_SYNTAX", "graph.yaml:2:3")]),
        ("a: 1\n---\nb: 2", [("YAML_SYNTAX", "graph.yaml:2:1")]),
        ("", [("YAML_EMPTY", "graph.yaml:1:1")]),
        ("# nothing", [("YAML_EMPTY", "graph.yaml:1:1")]),
    ],
)
def test_what_is_not_plain_data_is_refused_where_it_stands(text: str, expected: list[tuple[str, str]]) -> None:
    assert codes(text) == expected


def test_nesting_is_bounded() -> None:
    assert value("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None
    assert codes("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2)) == [("YAML_TOO_DEEP", f"graph.yaml:1:{MAX_DEPTH + 2}")]


def test_size_is_bounded_in_bytes() -> None:
    fits = "a: " + "é" * (MAX_BYTES // 2 - 2)
    assert len(fits.encode()) < MAX_BYTES
    assert value(fits) == {"a": "é" * (MAX_BYTES // 2 - 2)}
    assert codes("a: " + "é" * (MAX_BYTES // 2)) == [("YAML_TOO_LARGE", "graph.yaml:1:1")]


SOURCE = """\
nodes:
  first:
    when: a && b
    text: 'it''s  here'
    quoted: "x\\ty \\u0041B end"
    block: |
      line one
      line two
    folded: >-
      fold one
      fold two

      fold three
    list: [p, q r]
"""


def test_places_are_those_of_scalars_and_of_the_keys_of_collections() -> None:
    source = read_yaml(SOURCE, "f")
    assert source.place(("nodes", "first", "when")) == SourceLocation("f", 3, 11)
    assert source.place(("nodes", "first", "when"), key=True) == SourceLocation("f", 3, 5)
    assert source.place(("nodes", "first")) == SourceLocation("f", 2, 3)
    assert source.place(("nodes", "first", "list", 1)) == SourceLocation("f", 14, 15)
    assert source.place(("nodes", "first", "absent", "deeper")) == SourceLocation("f", 2, 3)
    assert source.place(()) == SourceLocation("f", 1, 1)


@pytest.mark.parametrize(
    ("key", "word", "line", "column"),
    [
        ("when", "b", 3, 16),
        ("text", "here", 4, 19),
        ("quoted", "end", 5, 27),
        ("block", "two", 8, 12),
        ("folded", "two", 11, 12),
        ("folded", "three", 13, 12),
    ],
)
def test_a_place_inside_a_string_sees_through_quotes_escapes_and_folds(
    key: str, word: str, line: int, column: int
) -> None:
    source = read_yaml(SOURCE, "f")
    found = text(at(source.value, "nodes", "first", key))
    assert source.place_in(("nodes", "first", key), found.index(word)) == SourceLocation("f", line, column)
