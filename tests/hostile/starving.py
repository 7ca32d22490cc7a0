"""Expressions, templates, GRL and tables that would starve a worker, by ordinary means on large data.

Run as a program it evaluates each in a process of its own, and prints a line of JSON with what became of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from anabranch.activities.rules.handler import evaluate_rules
from anabranch.activities.rules.table_process import processes
from anabranch.errors import AnabranchError
from anabranch.graph.expressions.expressions import compile_expression
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.model import RuleNode
from tests.attack.forked import forked
from tests.cost import USUAL, Limit

DATA: dict[str, Any] = {
    "text": "a" * 1_000_000,
    "wide_text": "😀" * 500_000,
    "half": "a" * 500_000 + "b",
    "short": "a" * 29_999,
    "part": "a" * 50 + "b" + "a" * 49,
    "words": [f"z{i}" for i in range(9_000)],
    "numbers": list(range(10_000)),
    "million": [0] * 1_000_000,
    "texts": ["x" * 1_000] * 1_000,
    "object": {f"k{i}": i for i in range(100_000)},
    "nested": [list(range(100)) for _ in range(1_000)],
    "n": 4_000_000_000,
    "at": "2026-11-28T09:30:00Z",
    "pattern": "(a|aa)*" * 200 + "c",
}
_PER_WORD = [
    "text.indexOf(t) >= 0",
    "text.contains(t)",
    "half.contains(t + half)",
    "text.startsWith(text) && false",
    "text.endsWith(text) && false",
    "text == text + t",
    "text != text",
    "text < text",
    "text.size() < 0",
    "text.replace('a', t) == t",
    "text.replace(t, 'a') == t",
    "text.replace('', t) == t",
    "text.split('a').size() < 0",
    "text.split('').size() < 0",
    "text.upperAscii() == t",
    "wide_text.lowerAscii() == t",
    "text.trim() == t",
    "text.substring(1) == t",
    "text.matches(t)",
    "text.matches('(x+x+)+y')",
    "text.matches('(.*a){20}c')",
    "text.matches(pattern)",
    "t.matches(pattern)",
    "(t + 'a').matches('((a{100}){100}){100}')",
    "t.matches('(a{1000}b{1000}){1000}')",
    "t.matches('\\\\pL{900}\\\\pN{900}')",
    "short.contains(part)",
    "short.indexOf(part) >= 0",
    "short.substring(0, 2400).contains(part.substring(1) + 'b')",
    "texts.join(t) == t",
    "words.join(t) == t",
    "t in words && t in million",
    "t in million",
    "-1 in numbers",
    "t in object && object == object && false",
    "million == million && false",
    "nested == nested && false",
    "object == object && false",
    "[object, nested] != [object, nested]",
    "numbers.sum() < 0",
    "million.sum() < 0",
    "math.greatest(million) < 0",
    "math.least(numbers) < 0",
    "(numbers + numbers).size() < 0",
    "(million + million).size() < 0",
    "string(text) == t",
    "int(text) == 1",
    "double('1' + text) == 1.0",
    "timestamp(text) == timestamp(at)",
    "duration(text) == duration('1s')",
    "bool(text)",
    "timestamp(at).getHours('Europe/' + t) < 0",
    "timestamp(at).getHours('/dev/zero') < 0",
    "timestamp(at).getHours(text) < 0",
    "timestamp(at).getHours('Europe/Berlin') < 0",
    "string(timestamp(at) + duration('1s')) == t",
    "string(1.5) == t",
    "object.exists(k, k == t)",
    "object.map(k, k).size() < 0",
    "object.filter(k, k == t).size() > 1",
    "nested.exists(l, l.exists(x, x < 0))",
    "nested.map(l, l.sum()).sum() < 0",
    "t == '' || 1 / 0 > 1",
    "{'a': million, 'b': object}.a == million && false",
    "type(million) == type(t)",
    "million[999999] == t",
    "object['k' + t] == 1",
    "has(object.k1) && has(object.nothing)",
    "text.indexOf('b', 1) >= 0",
    "text.lastIndexOf(t) >= 0",
    "short.lastIndexOf(part) >= 0",
    "text.lastIndexOf('a' + text.substring(1, 999)) < 0",
    "text.charAt(9) == t",
    "text.reverse() == t",
    "text.replace('a', t, 9) == t",
    "text.split('a', 9).size() < 0",
    "text.split('', 9).size() < 0",
    "t.padStart(1000000) == t",
    "t.padEnd(1000000, '😀') == t",
    "'%b %e %x'.format([1e300, 1e300, n]) == t",
    "t.format([million]) == t",
    "1e300.fixed(15, '.', ',') == t",
    "math.round(1e300, 15) < 0.0",
    "million.average() < 0.0",
    "million.sort() == words",
    "words.sort() == texts",
    "texts.sort() == words",
    "million.distinct() == words",
    "nested.distinct() == words",
    "[object, nested].distinct() == words",
    "texts.distinct() == words",
    "nested.flatten() == words",
    "million.flatten(64) == words",
    "million.reverse() == words",
    "million.slice(1, 999999) == words",
    "million.chunk(1) == words",
    "million.chunk(999999) == words",
    "million.zip(million) == words",
    "lists.range(200000) == words",
    "million.last().orValue(t) == t",
    "object.keys() == words",
    "object.values() == words",
    "object.merge(object) == object && false",
    "object.pick(words) == object",
    "object.omit(words) == object",
    "nested.sortBy(l, l.sum()) == words",
    "numbers.minBy(i, -i) == t",
    "numbers.groupBy(i, i % 9) == t",
    "numbers.transformList(i, x, x + i) == words",
    "object.transformMap(k, v, v == t) == t",
    "words.transformMapEntry(i, w, {w: object}) == t",
    "hash(text) == t",
    "hash(wide_text) == t",
    "hash(million) == t",
    "hash(object) == t",
    "uuid(nested) == t",
    "uuid(texts) == t",
    "timestamp(at).formatTime('%A %B %G %V %z', 'Europe/Berlin') == t",
    "timestamp(at).formatTime(text) == t",
    "parseTime(text, '%Y') == timestamp(at)",
    "parseTime(at, '%Y-%m-%dT%H:%M:%S%z') == timestamp(t)",
    "parseTime(at, text) == timestamp(at)",
    "timestamp(at).addDate(n, 'week', 'Europe/' + t) == timestamp(at)",
    "timestamp(at).addDate(-1, 'month', 'America/New_York') == timestamp(at)",
    "timestamp(at).startOf('week', 'Asia/Tokyo') == timestamp(t)",
    "object.?k1.or(object.?k2).optMap(x, million == million).orValue(false) && false",
    "[?object.?k1, ?object.?k2].size() < 0",
    "cel.bind(x, million + million, x == x) && false",
]
_WHOLE = [
    "numbers.map(i, text)",
    "numbers.map(i, text + string(i))",
    "numbers.map(i, million)",
    "numbers.map(i, numbers)",
    "numbers.map(i, numbers.map(j, i * j))",
    "million.map(x, x)",
    "million.all(x, million.all(y, true))",
    "object.map(k, object)",
    "text.split('')",
    "wide_text.split('')",
    "text.split('a')",
    "text.split('').map(c, text)",
    "text.replace('a', text)",
    "text.replace('', text)",
    "texts.join(text)",
    "text + text + text",
    "million + million + million",
    "[text, text, text]",
    "[million, million, object]",
    "numbers.sortBy(i, text)",
    "numbers.sortBy(i, text + string(i))",
    "numbers.groupBy(i, text)",
    "numbers.sortBy(i, numbers.sortBy(j, i * j)[0])",
    "words.groupBy(w, words.groupBy(v, v).size())",
    "object.transformMap(k, v, object)",
    "numbers.transformMapEntry(i, x, object)",
    "numbers.map(i, million).distinct()",
    "numbers.map(i, million).flatten()",
    "numbers.map(i, text).sort()",
    "numbers.map(i, text).distinct()",
    "numbers.map(i, numbers).map(l, l.zip(l))",
    "hash(numbers.map(i, million))",
    "'x'.padStart(2000000).padStart(2000001)",
    "lists.range(200000).map(i, i)",
    "[[1]]" + ".map(x, x.flatten() + x)" * 15 + ".flatten(64)",
    "[[1]]" + ".map(x, [x, x, x, x].distinct())" * 15,
    "[[1]]" + ".map(x, [x, x, x, x])" * 15 + ".distinct()",
    "hash([[1]]" + ".map(x, [x, x, x, x])" * 15 + ")",
    "[object]" + ".map(x, x.merge(x))" * 15,
    "cel.bind(a, million + million, cel.bind(b, a + a, cel.bind(c, b + b, c + c)))",
    "object.?k1" + ".optMap(x, million)" * 4 + " == optional.of(million)",
    " || ".join(["hash(text) == ''"] * 350),
    " || ".join(["timestamp(at).getHours('Europe/Berlin') < 0"] * 150),
    " || ".join(["object.keys() == []"] * 340),
    " || ".join(["texts.sort() == []"] * 350),
    " || ".join(["million.distinct() == []"] * 270),
    "[million].map(x, x + x)" + ".map(x, x + x)" * 10,
    "[[1]]" + ".map(x, [x, x, x, x])" * 15,
    "[[1]]" + ".map(x, {'a': x, 'b': x})" * 20,
    "[[1]]" + ".map(x, [x, x, x, x])" * 15 + " == [[1]]" + ".map(x, [x, x, x, x])" * 15,
    "['aaaa']" + ".map(x, x + x + x + x)" * 14,
    "['é']" + ".map(x, x.replace('', x))" * 14,
    "[numbers].map(x, numbers.map(y, x)) == [numbers].map(x, numbers.map(y, x))",
    " && ".join(["million == million"] * 400),
    " && ".join(["nested == nested"] * 400),
    " && ".join(["object == object"] * 400),
    " && ".join(["!text.contains('b')"] * 400),
    " || ".join(["wide_text.upperAscii() == ''"] * 250),
    " || ".join(["text.split('a') == []"] * 300),
    " || ".join(["text.matches('(.*a){20}c')"] * 250),
    "!" * 8_000 + "true",
    "numbers.all(i, " + " && ".join(["i + 1 > i - 1"] * 500) + ")",
    "numbers.all(i, " + " && ".join(["(i / 0 > 1 || true)"] * 350) + ")",
    "numbers.all(i, [" + ",".join(["i"] * 250) + "].sum() >= 0)",
    "numbers.map(i, [" + ",".join(["i"] * 250) + "])",
    "numbers.map(i, {" + ",".join(f"'{k}': i" for k in range(120)) + "})",
]
_TEMPLATES: list[Any] = [
    ["{{ text }} and {{ text }}"] * 50,
    ["{{ million }}"] * 2_000,
    ["{{ million }} and more"] * 5,
    ["{{ object }} and more"] * 5,
    {f"k{i}": "{{ object }}" for i in range(2_000)},
    ["{{ numbers.map(i, i + 1) }}"] * 500,
    ["{{ text + 'b' }}"] * 500,
    ["{{ words.exists(t, text.contains(t)) }}"] * 10,
    [[["{{ nested }}"] * 50] * 50] * 5,
    ["{{ [text] }}"] * 2_000,
]
_GRL = [
    "rule R { when words.exists(t, text.indexOf(t) >= 0) then x = 1; }",
    "rule R { when x < 100000 || x == nil then x = x + 1; }",
    "rule R { when n > 0 then n = n + 1; }",
    "rule R { when million == million then m = million; n = n + 1; }",
    "rule R { when n > 0 then text = text + 'a'; }",
    "rule R { when n > 0 then object.k1 = object.k1 + 1; }",
    "rule R { when n > 0 then words = words + words; }",
    "".join(f"rule R{i} {{ when n > 0 then n = n + {i + 1}; }}" for i in range(400)),
    "".join(f"rule R{i} {{ when nested == nested then k{i} = nested; }}" for i in range(400)),
    "rule A { when a == nil || a < n then a = n; } rule B { when n <= a then n = a + 1; }",
]
_IF = "if n > 1 { x = 1; }"
_DROOLS = [
    f"rule R when {when} then {then} end"
    for when, then in (
        ("Number from n", f"x = {'(' * 100_000}1{')' * 100_000};"),
        ("Number from n", f"x = {'[' * 100_000};"),
        ("Number from n", f"{'if n > 1 { ' * 8_000}x = 1;{' }' * 8_000}"),
        ("Number from n", _IF + f" else {_IF}" * 2_400),
        ("Number from n", "".join(f"k{i} = n + {i};" for i in range(12_000))),
        ("Number from n", "x = n;" * 30_000),
        ("Number from n", f"x = n{' contains n' * 5_000};"),
        ("Number from n", f"x = {'(' * 30}n{' contains n)' * 30};"),
        ("Number from n", f'x = format!("{"{}" * 20_000}", {", ".join(["n"] * 20_000)});'),
        ("Number from n", "n += 1;"),
        ("Number from n", "n += 1; words = words + words;"),
        ("Number from n", 'text = format!("{}{}{}{}{}{}", text, text, text, text, text, text); n = n + 1;'),
        ("eval(words.exists(t, text.contains(t)))", "x = 1;"),
        ("exists String(this matches '(a+)+$') from words", "x = 1;"),
        ("exists Number(this in numbers) from numbers", "x = 1;"),
        ("not " * 60_000 + "Number from n", "x = 1;"),
        ("not (" * 30_000 + "Number from n" + ")" * 30_000, "x = 1;"),
        (" or ".join(["Number from n"] * 15_000), "x = 1;"),
        ("Number from n\n" * 15_000, "x = 1;"),
        ("List from n" + "".join(f"  $v{i}: List from $v{i - 1}[$v{i - 1}]" for i in range(1, 60)), "x = 1;"),
        (
            "$v0: List from n" + "".join(f"  $v{i}: List from $v{i - 1}[$v{i - 1}]" for i in range(1, 60)),
            "x = $v59;",
        ),
        (f"Map({'a, ' * 60_000}a) from object", "x = 1;"),
    )
]
_TABLES = [
    "sum(map([1..n], #))",
    "len(map([1..n], string(#)))",
    "some([1..5000], some([1..5000], some([1..5000], false)))",
    "len(flatMap([1..20000], map([1..20000], #)))",
    "count([1..n], true)",
    "map(million, million)",
    "len(map(million, text))",
    "len(map(million, map(million, #)))",
    "matches(text, '(a|aa)+c')",
    "split(text, '')",
    "sort(map([1..n], n - #))",
    "len(map([1..100000], text + string(#)))",
]


_WITH_TABLES = Limit(seconds=3.0)
"""The usual one, and what the process of decision tables takes to start."""


def attacks() -> Iterator[tuple[str, Callable[[], object]]]:
    """The name of each attack, and what carries it out."""
    for source in _PER_WORD:
        for macro in ("exists", "map"):
            yield f"words.{macro}: {source}", _cel(f"words.{macro}(t, {source})")
    for source in _WHOLE:
        yield source, _cel(source)
    for template in _TEMPLATES:
        yield f"template {json.dumps(template)[:80]}", _template(template)
    for text in (*_GRL, *_DROOLS):
        yield text[:200], _rule(grl=text)
    for source in _TABLES:
        yield f"table {source}", _rule(decision_table=table(source))
    for rules in (
        [{"when": "words.exists(t, text.contains(t))", "then": {"x": 1}}] * 50,
        [{"then": {f"k{i}": "{{ million }}"}} for i in range(300)],
        [{"then": {f"k{i}": "{{ numbers.map(i, i) }}"}} for i in range(300)],
        [{"then": {"text": "{{ text + 'a' }}"}}] * 300,
    ):
        yield f"rules {json.dumps(rules)[:80]}", _rule(rules=rules)


def _cel(source: str) -> Callable[[], object]:
    return lambda: compile_expression(source).evaluate(DATA, {})


def _template(template: Any) -> Callable[[], object]:
    return lambda: compile_template(template).render(DATA, {})


def _rule(**rules: Any) -> Callable[[], object]:
    node = {"type": "rule", **rules}
    return lambda: evaluate_rules(RuleNode.model_validate(node), DATA, {})


def table(source: str) -> dict[str, Any]:
    row = {"_id": "1", "o": source}
    content = {"hitPolicy": "first", "inputs": [], "outputs": [{"id": "o", "name": "O", "field": "x"}], "rules": [row]}
    return {
        "nodes": [
            {"id": "i", "type": "inputNode", "name": "in"},
            {"id": "t", "type": "decisionTableNode", "name": "t", "content": content},
            {"id": "o", "type": "outputNode", "name": "out"},
        ],
        "edges": [{"id": "a", "sourceId": "i", "targetId": "t"}, {"id": "b", "sourceId": "t", "targetId": "o"}],
    }


def _end_of(attack: Callable[[], object]) -> str:
    try:
        attack()
    except AnabranchError as error:
        return error.code
    finally:
        processes().close()
    return "finished"


def main() -> None:
    """Carry out every `step`-th attack."""
    first, step = map(int, sys.argv[1:3])
    for name, attack in list(attacks())[first::step]:
        outcome = forked(partial(_end_of, attack), _WITH_TABLES if name.startswith("table ") else USUAL)
        print(json.dumps({"name": name, "end": outcome.said, "wrong": outcome.wrong}), flush=True)


if __name__ == "__main__":
    main()
