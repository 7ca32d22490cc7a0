"""Hostile expressions in the five languages of `rule` nodes, by the activity that evaluates them.

Each has a value or a typed error, within the budget of time and memory, and sees nothing but its context. The worker's
process lives on.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from anabranch.activities.rules.handler import RuleActivity
from anabranch.activities.rules.table_process import processes
from anabranch.context.values import check_value
from anabranch.errors import AnabranchError
from anabranch.graph.model import RuleNode
from tests.attack.attack import Attack, Tally
from tests.attack.forked import Outcome, forked
from tests.cost import Limit, spend
from tests.hostile import test_hostile_expressions as corpus
from tests.node_tasks import task_of

CANARY = "canary-of-the-environment"
_LIMIT = Limit(seconds=3.0, size=300 * 2**20)
"""The budgets of two seconds and 256 MiB, and what the process of decision tables takes to start."""
DATA: dict[str, Any] = {
    **corpus.DATA,
    "tags": [f"z{index}" for index in range(9000)],
    "text": "a" * 1_000_000,
    "n": 4_000_000_000,
    "deep": json.loads('{"a":' * 50 + "1" + "}" * 50),
    "hole": "{{ secret }} ${secret}",
    "secret": CANARY,
}
_ATOMS = [
    "1",
    "-1",
    "0.1",
    "'a'",
    "true",
    "null",
    "a",
    "big",
    "long",
    "wide",
    "tags",
    "text",
    "o.x",
    "most",
    "deep",
    "n",
]
_CALLS = [
    "size({0})",
    "{0}.map(x, {1})",
    "{0}.filter(x, x == {1})",
    "{0}.exists(x, {1} == x)",
    "{0}.all(x, size({1}) > 0)",
    "{0}.map(x, {0}.map(y, x + y))",
    "({0} + {1})",
    "[{0}, {0}, {1}]",
    "{{'a': {0}, 'b': {1}}}",
    "({0} == {1} ? {0} : {1})",
    "string({0})",
    "{0}.split({1})",
    "{0}.replace({1}, 'xxxx')",
    "{0}.matches({1})",
    "{0}.matches('(a+)+$')",
    "{0}.matches('(.*)*x')",
    "{0}.indexOf({1})",
    "{0}.join({1})",
    "{0}.upperAscii()",
    "{0}.format([{1}])",
    "timestamp({0})",
    "duration({0})",
    "int({0}) % int({1})",
    "{0}[{1}]",
    "{0} in {1}",
    "{0}.contains({1})",
    "{0}.sort()",
    "{0}.distinct()",
    "{0}.flatten()",
    "{0}.__class__",
    "getattr({0}, {1})",
    "{0}.sortBy(x, {1})",
    "{0}.groupBy(x, x)",
    "{0}.minBy(x, {1} + x)",
    "{0}.transformMap(k, v, [k, v, {1}])",
    "{0}.transformList(k, v, {1})",
    "{0}.transformMapEntry(k, v, {{k: {1}}})",
    "{0}.zip({1})",
    "{0}.chunk({1})",
    "{0}.slice(0, {1})",
    "lists.range({0})",
    "{0}.merge({1})",
    "{0}.pick({1})",
    "{0}.keys()",
    "{0}.values()",
    "{0}.?x.orValue({1})",
    "{0}[?{1}]",
    "[?{0}.?x, {1}]",
    "{0}.first().optMap(x, {1})",
    "cel.bind(x, {0}, [x, x, {1}])",
    "{0}.padStart({1})",
    "{0}.fixed({1})",
    "math.round({0}, {1})",
    "hash({0})",
    "uuid([{0}, {1}])",
    "timestamp({0}).formatTime({1})",
    "parseTime({0}, {1})",
    "timestamp({0}).addDate({1}, 'day', 'Europe/Berlin')",
    "tags.exists(t, text.indexOf(t) >= 0)",
    "tags.map(t, text.replace(t, 'x')).size()",
]
_ZEN = [
    "sum(map([1..n], #))",
    "len(map([1..400000000], #))",
    "map([1..100000], map([1..100000], #))",
    "filter([1..n], # > 5)",
    "some(long, some(long, # == 8999))",
    "len(split(big, ''))",
    "matches(text, '(a+)+$')",
    "matches(text, '(a|a)*b')",
    "flatMap(long, map(long, #))",
    "keys($root)",
    "string($root)",
    "{0} + {0} + {0}",
    "1 / 0",
    "-9223372036854775808 * 9223372036854775807",
    "date(text)",
    "duration(text)",
    "[n..1]",
    "[1..0.5]",
    "(" * 900 + "1" + ")" * 900,
    "not " * 900 + "true",
    "a ? " * 300 + "1" + " : 2" * 300,
    "{0}.{0}.{0}",
    "'" + "a" * 100_000 + "' + text",
    "sum(",
    "require('fs')",
    "process.env",
    "extract(text, '(a*)*b')",
    "fuzzyMatch(text, text)",
    "fuzzyMatch(tags, 'z')",
    "median(long)",
    "rand(n)",
    "`${{text}}${{text}}`",
]

Rules = dict[str, Any]


async def run(tally: Tally, numbers: range) -> None:
    """Evaluate the expressions with these numbers."""
    os.environ["ANABRANCH_CANARY"] = CANARY
    known = list(_known())
    for number in numbers:
        name, rules = known[number] if number < len(known) else _generated(tally.rng, number)
        outcome = forked(partial(said, rules), _LIMIT)
        tally.judge(f"{number} {name[:240]}", wrong(outcome), refused=outcome.said.startswith("refused"))
    _controls(tally)


def said(rules: Rules) -> str:
    """What the activity made of the rules."""
    try:
        node = RuleNode.model_validate({"type": "rule", **rules})
        result = asyncio.run(_evaluated(node))
        check_value(result)
        return f"value {result!r:.300}" + (CANARY if CANARY in repr(result) else "")
    except (AnabranchError, ValueError) as error:  # ValueError: what the model of a node does not take
        return f"refused {error}"
    finally:
        processes().close()


async def _evaluated(node: RuleNode) -> Any:
    return (await RuleActivity()(task_of({}, DATA), node)).writes


def wrong(outcome: Outcome) -> str | None:
    """What the expression did that it must not."""
    if outcome.wrong is not None:
        return outcome.wrong
    if CANARY in outcome.said:
        return "it saw what it did not name"
    if not outcome.said.startswith(("value ", "refused ")):
        return f"neither a value nor a typed error: {outcome.said[:200]}"
    return None


def in_condition(source: str) -> Rules:
    """CEL that decides."""
    return {"rules": [{"when": f"({source}) == 1", "then": {"x": 1}, "otherwise": {"x": 0}}]}


def in_template(source: str) -> Rules:
    """CEL in the holes of a template."""
    return {"rules": [{"then": {"x": f"{{{{ {source} }}}}", "y": [f"a {{{{ {source} }}}} b"] * 3}}]}


def in_grl(source: str) -> Rules:
    """GRL, whose rules chain."""
    rules = [
        f'rule R{index} "d" salience {index} {{ when {source} == 1 || true then k = {source}; }}' for index in (1, 2)
    ]
    return {"grl": "\n".join([*rules, 'rule Again "d" { when true then a = a + 1; }'])}


def in_drools(source: str) -> Rules:
    """Drools-like rules, in a pattern, a branch, a value and a text."""
    text = f"""
    rule "R" when $a: Number(this == {source} || this != nil) from a  not String(this == {source}) from text then
      if {source} == 1 {{ insert!(k => {source}); }} else {{ insert!(k => format!("{{}} {{:.2}}", {source}, $a)); }}
    end
    rule "Again" when Number from a then a += 1; end"""
    return {"grl": text}


def in_table(source: str) -> Rules:
    """An expression of a decision table."""
    content = {"expressions": [{"id": "0", "key": "k", "value": source}]}
    nodes = [
        {"id": "i", "type": "inputNode", "name": "in"},
        {"id": "e", "type": "expressionNode", "name": "e", "content": content},
        {"id": "o", "type": "outputNode", "name": "out"},
    ]
    edges = [
        {"id": "a", "type": "edge", "sourceId": "i", "targetId": "e"},
        {"id": "b", "type": "edge", "sourceId": "e", "targetId": "o"},
    ]
    return {"decision_table": {"nodes": nodes, "edges": edges}}


def in_cell(source: str) -> Rules:
    """A cell of a decision table: a test, and an output."""
    content = {
        "hitPolicy": "first",
        "inputs": [{"id": "c", "name": "c", "field": "a"}],
        "outputs": [{"id": "r", "name": "r", "field": "k"}],
        "rules": [{"_id": "1", "c": source, "r": source}, {"_id": "2", "c": "", "r": source}],
    }
    table: Rules = in_table("1")
    table["decision_table"]["nodes"][1] = {"id": "e", "type": "decisionTableNode", "name": "e", "content": content}
    return table


def in_code(source: str) -> Rules:
    """A table that wants to run code."""
    table: Rules = in_table("1")
    code = {"source": f"export const handler = () => ({{k: {source}}});"}
    table["decision_table"]["nodes"][1] = {"id": "e", "type": "functionNode", "name": "e", "content": code}
    return table


_LANGUAGES: list[Callable[[str], Rules]] = [in_condition, in_template, in_grl, in_drools, in_table, in_cell]


def _known() -> Iterator[tuple[str, Rules]]:
    """What the tests of hostile expressions hold, in each language that it fits; and attacks on tables."""
    for number, source in enumerate(_sources()):
        form = (in_condition, in_template, in_grl, in_drools)[number % 4]
        yield f"{form.__name__} {source[:200]!r}", form(source)
    for source in _ZEN:
        filled = source.replace("{0}", "text")
        for form in (in_table, in_cell):
            yield f"{form.__name__} {filled[:200]!r}", form(filled)
    yield "in_code", in_code("process.env.ANABRANCH_CANARY")


def _sources() -> Iterator[str]:
    tests = (
        corpus.test_what_is_too_long_too_deep_or_no_cel_does_not_compile,
        corpus.test_what_grows_without_bound_is_stopped,
        corpus.test_python_attributes_are_not_fields,
        corpus.test_python_functions_are_not_there,
    )
    for test in tests:
        (mark,) = vars(test)["pytestmark"]
        yield from (source for source in mark.args[1] if source.isprintable())


def _generated(rng: random.Random, number: int) -> tuple[str, Rules]:
    form = _LANGUAGES[number % len(_LANGUAGES)]
    source = _zen(rng) if form in (in_table, in_cell) else _cel(rng, rng.randint(1, 4))
    return f"{form.__name__} {source!r}", form(source)


def _cel(rng: random.Random, depth: int) -> str:
    if depth == 0:
        return rng.choice(_ATOMS)
    inner = [_cel(rng, depth - 1 if rng.random() < 0.7 else 0) for _ in range(2)]
    return rng.choice(_CALLS).format(*inner)


def _zen(rng: random.Random) -> str:
    first, second = rng.choice(_ZEN), rng.choice([*_ATOMS, *_ZEN[:10]])
    return rng.choice([first, f"map([1..1000], {first})", f"[{first}, {second}]", f"len(string({first}))"]).replace(
        "{0}", second
    )


def _aborts() -> str:
    os.kill(os.getpid(), signal.SIGABRT)
    return "value"


def _controls(tally: Tally) -> None:
    """Evaluators that are not ours."""
    careless: dict[str, Callable[[], str]] = {
        "sees the environment": lambda: f"value {os.environ['ANABRANCH_CANARY']}",
        "takes half a gigabyte": lambda: f"value {len(bytes(range(256)) * (2 * 2**20))}",
        "aborts": _aborts,
        "takes its time": lambda: f"value {spend(0.4)}",
    }
    for name, evaluate in careless.items():
        tally.control(name, seen=wrong(forked(evaluate, Limit(seconds=0.2))) is not None)


EXPRESSIONS = Attack("expressions", run, small=180, release=1_200, chunk=200)
