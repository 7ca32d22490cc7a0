"""Holes in texts: their type, their text, their place."""

from typing import Any

import pytest

from anabranch.context.values import Json
from anabranch.errors import EvaluationError, ExpressionError
from anabranch.graph.expressions.templates import compile_template

DATA: dict[str, Any] = {
    "weight": 2,
    "rate": 1.5,
    "total": 12.0,
    "name": "Ada",
    "nothing": None,
    "yes": True,
    "items": [{"sku": "ü"}, 1.0],
}


def render(value: Any, **roots: Any) -> Any:
    return compile_template(value, frozenset(roots)).render(DATA, roots)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ weight * 2.5 }}", 5.0),
        ("{{weight}}", 2),
        ("{{ yes }}", True),
        ("{{ nothing }}", None),
        ("{{ items }}", [{"sku": "ü"}, 1.0]),
        ("{{ {'a': {'b': weight}}.a }}", {"b": 2}),
        ("{{{'a': {'b': 1}}}}", {"a": {"b": 1}}),
    ],
)
def test_a_text_that_is_one_hole_keeps_the_type(text: str, expected: object) -> None:
    result = render(text)
    assert (result, type(result)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ name }}!", "Ada!"),
        (" {{ weight }}", " 2"),
        ("{{ total }} {{ rate }}", "12 1.5"),
        ("[{{ nothing }}]", "[]"),
        ("{{ yes }}/{{ !yes }}", "true/false"),
        ("items: {{ items }}", 'items: [{"sku":"ü"},1.0]'),
        ("{{ weight }}{{ rate }}", "21.5"),
    ],
)
def test_text_around_holes_makes_text(text: str, expected: str) -> None:
    assert render(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ '{{' }} literal }}", "{{ literal }}"),
        ("{{ '}}' + \"{{\" }}", "}}{{"),
        ("{{ 'it\\'s }}' }}", "it's }}"),
        ("{{ r'}}\\d' }}", "}}\\d"),
        ("{{ '''a'}}''' }}", "a'}}"),
        ("{{ name // }} \n }}", "Ada"),
        ("no { hole } here }}", "no { hole } here }}"),
    ],
)
def test_braces_and_quotes_inside_a_hole_are_cels(text: str, expected: str) -> None:
    assert render(text) == expected


def test_texts_at_any_depth_are_rendered_and_keys_are_not() -> None:
    value = {"{{ name }}": ["{{ weight }}", {"deep": "for {{ name }}"}, 7, None], "plain": "text"}
    assert render(value) == {"{{ name }}": [2, {"deep": "for Ada"}, 7, None], "plain": "text"}


def test_a_value_without_holes_is_constant_and_stays_itself() -> None:
    value: Json = {"a": [1, "two", {"three": None}]}
    template = compile_template(value)
    assert template.constant
    assert template.render({}, {}) is value
    assert not compile_template("{{ a }}").constant


def test_a_template_knows_the_keys_and_roots_that_it_reads() -> None:
    template = compile_template(
        {"a": "{{ item.x + rate }}", "b": ["{{ run.id }} {{ context.coupon }}"]}, frozenset({"item"})
    )
    assert template.keys == frozenset({"rate", "coupon"})
    assert template.required == {"rate"}
    assert template.names == {"item", "run", "context"}
    assert compile_template("{{ context }}").keys is None


def test_roots_fill_holes() -> None:
    assert render("{{ item }}-{{ index }}", item="a", index=3) == "a-3"


@pytest.mark.parametrize(
    ("value", "path", "line", "column", "said"),
    [
        ("a {{ b", (), 1, 3, "without its }}"),
        ("{{ }}", (), 1, 4, "empty"),
        ("a\nb {{ frobnicate( }}", (), 2, 17, "ends too early"),
        ("a\nb {{ x +\n frobnicate(1) }}", (), 3, 12, "no function 'frobnicate'"),
        ({"a": ["x", "{{ True }}"]}, ("a", 1), 1, 4, "not a CEL literal"),
    ],
)
def test_what_does_not_compile_says_where(
    value: Any, path: tuple[str | int, ...], line: int, column: int, said: str
) -> None:
    with pytest.raises(ExpressionError, match=said) as caught:
        compile_template(value)
    assert (caught.value.path, caught.value.line, caught.value.column) == (path, line, column)


def test_a_hole_without_a_value_names_its_expression() -> None:
    with pytest.raises(EvaluationError, match="`missing`: the context has no key 'missing'"):
        render("Dear {{ missing }}")
