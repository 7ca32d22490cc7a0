"""What other systems call the parts of this language, and what to write here instead. It knows words, no models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final


def _plain(word: str) -> str:
    """`dependsOn`, `depends-on` and `depends_on` are one word."""
    return word.casefold().replace("_", "").replace("-", "")


def _table(*rows: tuple[str, str]) -> dict[str, str]:
    return {_plain(word): advice for words, advice in rows for word in words.split()}


_EDGE = "draw an edge under `edges`: - {from: …, to: …}"
_OWN_CODE = "code of yours is a handler that a `python` node calls; an `activity` node calls code of another worker"
_FAILED = "draw an edge with `outcome: failure`, or say `on_failure`"
_TRANSPORT = "a service that sends it is called by an `http` node, a handler of yours by a `python` node"

_TYPES: Final = _table(
    ("script code function lambda task action step job operator command shell bash container worker simple", _OWN_CODE),
    ("service javascript js inline", _OWN_CODE),
    ("switch choice decision condition if branch gateway router", "draw edges with `when`, one with `otherwise: true`"),
    ("parallel fork concurrent fanout", "nodes run beside each other where no edge leads from one to the other"),
    ("join merge barrier sync gather fanin", "draw several edges to a node; its `join` says when it runs"),
    ("sleep delay timer pause", "write `wait`"),
    ("subworkflow workflow flow call childworkflow executeworkflow template", "write `graph`"),
    ("map for each iterator iterate forks batch dynamic", "write `foreach`"),
    ("repeat until dowhile", "write `while`"),
    ("human manual usertask humantask review ask question form", "write `approval`"),
    ("sql query postgres postgresql mysql sqlite jdbc", "write `db`"),
    ("rest request api curl fetch", "write `http`"),
    ("webhook", "an `http` node sends a request; a `receive` node waits for an event"),
    ("agent chat openai anthropic prompt completion", "write `ai`"),
    ("signal event listen waitforevent waitforsignal", "write `receive`"),
    ("publish send produce kafka nats message", "write `emit`"),
    ("email mail slack sms notify notification", _TRANSPORT),
    ("set assign transform pass jq jsonjqtransform variable variables expression", "write `rule`"),
    ("error throw raise abort", "write `fail`"),
    ("end terminate exit succeed success return done", "write `stop`; a graph also ends where no edge leads on"),
    ("start begin trigger", "leave it out: what no edge leads to runs first"),
    ("try group scope transaction sequence", "write `block`"),
)

_GRAPH: Final = _table(
    ("steps tasks states activities jobs stages operations", "write `nodes:`"),
    ("transitions connections links flows", "write `edges:`"),
    ("outputs output returns return outputparameters", "write `result:`, with an expression for each name"),
    ("input params parameters arguments args inputparameters", "write `inputs:`, with a JSON Schema for each name"),
    ("vars variables env const constants", "a first `rule` node writes values; `inputs:` have a `default`"),
    ("onfailure onerror onexit catch always exithandler failureworkflow errors", "write `finally:`"),
    ("trigger triggers cron on", 'write `schedule:`, such as {cron: "0 9 * * *"}'),
    ("start startat entrypoint initial", "leave it out: what no edge leads to runs first"),
    ("secrets", "a secret is named where it is used: `env:HTTP_SECRET_NAME`, or a `connection`"),
    ("retry retries retrypolicy", "write `defaults: {retry: {max_attempts: 3}}`"),
    ("kind apiversion labels tags owner namespace document dsl", "what is for people and tools goes under `metadata:`"),
    ("imports import use", "another graph of the folder is called by its name: {type: graph, graph: NAME}"),
    ("title", "write `name:`, or `description:`"),
    ("schema", "write `context: {schema: …}`, or `inputs:`"),
    ("merge", "write `context: {merge: …}`"),
)

_NODE: Final = _table(
    ("dependson depends needs dependencies after requires runafter upstream", _EDGE),
    ("next goto onsuccess transition to edges default choices", _EDGE),
    ("onerror catch ontimeout errorhandler rescue handler", _FAILED),
    ("fallback", "write `on_failure: {use: {key: value}}`"),
    ("if condition onlyif runif", "write `when:`"),
    ("loop withitems foreach items repeat", "put it into the `body` of a `foreach` node"),
    ("retries attempts maxattempts retrypolicy", "write `retry: {max_attempts: 3}`"),
    ("name id taskreferencename", "the key above is the node's name; `description` is for people"),
    ("script code run command", _OWN_CODE),
    ("with parameters params inputs vars arguments inputparameters", "write `input:`, with a template for each name"),
    ("outputs saveas register assign resultpath export outputkey result", "write `output: {key: result.…}`"),
    ("maxconcurrency parallelism", "write `concurrency: {limit: 5}`"),
    ("undo rollback compensation", "write `compensate:`, with the node that undoes it"),
    ("queue taskqueue", "write `task_queue:`"),
    ("timeoutseconds startToCloseTimeout executiontimeout deadline", "write `timeout: 30s`"),
)

_OF_TYPE: Final[Mapping[str, Mapping[str, str]]] = {
    "RuleNode": _table(("then when otherwise set append", "write it into a rule: rules: [{when: …, then: {…}}]")),
    "DbNode": _table(
        ("sql statement", "write `query:`"),
        ("dsn url database db", "write `connection:`, the name of a variable of the worker"),
        ("values args parameters", "write `params:`, and :name in the query"),
        ("fetch mode", "write `result:`, one of first, all, scalar, none"),
    ),
    "AiNode": _table(
        ("messages user content userprompt question", "write `prompt:`, and `system:` for what it is told first"),
        ("systemprompt instructions", "write `system:`"),
        ("schema responseformat jsonschema format", "write `output_schema:`"),
        ("functions", "write `tools:`"),
        ("provider", "write `model: provider:model`"),
    ),
    "HttpNode": _table(
        ("uri endpoint href", "write `url:`"),
        ("verb", "write `method:`"),
        ("data json payload", "write `body:`"),
        ("params queryparams qs", "write `query:`"),
        ("token bearer authorization authentication credentials", "write `auth:`, such as {bearer: env:HTTP_SECRET_X}"),
        ("allowredirects followredirects", "write `redirects: same_origin`"),
        ("successcodes status", "write `expect: {status: [200]}`"),
    ),
    "ActivityNode": _table(("name function", "write `activity:`"), ("input", "write `args:`")),
    "PythonNode": _table(("function callable module", "write `handler:`"), ("kwargs params", "write `args:`")),
    "GraphNode": _table(("workflow flow name subgraph ref template", "write `graph:`")),
    "BlockNode": _table(("body steps tasks do try", "write `nodes:` and `edges:` in the block itself")),
    "ForeachNode": _table(
        ("nodes edges steps tasks do iterator template graph", "write it into `body:`"),
        ("parallelism concurrent maxparallel batchsize", "write `max_concurrency:`; `batch:` is for items at a time"),
        ("in list over collection itemspath withitems foreach each", "write `items:`"),
        ("item var variable iterator", "write `as:`"),
    ),
    "WhileNode": _table(
        ("nodes edges steps tasks do graph", "write it into `body:`"),
        ("condition loopcondition when", "write `while:`, or `until:` for what ends it"),
        ("max limit times maxturns", "write `max_iterations:`"),
    ),
    "WaitNode": _table(
        ("seconds duration delay time minutes timeout", "write `for: 30s`"),
        ("timestamp at date", "write `until:`"),
    ),
    "ApprovalNode": _table(
        ("message question text title", "write `prompt:`"),
        ("assignees users approvers approver user", "write `assignee:`"),
        ("role roles", "write `groups:`"),
    ),
    "ReceiveNode": _table(
        ("signal name message topic", "write `event:`"),
        ("filter match where", "write `accept:`"),
        ("key", "write `correlate: {order_id: event.order_id}`"),
    ),
    "EmitNode": _table(
        ("message payload body value content", "write `data:`"),
        ("subject queue channel", "write `topic:`"),
        ("workflowid workflow", "write `run:`"),
    ),
    "FailNode": _table(("error errorcode name", "write `code:`"), ("reason cause text", "write `message:`")),
    "StopNode": _table(("message reason", "write `description:`; a graph's `result` says what it comes to")),
}

_PARTS: Final[Mapping[str, Mapping[str, str]]] = {
    "Graph": _GRAPH,
    "Edge": _table(
        ("if condition guard expression", "write `when:`"),
        ("else default", "write `otherwise: true`"),
        ("on status result type", "write `outcome:`"),
        ("start tail", "write `from:`"),
        ("end head next", "write `to:`"),
    ),
    "Rule": _table(
        ("if condition cond where", "write `when:`"),
        ("else default", "write `otherwise:`"),
        ("set do actions action output write assign", "write `then:`"),
        ("push add", "write `append:`"),
        ("priority order weight", "write `salience:`"),
    ),
    "Retry": _table(
        ("attempts limit max retries count maxretries", "write `max_attempts:`, which counts the first one too"),
        ("delay interval initialdelay wait intervalseconds pause", "write `initial_interval:`"),
        ("factor multiplier backoffrate backoffcoefficient rate", "write `backoff:`"),
        ("maxdelay maxbackoff", "write `max_interval:`"),
        ("nonretryableerrors nonretryableerrortypes except", "write `non_retryable:`"),
    ),
    "Schedule": _table(
        ("tz timezonename zone", "write `timezone:`"),
        ("interval", "write `every:`"),
        ("inputs args", "write `input:`"),
        ("enabled disabled suspend active", "write `paused:`"),
        ("concurrencypolicy", "write `overlap:`"),
    ),
}

_VALUES: Final[Mapping[str, Mapping[str, str]]] = {
    "outcome": {
        **dict.fromkeys(("error", "failed", "fail", "exception"), "failure"),
        **dict.fromkeys(("ok", "completed", "succeeded", "done"), "success"),
        **dict.fromkeys(("timedout", "timed_out", "expired"), "timeout"),
        **dict.fromkeys(("any", "all", "finished", "complete"), "always"),
    },
    "on_item_failure": dict.fromkeys(("continue", "ignore"), "skip"),
    "on_failure": dict.fromkeys(("ignore", "skip"), "continue"),
    "join": {**dict.fromkeys(("one", "race", "or"), "first"), "and": "all"},
    "mode": {**dict.fromkeys(("child", "async", "subworkflow"), "child_workflow"), "sync": "inline"},
}


def type_advice(name: str) -> str | None:
    """What to write for a node type of another system; None where the word means nothing."""
    return _TYPES.get(_plain(name))


def field_advice(name: str, models: Iterable[str], own: Iterable[str]) -> str | None:
    """What to write for a field of another system, where the part has the names of its `models`, nearest first."""
    same = next((each for each in own if _plain(each) == _plain(name)), None)
    if same is not None:
        return f"write `{same}:`"
    return next((table[_plain(name)] for table in _tables(models) if _plain(name) in table), None)


def value_advice(field: str, value: str) -> str | None:
    """The choice that another system's word for it stands for."""
    meant = _VALUES.get(field, {}).get(value.casefold())
    return None if meant is None else f"write {meant}"


def _tables(models: Iterable[str]) -> Iterator[Mapping[str, str]]:
    for model in models:
        yield from (table for tables in (_OF_TYPE, _PARTS) if (table := tables.get(model)) is not None)
        if model == "BaseNode":
            yield _NODE
