"""CEL on plain JSON: what it reads, what it yields, what it refuses and in which words."""

import resource
import threading
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import pytest

from anabranch.errors import EvaluationError, ExpressionError
from anabranch.graph.expressions.expressions import ValueMissing, compile_expression, evaluate_condition

DATA: dict[str, Any] = {
    "a": 5,
    "b": 2.5,
    "yes": True,
    "nothing": None,
    "name": "Ada",
    "type": "premium",
    "items": [{"sku": "x", "price": 1.5, "qty": 2}, {"sku": "y", "price": 3, "qty": 1}],
    "order": {"total": 120, "customer": {"name": "Ada"}, "in": 1},
    "stock": {"kiwi": 3, "apple": 0, "fig": 7},
    "list": [1],
    "null_type": "data",
}
ROOTS: dict[str, Any] = {"run": {"id": "r1", "time": "2026-01-31T12:00:00Z"}}


def value(source: str, data: dict[str, Any] = DATA, **roots: Any) -> Any:
    return compile_expression(source, frozenset(roots)).evaluate(data, {**ROOTS, **roots})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("4 * 2.5", 10.0),
        ("a * b", 12.5),
        ("a + b", 7.5),
        ("b - a", -2.5),
        ("size(items) * b", 5.0),
        ("1 < 1.5", True),
        ("b >= 2", True),
        ("1 == 1.0", True),
        ("a != 5.0", False),
        ("a in [1, 5.0]", True),
        ("1.5 in [1, 2]", False),
        ("5.5 % 2", 1.5),
        ("-7 % 5", -2),
        ("yes ? 1 : 2.5", 1),
        ("[1] + [2.5]", [1, 2.5]),
        ("math.greatest(1, 2.5)", 2.5),
        ("math.round(b * 100) / 100", 2.5),
        ("math.ceil(5) + math.floor(a) + math.ceil(b)", 13.0),
    ],
)
def test_numbers_mix_because_json_has_one_number_type(source: str, expected: object) -> None:
    assert value(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"), [("7 / 2", 3.5), ("6 / 2", 3), ("-7 / 2", -3.5), ("a / 2.5", 2.0), ("7.0 / 2", 3.5)]
)
def test_division_is_exact_and_stays_whole_where_it_can(source: str, expected: float) -> None:
    result = value(source)
    assert (result, type(result)) == (expected, type(expected))


@pytest.mark.parametrize(
    "source", ["1 / 0", "a / 0.0", "5 % 0", "5.5 % 0.0", "2 * 9223372036854775807 + 2", "-9223372036854775808 - 1"]
)
def test_arithmetic_without_a_result_is_an_error(source: str) -> None:
    with pytest.raises(EvaluationError):
        value(source)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("9007199254740993 == 9007199254740992.0", False),
        ("9007199254740992 == 9007199254740992.0", True),
        ("9007199254740993 > 9007199254740992.0", True),
        ("9007199254740992.0 < 9007199254740993", True),
        ("9007199254740993 <= 9007199254740992.0", False),
        ("9007199254740993 in [9007199254740992.0]", False),
        ("[9007199254740993] == [9007199254740992.0]", False),
        ("{'n': 9007199254740993} == {'n': 9007199254740992.0}", False),
        ("{9007199254740993: 1} == {9007199254740992: 1}", False),
        ("math.greatest(9007199254740992.0, 9007199254740993)", 9007199254740993),
        ("most == 18446744073709551616.0", False),
        ("{1: 'whole'}[one]", "whole"),
        ("1.0 in {1: 'whole'}", True),
        ("true == 1", False),
        ("true in [1]", False),
        ("{true: 'yes', 1: 'one'}[true]", "yes"),
        ("{'a': [1, {'b': 2.0}]} == {'a': [1.0, {'b': 2}]}", True),
        ("double('NaN') == double('NaN')", False),
    ],
)
def test_numbers_are_compared_by_what_they_are_worth_to_the_last_digit(source: str, expected: object) -> None:
    result = value(source, {"most": 2**64 - 1, "one": 1.0})
    assert (result, type(result)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("b - 1", 2**63 - 1),
        ("b + 1", 2**63 + 1),
        ("b + (b - 1)", 2**64 - 1),
        ("b % 10", 8),
        ("b / 2", 2**62),
        ("b > 9223372036854775807", True),
        ("[b, 1].sum()", 2**63 + 1),
        ("double(b) == 9223372036854775808.0 && int(b) == b", True),
        ("string(b)", "9223372036854775808"),
        ("math.greatest(b, 1)", 2**63),
        ("{'b': b}", {"b": 2**63}),
        ("{b: 'x'}[b]", "x"),
        ("-b", -(2**63)),
    ],
)
def test_integers_of_64_bits_without_a_sign_compute(source: str, expected: object) -> None:
    assert value(source, {"b": 2**63}) == expected


@pytest.mark.parametrize("source", ["b * 2", "-b - 1", "[b, b].sum()", "b + most", "-most"])
def test_a_number_beyond_those_of_a_context_is_an_error(source: str) -> None:
    with pytest.raises(EvaluationError, match="integer overflow"):
        value(source, {"b": 2**63, "most": 2**64 - 1})


@pytest.mark.parametrize(
    ("source", "keys", "names"),
    [
        ("a > 1 && b < 2", {"a", "b"}, set()),
        ("context.coupon == 'x'", {"coupon"}, {"context"}),
        ("has(context.coupon)", {"coupon"}, {"context"}),
        ("context['coupon code'] == ''", {"coupon code"}, {"context"}),
        ("order.customer.name", {"order"}, set()),
        ("items.all(i, i.price > limit)", {"items", "limit"}, set()),
        ("items.map(a, a.price)", {"items"}, set()),
        ("items.exists(i, i.sku == sku) && i > 0", {"items", "sku", "i"}, set()),
        ("{'b': 1}.b", set(), set()),
        ("{name: 1}", {"name"}, set()),
        ("'a ' + \"b\" + r'c'", set(), set()),
        ("run.time == item.x", {"item"}, {"run"}),
        ("math.floor(math)", {"math"}, set()),
        ("type(type) == string", {"type"}, set()),
        ("has(items[0].price)", {"items"}, set()),
        ("a // b", {"a"}, set()),
        (".a + . b", {"a", "b"}, set()),
        ("'ä€😀' + name", {"name"}, set()),
    ],
)
def test_free_names_are_context_keys_and_nothing_else_is(
    source: str, keys: AbstractSet[str], names: AbstractSet[str]
) -> None:
    expression = compile_expression(source)
    assert (expression.keys, expression.names) == (keys, names)


@pytest.mark.parametrize(
    "source", ["context", "size(context)", "context[name]", "name in context", "context.exists(k, k == 'a')"]
)
def test_the_bare_context_reads_every_key(source: str) -> None:
    assert compile_expression(source).keys is None


def test_roots_given_are_not_keys_and_win_over_keys_of_their_name() -> None:
    expression = compile_expression("item.price * rate + index", frozenset({"item", "index"}))
    assert expression.keys == frozenset({"rate"})
    assert expression.names == {"item", "index"}
    assert value("item", {"item": "key"}, item="root") == "root"
    assert value("context.item", {"item": "key"}, item="root") == "key"


def test_keys_asked_for_with_has_are_not_required() -> None:
    guarded = compile_expression("has(context.coupon) ? coupon : standard")
    assert guarded.keys == frozenset({"coupon", "standard"})
    assert guarded.required == {"standard"}
    assert compile_expression("context.coupon == 'x'").required == frozenset()


def test_only_what_is_read_of_the_context_is_looked_at() -> None:
    seen: set[str] = set()

    class Watched(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            seen.add(key)
            return super().__getitem__(key)

    assert value("a > 1 && order.total > 100", Watched(DATA)) is True
    assert seen == {"a", "order"}


def test_a_value_of_the_context_comes_back_as_it_is_in_its_order() -> None:
    assert value("stock") is DATA["stock"]
    assert list(value("context.order.customer").items()) == [("name", "Ada")]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("type == 'premium'", True),
        ("context.list", [1]),
        ("context.null_type", "data"),
        ("order['in'] + order.`in`", 2),
        ("items.filter(i, i.qty > 1).map(i, i.sku)", ["x"]),
        ("items.map(i, i.qty > 1, i.sku)", ["x"]),
        ("items.map(i, i.price * i.qty).sum()", 6.0),
        ("items.exists_one(i, i.sku == 'y')", True),
        ("items.map(i, items.map(j, i.sku + j.sku))", [["xx", "xy"], ["yx", "yy"]]),
        ("[1, 2].sum()", 3),
        ("'a,b'.split(',').join('-').upperAscii()", "A-B"),
        ("' x '.trim().replace('x', 'yz').indexOf('z')", 1),
        ("'straße'.upperAscii().substring(1, 3)", "TR"),
        ("name.startsWith('A') && name.matches('^A.a$')", True),
        ("string(a) + string(b)", "52.5"),
        ("int('7') + double('1.5')", 8.5),
        ("nothing == null ? 'none' : nothing", "none"),
        ("[1.0, 'x', null, true]", [1.0, "x", None, True]),
        ("m", {"": False, "x": {}}),
        ("m[''] == false && '' in m", True),
        ("uint(3)", 3),
    ],
)
def test_expressions_yield_plain_json(source: str, expected: object) -> None:
    assert value(source, {**DATA, "m": {"": False, "x": {}}}) == expected


def test_objects_keep_the_order_of_their_keys_and_loops_go_over_keys_in_order() -> None:
    assert list(value("{'z': 1, 'a': stock, 'm': 2}")) == ["z", "a", "m"]
    assert list(value("{'a': stock}")["a"]) == ["kiwi", "apple", "fig"]
    assert value("stock.map(k, k)") == ["apple", "fig", "kiwi"]
    assert value("stock.filter(k, stock[k] > 0)") == ["fig", "kiwi"]


def test_instants_come_out_as_text_and_time_comes_from_the_run() -> None:
    assert value("timestamp(run.time) + duration('24h')") == "2026-02-01T12:00:00Z"
    assert value("timestamp('2026-01-01T00:00:00.5Z')") == "2026-01-01T00:00:00.500000Z"
    assert value("duration('1m30s')") == "90s"
    assert value("duration('1.5s')") == "1.5s"
    assert value("timestamp(run.time).getHours()") == 12


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("b'x'", "bytes"),
        ("int", "a type"),
        ("double('NaN')", "nan"),
        ("1e308 * 10.0", "inf"),
        ("{1: 2}", "not a text"),
        ("{'a': 1, 'a': 2}", "duplicate key"),
        ("{true: 2}", "not a text"),
    ],
)
def test_what_json_cannot_say_is_no_result(source: str, said: str) -> None:
    with pytest.raises(EvaluationError, match=said):
        value(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("coupon", "the context has no key 'coupon' (where it may be absent, write context.?coupon.orValue(…))"),
        ("coupon.code", "the context has no key 'coupon' (where it may be absent, write context.?coupon.orValue(…))"),
        ("a > 1 && order.vat > 0", "`order.vat` is not there (where it may be absent, write order.?vat.orValue(…))"),
        ("order['v a t']", '`order["v a t"]` is not there (where it may be absent, write order[?"v a t"].orValue(…))'),
        ("order.total.net", "`order.total` is a number and has no field 'net' (only objects have fields)"),
        ("has(order.vat.rate)", "`order.vat` is not there (where it may be absent, write order.?vat.orValue(…))"),
        ("run.colour", "`run.colour` is not there (where it may be absent, write run.?colour.orValue(…))"),
    ],
)
def test_a_missing_value_is_named_with_what_to_do(source: str, message: str) -> None:
    with pytest.raises(ValueMissing) as caught:
        value(source)
    assert str(caught.value) == f"`{source}`: {message}"


def test_a_root_without_a_value_here_is_named() -> None:
    with pytest.raises(ValueMissing, match="'error' is not known here"):
        compile_expression("error.message", frozenset({"error"})).evaluate(DATA, ROOTS)


@pytest.mark.parametrize(
    ("source", "expected"), [("yes || coupon", True), ("coupon || yes", True), ("!yes && coupon", False)]
)
def test_a_missing_value_that_decides_nothing_is_no_error(source: str, expected: bool) -> None:
    assert value(source) is expected


def test_has_asks_without_reading() -> None:
    assert value("has(context.coupon)") is False
    assert value("has(order.customer.name)") is True
    assert value("has(context.coupon) ? coupon : 'none'") == "none"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a + name", "`+` does not take (number, text) (convert with string(x), int(x) or double(x))"),
        ("nothing > 1", "`>` does not take (null, number) (ask `!= null` first)"),
        ("a ? 1 : 2", "the condition of ? : is neither true nor false (compare it with something, as in `total > 0`)"),
        ("order.?vat", "the result is an optional value (end it with .orValue(…), which says what there is instead)"),
        (
            "order.?vat == 1",
            "an optional value is compared with a value (end it with .orValue(…), which says what there is instead)",
        ),
        ("a == 1 || b", "`||` takes only true and false (compare with something, as in `total > 0`)"),
        ("a.map(i, i)", "only lists and objects can be looped over"),
    ],
)
def test_a_failure_is_worded_for_whoever_wrote_the_expression(source: str, message: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        value(source)
    assert str(caught.value) == f"`{source}`: {message}"


@pytest.mark.parametrize(
    ("source", "line", "column", "suggestion"),
    [
        ("a = 1", 1, 3, "compare with =="),
        ("a and b", 1, 3, "write && for and"),
        ("a == 'x and y' or b", 1, 16, "write || for or"),
        ("not a", 1, 5, "write ! for not"),
        ("a &&\n  frobnicate(1)", 2, 13, None),
        ("sizee(a)", 1, 6, "did you mean size?"),
        ("name.upper()", 1, 11, "did you mean upperAscii?"),
        ("math.flor(b)", 1, 10, "did you mean math.floor?"),
        ("a > 9223372036854775808", 1, 5, "integers over 9223372036854775807 end with u: 18446744073709551615u"),
        ("items.sort_by(i, i.price)", 1, 14, "did you mean sortBy?"),
        ("items.groupby(a, b)", 1, 14, "did you mean groupBy?"),
        ("len(items)", 1, 4, "did you mean size?"),
        ("now() > a", 1, 4, "did you mean timestamp(run.time)?"),
        ("range(a)", 1, 6, "did you mean lists.range?"),
        ("a.?b.or_value(1)", 1, 14, "did you mean orValue?"),
        ("items.sortBy(i.price)", 1, 13, "write list.sortBy(x, key)"),
        ("items.sortBy(1, 2)", 1, 13, "write list.sortBy(x, key)"),
        ("a.?b + 1", 1, 6, "end it with .orValue(…), which says what there is instead"),
        ("True", 1, 1, "write true"),
        ("a == None", 1, 6, "write null"),
        ("'x' + 1", 1, 5, "convert with string(x), int(x) or double(x)"),
        ("a + ", 1, 5, None),
        ("", 1, 1, None),
        ("bytes(name)", 1, 6, "keep them as Base64 text"),
        ("google.protobuf.Timestamp{seconds: 1}", 1, 1, "write an object: {'key': value}"),
    ],
)
def test_what_does_not_compile_says_where_and_what_to_write(
    source: str, line: int, column: int, suggestion: str | None
) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source)
    assert (caught.value.line, caught.value.column, caught.value.suggestion) == (line, column, suggestion)


def test_a_type_name_used_as_a_key_says_how_to_reach_the_key() -> None:
    with pytest.raises(ExpressionError, match=r"write context\.NAME for a key of that name"):
        compile_expression("list.x")


@pytest.mark.parametrize(("source", "holds"), [("a > 1", True), ("a > 9", False), ("nothing", False), ("null", False)])
def test_a_condition_is_true_or_false_and_null_is_false(source: str, holds: bool) -> None:
    assert evaluate_condition(compile_expression(source), DATA, ROOTS) is holds


@pytest.mark.parametrize(
    ("source", "kind"), [("a", "a number"), ("name", "a text"), ("items", "a list"), ("order", "an object")]
)
def test_a_condition_of_another_kind_is_refused(source: str, kind: str) -> None:
    with pytest.raises(EvaluationError, match=f"must be true or false, this is {kind}"):
        evaluate_condition(compile_expression(source), DATA, ROOTS)


def test_the_same_source_and_roots_are_compiled_once() -> None:
    assert compile_expression("a + 1") is compile_expression("a + 1")
    assert compile_expression("a + 1", frozenset({"a"})) is not compile_expression("a + 1")


def test_times_are_exact_to_the_nanosecond() -> None:
    data = {"at": "2026-11-28T09:30:00.123456789Z", "early": "0001-01-01T00:00:00Z"}
    assert value("timestamp(at) == timestamp('2026-11-28T09:30:00.123456788Z')", data) is False
    assert value("string(timestamp(at) + duration('1ns'))", data) == "2026-11-28T09:30:00.123456790Z"
    assert value("string(timestamp(at) - timestamp(early))", data) == "63931455000.123456789s"
    assert value("[string(duration('-1h1ns')), string(duration('1.5s'))]", data) == ["-3600.000000001s", "1.500s"]


def test_a_time_zone_is_a_name_or_an_offset_and_never_a_file() -> None:
    at = {"at": "2026-11-28T09:30:00Z"}
    assert value("timestamp(at).getHours('Asia/Tokyo')", at) == 18
    assert value("timestamp(at).getHours('-05:30')", at) == 4
    for zone in ("/dev/zero", "../../etc/passwd", "localtime", "Nowhere/Never", "", "libc:localtime"):
        with pytest.raises(EvaluationError, match="no such time zone"):
            value("timestamp(at).getHours(zone)", {**at, "zone": zone})


def test_an_evaluation_leaves_nothing_behind() -> None:
    """Values that crossed to the runtime were never freed."""
    data: dict[str, Any] = {"text": "x" * 100_000, "n": 2.5}
    expression = compile_expression("text.contains('y') || text + 'y' == text || (text + string(n)).matches('z')")
    expression.evaluate(data, {})
    before = resident()
    for _ in range(300):
        assert expression.evaluate(data, {}) is False
    assert resident() - before < 10_000_000


def resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def test_an_expression_is_shared_between_threads() -> None:
    expression = compile_expression("[n, n].map(i, i * 2.5).sum() + n")
    wrong: list[object] = []

    def work(n: int) -> None:
        wrong.extend(r for _ in range(300) if (r := expression.evaluate({"n": n}, {})) != n * 6.0)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_list_longer_than_a_chunk_keeps_its_order() -> None:
    numbers = list(range(1234))
    assert value("n.map(i, i + 1)", {"n": numbers}) == [i + 1 for i in numbers]
    assert value("n.filter(i, i % 2 == 0)", {"n": numbers}) == numbers[::2]
    assert value("[100, 200].map(k, n.filter(i, i < k).size())", {"n": numbers}) == [100, 200]


def test_loops_nest_and_follow_each_other() -> None:
    chain = "[1]" + ".map(x, x + 1)" * 20
    nested = "1"
    for level in range(8):
        nested = f"[{level}, {level}].map(v{level}, {nested})"
    assert value(chain) == [21]
    assert value(f"{nested}.size()") == 2
    with pytest.raises(ExpressionError, match="nests too deeply"):
        compile_expression("[0].map(v, " * 20 + "1" + ")" * 20)
