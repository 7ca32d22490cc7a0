"""Graphs written from habits of other systems: what is wrong is told with what to write here."""

from __future__ import annotations

from pathlib import Path

import pytest

from anabranch.errors import GraphError, Problem
from anabranch.graph.load import load_graph

RULE = "{type: rule, rules: [{then: {x: 1}}]}"
HTTP = 'type: http, url: "https://x.example"'


def _problems(text: str, folder: Path) -> list[Problem]:
    path = folder / "g.yaml"
    path.write_text(text)
    try:
        return list(load_graph(path).warnings)
    except GraphError as error:
        return list(error.problems)


def _told(text: str, folder: Path) -> list[tuple[str, str]]:
    """The places and suggestions of what is found where the text has a ¦."""
    places = []
    for number, line in enumerate(text.split("\n"), 1):
        columns = [index for index, char in enumerate(line) if char == "¦"]
        places += [(number, column + 1 - at) for at, column in enumerate(columns)]
    found = _problems(text.replace("¦", ""), folder)
    at = {(each.place.line, each.place.column): each for each in found if each.place is not None}
    assert [place for place in places if place not in at] == [], found
    return [(at[place].code, at[place].suggestion or "") for place in places]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("script", "code of yours is a handler that a `python` node calls"),
        ("switch", "draw edges with `when`, one with `otherwise: true`"),
        ("parallel", "nodes run beside each other where no edge leads from one to the other"),
        ("sleep", "write `wait`"),
        ("human_task", "write `approval`"),
        ("sub-workflow", "write `graph`"),
        ("email", "a service that sends it is called by an `http` node"),
        ("qwertyuiop", "the types are rule, db, ai"),
    ],
)
def test_a_node_type_of_another_system_is_told_by_its_name_here(name: str, suggestion: str, tmp_path: Path) -> None:
    ((code, told),) = _told(f"name: g\nnodes: {{a: {{type: ¦{name}}}}}\n", tmp_path)
    assert (code, told[: len(suggestion)]) == ("NODE_TYPE_UNKNOWN", suggestion)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("¦steps: []\nnodes: {a: RULE}", "write `nodes:`"),
        ("¦outputs: {x: x}\nnodes: {a: RULE}", "write `result:`"),
        ("¦trigger: {}\nnodes: {a: RULE}", "write `schedule:`"),
        ("¦workflow:\n  nodes: {a: RULE}", "write what it holds here, without `workflow:` around it"),
        ("nodes: {a: RULE, b: {type: rule, ¦depends_on: [a], rules: []}}", "draw an edge under `edges`"),
        ("nodes: {a: RULE, b: {type: rule, ¦dependsOn: [a], rules: []}}", "draw an edge under `edges`"),
        ("nodes: {a: {type: rule, ¦then: {x: 1}}}", "write it into a rule"),
        ("nodes: {a: {type: rule, rules: [{¦if: x, then: {x: 1}}]}}", "write `when:`"),
        ("nodes: {a: {type: rule, rules: [{then: {x: 1}}, {¦else: {x: 1}}]}}", "write `otherwise:`"),
        ("nodes: {a: {HTTP, ¦retries: 3}}", "write `retry: {max_attempts: 3}`"),
        ("nodes: {a: {HTTP, retry: {¦attempts: 3}}}", "write `max_attempts:`"),
        ("nodes: {a: {HTTP, ¦payload: {}}}", "write `body:`"),
        ("nodes: {a: {HTTP, ¦onFailure: continue}}", "write `on_failure:`"),
        ("nodes: {a: {type: wait, ¦seconds: 5}}", "write `for: 30s`"),
        ("nodes: {a: {type: ai, model: 'openai:m', prompt: x, ¦messages: []}}", "write `prompt:`"),
        ("nodes: {a: {type: db, connection: D, ¦sql: select 1}}", "write `query:`"),
        ("nodes: {a: {type: foreach, items: xs, body: {¦b: RULE}}}", "write it under `nodes:`, as b: {type: …}"),
        ("nodes: {a: {type: foreach, items: xs, ¦nodes: {b: RULE}}}", "write it into `body:`"),
        ("nodes: {a: {type: block, ¦body: {nodes: {b: RULE}}}}", "write what it holds here, without `body:` around it"),
        ("nodes: {a: RULE}\nfinally: {¦tell: RULE}", "write it under `nodes:`, as tell: {type: …}"),
        ("nodes: {a: RULE}\nschedule: {cron: '@daily', ¦tz: UTC}", "write `timezone:`"),
        ("nodes: {a: RULE, b: RULE}\nedges: [{from: a, to: b, ¦if: x}]", "write `when:`"),
        ("nodes: {a: RULE, b: RULE}\nedges: [{from: a, to: b, ¦else: true}]", "write `otherwise: true`"),
    ],
)
def test_a_field_of_another_system_is_told_by_its_name_here(text: str, suggestion: str, tmp_path: Path) -> None:
    ((code, told),) = _told(f"name: g\n{text}\n".replace("RULE", RULE).replace("HTTP", HTTP), tmp_path)
    assert (code, told[: len(suggestion)]) == ("FIELD_UNKNOWN", suggestion)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("¦inputs: [amount, country]\nnodes: {a: RULE}", "write each with its JSON Schema: {amount: {}, country: {}}"),
        ("version: ¦1.10\nnodes: {a: RULE}", 'write "1.10"'),
        ("schedule: ¦0 9 * * MON\nnodes: {a: RULE}", 'write {cron: "0 9 * * MON"}'),
        ("result: ¦total\nnodes: {a: RULE}", "write {total: total}"),
        ("nodes: {a: RULE}\n¦finally: [RULE]", "write {nodes: {…}, edges: […]}"),
        ("nodes: {a: RULE, b: RULE}\n¦edges: {a: b}", "write a list: - {from: a, to: b}"),
        ("nodes: {a: RULE, b: RULE}\nedges: [¦a -> b]", "write {from: a, to: b}"),
        ("nodes: {a: RULE, b: RULE}\nedges: [¦[a, b]]", "write {from: a, to: b}"),
        ("nodes: {a: RULE, b: RULE}\nedges: [{from: a, ¦to: [b]}]", "write an edge for each node: - {from: a, to: b}"),
        ("nodes: {a: RULE, b: RULE}\nedges: [{from: a, to: b, outcome: ¦error}]", "write failure"),
        ("nodes: {a: {type: rule, when: ¦true, rules: []}}", 'write "true"'),
        ("nodes: {a: {HTTP, retry: ¦5}}", "write {max_attempts: 5}"),
        ("nodes: {a: {HTTP, timeout: ¦5 minutes}}", "write 5m"),
        ("nodes: {a: {HTTP, timeout: ¦PT1H30M}}", "write 1h30m"),
        ("nodes: {a: {HTTP, timeout: ¦'00:00:45'}}", "write 45s"),
        ("nodes: {a: {HTTP, timeout: ¦2w}}", "write 14d"),
        ("nodes: {a: {HTTP, method: ¦post}}", "did you mean `POST`?"),
        ("nodes: {a: {HTTP, on_failure: ¦ignore}}", "write continue"),
        ("nodes: {a: {type: wait, for: ¦5 minutes}}", "write 5m"),
        ("nodes: {a: {type: wait, until: ¦2027-01-01}}", 'write timestamp("2027-01-01T00:00:00Z")'),
        (
            "nodes: {a: {type: foreach, ¦items: [1, 2], body: {nodes: {b: RULE}}}}",
            "write it as an expression: '[1, 2]'",
        ),
        ("nodes: {a: {type: foreach, items: ¦3, body: {nodes: {b: RULE}}}}", 'write "lists.range(3)"'),
        (
            "nodes: {a: {type: foreach, items: xs, concurrency: ¦3, body: {nodes: {b: RULE}}}}",
            "write `max_concurrency:`",
        ),
        ("nodes: {a: {type: foreach, items: xs, on_item_failure: ¦continue, body: {nodes: {b: RULE}}}}", "write skip"),
        ("nodes: {a: {type: fail, code: ¦no stock, message: x}}", "write no_stock, of letters, digits, _, - and ."),
    ],
)
def test_a_value_of_another_shape_is_told_as_it_is_written_here(text: str, suggestion: str, tmp_path: Path) -> None:
    told = _told(f"name: g\n{text}\n".replace("RULE", RULE).replace("HTTP", HTTP), tmp_path)
    assert told == [("VALUE_INVALID", suggestion)]


def test_a_node_id_that_may_not_be_one_is_told_as_one_that_may(tmp_path: Path) -> None:
    told = _told(f"name: g\nnodes:\n  ¦my node: {RULE}\n", tmp_path)
    assert told == [("KEY_INVALID", "write my_node, of letters, digits, _, - and .")]


@pytest.mark.parametrize(
    ("line", "suggestion"),
    [
        ("prompt: ¦@bob", "write the text in quotes"),
        ("prompt: ¦%d", "write the text in quotes"),
        ("prompt: Is it fine¦: yes or no", "write the text in quotes: it has a colon"),
        ("¦\tprompt: x", "indent with spaces, not with tabs"),
    ],
)
def test_text_that_is_no_yaml_is_told_with_what_is_likely_wrong(line: str, suggestion: str, tmp_path: Path) -> None:
    told = _told(f"name: g\nnodes:\n  a:\n    type: approval\n    {line}\n".replace("    ¦\t", "¦\t"), tmp_path)
    assert told == [("YAML_SYNTAX", suggestion)]


def test_a_hole_without_quotes_is_told(tmp_path: Path) -> None:
    told = _told("name: g\nnodes: {a: {type: approval, prompt: {¦{ x }}}}\n", tmp_path)
    assert told == [("YAML_KEY", 'a text that begins with {{ is written in quotes: "{{ … }}"')]


@pytest.mark.parametrize(
    ("expression", "suggestion"),
    [
        ("{{ x > 1 }}", "this field is an expression: write it without {{ }}"),
        ("x === 1", "write == for ==="),
        ("x AND y", "write && for and"),
        ("x is None", "write == null, or != null; type(x) is the type of a value"),
        ("1 if x else 2", "write condition ? value : other"),
        ("x ?? 3", "write context.?key.orValue(value) for a key that may be absent"),
        ("x?.y", "write a.?b.orValue(value) for what may be absent"),
        ("x | upper", "a function is called by its name, as text.trim(): there are no filters"),
        ("x[0:2]", "write list.slice(from, to), or text.substring(from, to)"),
        ("xs.map(x => x)", "write the name and the expression: list.map(x, x + 1), list.filter(x, x > 1)"),
        ("[x for x in xs]", "write list.map(x, x + 1), or list.filter(x, x > 1)"),
        ("x between 1 and 2", "write low <= x && x <= high"),
        ("x startsWith 'a'", "it is called: text.matches('…')"),
        ("$.x > 1", "write a key by its name alone, without $"),
        ("sum(xs) > 1", "write list.sum()"),
        ("uuid() == x", "write uuid(seed: any)"),
        ("parseInt(x) > 1", "did you mean int?"),
        ("y || 3", "both sides are true or false; context.?key.orValue(value) is for a key that may be absent"),
    ],
)
def test_an_expression_of_another_language_is_told_in_cel(expression: str, suggestion: str, tmp_path: Path) -> None:
    problems = _problems(
        f'name: g\nnodes: {{a: {{type: rule, when: "{expression}", rules: [{{then: {{x: 1}}}}]}}}}\n', tmp_path
    )
    assert [(each.code, each.suggestion) for each in problems] == [("EXPRESSION_INVALID", suggestion)]


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("inputs.amount", "a key is named alone: `amount`"),
        ("steps.check.output.ok", "what node 'check' writes are keys of the context: `ok`"),
        ("check.ok", "what node 'check' writes are keys of the context: `ok`"),
        ("workflow.name", "`run` has id, session_id, graph, time and attempt"),
        (
            "secrets.TOKEN",
            "a secret of the worker is a whole value of a header, of a query or in a body: env:HTTP_SECRET_TOKEN",
        ),
    ],
)
def test_a_value_by_another_systems_name_is_told_by_its_key(text: str, suggestion: str, tmp_path: Path) -> None:
    nodes = f'nodes: {{check: {{type: rule, rules: [{{then: {{ok: true}}}}]}}, b: {{HTTP, body: "{{{{ ¦{text} }}}}"}}}}'
    written = f"name: g\ninputs: {{amount: {{}}}}\n{nodes}\nedges: [{{from: check, to: b}}]\n".replace("HTTP", HTTP)
    assert _told(written, tmp_path) == [("KEY_UNKNOWN", suggestion)]
    free = written.replace("inputs: {amount: {}}", "description: x").replace("inputs.amount", "inputs.ok")
    assert _told(free, tmp_path) == [("KEY_SIMILAR", suggestion.replace("amount", "ok"))]


def test_an_input_that_is_called_as_a_node_is_read(tmp_path: Path) -> None:
    text = 'name: g\nnodes: {order: {type: rule, rules: [{then: {x: "{{ order.total + inputs.y }}"}}]}}\n'
    assert _problems(text, tmp_path) == []


@pytest.mark.parametrize(
    ("text", "key"), [("¦${amount}", "amount"), ("¦$.order.total", "order.total"), ("a ¦{% amount %}", "amount")]
)
def test_a_hole_of_another_language_is_a_warning(text: str, key: str, tmp_path: Path) -> None:
    told = _told(f'name: g\nnodes: {{a: {{type: rule, rules: [{{then: {{x: "{text}"}}}}]}}}}\n', tmp_path)
    assert told == [("TEMPLATE_FOREIGN", f"write {{{{ {key} }}}} for the value of a key")]


@pytest.mark.parametrize("text", ["costs ${{ amount }}", "$5", "a $.b in a text", "{amount}", "100 %"])
def test_money_and_braces_are_text(text: str, tmp_path: Path) -> None:
    assert _problems(f'name: g\nnodes: {{a: {{type: rule, rules: [{{then: {{x: "{text}"}}}}]}}}}\n', tmp_path) == []


@pytest.mark.parametrize(
    "node",
    [
        "type: rule, rules: [{then: {k: '¦env:HTTP_SECRET_X'}}]",
        "type: python, handler: h, args: {k: '¦env:HTTP_SECRET_X'}",
        "type: activity, activity: h, args: ['¦env:HTTP_SECRET_X']",
        "type: ai, model: 'openai:m', prompt: 'Say ¦env:HTTP_SECRET_X'",
        "type: db, connection: D, query: 'select :k', params: {k: '¦env:HTTP_SECRET_X'}",
        "type: approval, prompt: '¦env:HTTP_SECRET_X'",
    ],
)
def test_a_secret_that_no_node_of_the_type_puts_in_is_an_error(node: str, tmp_path: Path) -> None:
    ((code, _),) = _told(f"name: g\nnodes: {{a: {{{node}}}}}\n", tmp_path)
    assert code == "SECRET_AS_TEXT"


@pytest.mark.parametrize(
    ("query", "bind"),
    [
        ("select * from t where id = ¦?", "?"),
        ("select * from t where id in (¦?)", "?"),
        ("select * from t where id = ¦%s", "%s"),
        ("select a ? 'x', '%s' from t where a like '%s' or b = '?'", None),
    ],
)
def test_a_bind_of_a_driver_is_a_warning(query: str, bind: str | None, tmp_path: Path) -> None:
    text = f'name: g\nnodes: {{a: {{type: db, connection: D, query: "{query.replace("¦", "")}"}}}}\n'
    told = [each.message for each in _problems(text, tmp_path) if each.code == "SQL_PLACEHOLDER"]
    assert [message.split("`")[1] for message in told] == ([] if bind is None else [bind])


@pytest.mark.parametrize(
    ("schema", "code", "suggestion"),
    [
        ("type: ¦int", "SCHEMA_INVALID", "write integer"),
        ("type: ¦date", "SCHEMA_INVALID", "write {type: string, format: …}"),
        (
            "type: string, required: ¦false",
            "SCHEMA_INVALID",
            "an input may be left out where it has a `default`; of an object, `required` lists the names",
        ),
        (
            "type: string, ¦optional: true",
            "SCHEMA_KEYWORD",
            "an input may be left out where it has a `default`; of an object, `required` lists the names",
        ),
        ("type: string, ¦minLenght: 3", "SCHEMA_KEYWORD", "did you mean `minLength`?"),
    ],
)
def test_a_word_that_is_none_of_json_schemas_is_told(schema: str, code: str, suggestion: str, tmp_path: Path) -> None:
    assert _told(f"name: g\ninputs: {{a: {{{schema}}}}}\nnodes: {{a: {RULE}}}\n", tmp_path) == [(code, suggestion)]


def test_a_property_may_have_the_name_of_no_keyword(tmp_path: Path) -> None:
    text = "name: g\ninputs: {a: {type: object, properties: {min: {type: number}}, x-unit: kg}}\n"
    assert _problems(f"{text}nodes: {{a: {RULE}}}\n", tmp_path) == []


def test_a_provider_that_no_worker_knows_is_a_warning(tmp_path: Path) -> None:
    told = _told("name: g\nnodes: {a: {type: ai, model: ¦'opanai:gpt-4', prompt: x}}\n", tmp_path)
    assert told == [("AI_PROVIDER", "did you mean `openai`?")]
