"""The records of the built-in node types, in the order of the language's reference, and their smaller parts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from anabranch.errors import Problem
from anabranch.graph.fields import HOLE, parse_duration
from anabranch.graph.kinds.ai import ai_writes, check_ai
from anabranch.graph.kinds.db import check_db, db_pinned, db_summary, db_writes, writes_to_database
from anabranch.graph.kinds.deeds import (
    activity_deeds,
    ai_deeds,
    approval_deeds,
    db_deeds,
    emit_deeds,
    graph_deeds,
    grpc_deeds,
    http_deeds,
    python_deeds,
)
from anabranch.graph.kinds.emit import check_emit, emit_summary
from anabranch.graph.kinds.fail import check_fail
from anabranch.graph.kinds.fields import cel, template
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.kinds.grpc import check_grpc
from anabranch.graph.kinds.http import PAGE, RESULT, check_http, http_pinned, http_summary
from anabranch.graph.kinds.keys import properties
from anabranch.graph.kinds.kind import Loop, NodeKind, Runs, any_keys, called, imported, no_keys
from anabranch.graph.kinds.receive import SEEN, check_receive, receive_reads, receive_summary
from anabranch.graph.kinds.rule import check_rule, rule_reads, rule_summary, rule_writes
from anabranch.graph.model import (
    ActivityNode,
    AiNode,
    ApprovalNode,
    BlockNode,
    Body,
    DbNode,
    EmitNode,
    FailNode,
    ForeachNode,
    GraphNode,
    GrpcNode,
    HttpNode,
    PythonNode,
    ReceiveNode,
    RuleNode,
    StopNode,
    WaitNode,
    WhileNode,
)

_COLLECT = (cel("collect.value", at="end"), cel("collect.when", at="end"))


def _block_body(node: BlockNode) -> Loop:
    return Loop(Body.model_construct(nodes=node.nodes, edges=node.edges), path=(), last=node.finally_)


def _foreach_loop(node: ForeachNode) -> Loop:
    into = None if node.collect is None else node.collect.into
    return Loop(node.body, frozenset({"index", node.variable}), at_once=True, collects=into, lists_failed=node.failed)


def _while_loop(node: WhileNode) -> Loop:
    into = None if node.collect is None else node.collect.into
    return Loop(node.body, frozenset({"index", "turn"}), collects=into)


def _check_graph(node: GraphNode, finder: Finder) -> Iterator[Problem]:
    if HOLE not in node.graph:
        if node.one_of is not None:
            message = "has `one_of`, which is for a `graph` that is a template"
            yield finder.problem("FIELD_HAS_NO_EFFECT", message, "one_of", suggestion="remove it")
    elif node.mode == "inline":
        message = "has a `graph` that is a template, which a graph that is interpreted in this run cannot have"
        suggestion = "write `mode: child_workflow`, or a node with a `when` for each graph"
        yield finder.problem("GRAPH_TEMPLATE", message, "graph", suggestion=suggestion)
    elif not node.one_of:
        message = "has a `graph` that is a template, and does not say which graphs it may be"
        suggestion = "list them: `one_of: [order, refund]`"
        yield finder.problem("GRAPH_TEMPLATE", message, "graph", suggestion=suggestion)


def _check_loop(node: ForeachNode | WhileNode, finder: Finder) -> Iterator[Problem]:
    body = node.body
    if not body.nodes and body.graph is None:
        suggestion = "give `nodes:` and `edges:`, or `graph:`"
        yield finder.problem("BODY_SOURCE", "has a body with nothing in it", "body", suggestion=suggestion)
    elif body.graph is not None and (body.nodes or body.edges):
        message = "has a body with both `graph` and nodes of its own; it needs exactly one"
        yield finder.problem("BODY_SOURCE", message, "body", "graph")


def _check_foreach(node: ForeachNode, finder: Finder) -> Iterator[Problem]:
    yield from _check_loop(node, finder)
    lists = node.on_item_failure == "collect"
    if lists and node.failed is None:
        message = "has `on_item_failure: collect` without `failed`"
        suggestion = "say under `failed` which key gets the list, or write `on_item_failure: skip`"
        yield finder.problem("FAILED_KEY", message, "on_item_failure", suggestion=suggestion)
    if node.failed is not None and not lists:
        message = "has `failed`, which is only for `on_item_failure: collect`"
        yield finder.problem("FIELD_HAS_NO_EFFECT", message, "failed", suggestion="write `on_item_failure: collect`")
    if node.tolerate is not None and node.on_item_failure == "fail":
        message = "has `tolerate`, which is only for `on_item_failure: skip` or `collect`"
        yield finder.problem("FIELD_HAS_NO_EFFECT", message, "tolerate", suggestion="write `on_item_failure: skip`")
    if node.failed is not None and node.collect is not None and node.failed == node.collect.into:
        message = f"writes two lists to one key, `{node.failed}`"
        yield finder.problem("FAILED_KEY", message, "failed", suggestion="give it another key than `collect.into`")

    if node.item_errors is not None and node.batch is None:
        message = "has `item_errors`, which is only for a `foreach` with `batch`"
        suggestion = "write `batch`, or let a node of the body fail"
        yield finder.problem("FIELD_HAS_NO_EFFECT", message, "item_errors", suggestion=suggestion)


def _foreach_summary(node: ForeachNode) -> str:
    each = node.variable if node.batch is None else f"{node.batch} {node.variable}"
    return _loop_summary(f"for each {each} of {node.items}", node)


def _check_while(node: WhileNode, finder: Finder) -> Iterator[Problem]:
    given = [name for name, value in (("while", node.while_), ("until", node.until)) if value is not None]
    yield from finder.exactly_one("WHILE_CONDITION", given, ("while", "until"))
    yield from _check_loop(node, finder)


def _while_summary(node: WhileNode) -> str:
    return _loop_summary(f"while {node.while_}" if node.until is None else f"until {node.until}", node)


def _loop_summary(words: str, node: ForeachNode | WhileNode) -> str:
    return words if node.body.graph is None else f"{words} → {node.body.graph}"


def _check_wait(node: WaitNode, finder: Finder) -> Iterator[Problem]:
    given = [name for name, value in (("for", node.for_), ("until", node.until)) if value is not None]
    yield from finder.exactly_one("WAIT_SOURCE", given, ("for", "until"))
    if isinstance(node.for_, str) and "{{" not in node.for_:
        try:
            parse_duration(node.for_)
        except ValueError as error:
            yield finder.problem("VALUE_INVALID", f"waits for what is not a duration: {error}"[:300], "for")


def _wait_summary(node: WaitNode) -> str:
    if node.until is not None:
        return f"until {node.until}"
    return f"for {_duration(node.for_) if isinstance(node.for_, timedelta) else node.for_}"


def _duration(value: timedelta) -> str:
    seconds = value.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


RULE = NodeKind(
    RuleNode,
    handler=imported("anabranch.activities.rules.handler:RuleActivity"),
    fields=(cel("rules.*.when"), template("rules.*.then"), template("rules.*.append"), template("rules.*.otherwise")),
    reads=rule_reads,
    reads_more=lambda node: node.decision_table is not None,
    writes=rule_writes,
    says_its_writes=True,
    checks=check_rule,
    effect=False,
    local_by_default=True,
    summary=rule_summary,
    deeds=called("anabranch.activities.rules.deeds:rule_deeds"),
    shape=("{{", "}}"),
    tone="amber",
)
DB = NodeKind(
    DbNode,
    handler=imported("anabranch.activities.sql.handler:DbActivity", connections="connections"),
    fields=(template("params"), template("statements.*.params")),
    writes=db_writes,
    checks=check_db,
    effect=writes_to_database,
    pinned=db_pinned,
    summary=db_summary,
    deeds=db_deeds,
    shape=("[(", ")]"),
    tone="teal",
)
AI = NodeKind(
    AiNode,
    handler=imported("anabranch.activities.ai.handler:AiActivity", prices="ai_prices"),
    fields=(template("system"), template("prompt")),
    writes=ai_writes,
    answer_schema="output_schema",
    checks=check_ai,
    effect=False,
    summary=lambda node: " or ".join(node.models),
    deeds=ai_deeds,
    shape=("([", "])"),
    tone="violet",
)
HTTP = NodeKind(
    HttpNode,
    handler=imported("anabranch.activities.http.handler:HttpActivity", allow_private="http_allow_private"),
    fields=(
        *(template("url"), template("headers"), template("query"), template("body")),
        *(template("auth.basic.user"), template("auth.oauth2.token_url"), template("auth.oauth2.client_id")),
        *(template("auth.oauth2.scope"), template("auth.oauth2.audience")),
        *(cel("poll.until", roots=RESULT), cel("pages.next", roots=PAGE), cel("pages.items", roots=PAGE)),
    ),
    checks=check_http,
    pinned=http_pinned,
    effect=lambda node: node.method not in ("GET", "HEAD"),
    summary=http_summary,
    deeds=http_deeds,
    shape=("[/", "/]"),
    tone="blue",
)
GRPC = NodeKind(
    GrpcNode,
    handler=imported("anabranch.activities.grpc.handler:GrpcActivity", allow_private="http_allow_private"),
    fields=(template("target"), template("request"), template("metadata")),
    checks=check_grpc,
    summary=lambda node: f"{node.method} at {node.target}",
    deeds=grpc_deeds,
    shape=("[/", "/]"),
    tone="blue",
)
ACTIVITY = NodeKind(
    ActivityNode,
    runs=Runs.ACTIVITY,
    fields=(template("args"),),
    writes=any_keys,
    summary=lambda node: node.activity,
    deeds=activity_deeds,
    tone="green",
)
PYTHON = NodeKind(
    PythonNode,
    handler=imported("anabranch.activities.python:PythonActivity", threads="max_concurrent_activities"),
    fields=(template("args"),),
    reads_more=lambda _node: True,
    writes=any_keys,
    summary=lambda node: node.handler,
    deeds=python_deeds,
    tone="green",
)
GRAPH = NodeKind(
    GraphNode,
    runs=Runs.RUN,
    fields=(template("input"),),
    reads_more=lambda node: node.input is None,
    writes=any_keys,
    has_body=lambda node: node.mode == "inline",
    checks=_check_graph,
    outcomes=frozenset({"answer", "set", "fail", "timeout"}),
    outcome_help="write `answer:` (the data that the graph ends with), `fail`, …",
    summary=lambda node: " or ".join(node.named) or node.graph,
    deeds=graph_deeds,
    shape=("[[", "]]"),
)
BLOCK = NodeKind(
    BlockNode,
    runs=Runs.RUN,
    loop=_block_body,
    has_body=lambda _node: True,
    outcomes=frozenset(),
    summary=lambda node: f"block of {len(node.nodes)} node{'s' * (len(node.nodes) != 1)}",
    shape=("[[", "]]"),
)
FOREACH = NodeKind(
    ForeachNode,
    runs=Runs.RUN,
    fields=(cel("items"), template("max_concurrency"), *_COLLECT, cel("item_errors", at="end")),
    reads_more=lambda node: node.body.graph is not None,
    loop=_foreach_loop,
    has_body=lambda _node: True,
    checks=_check_foreach,
    outcomes=frozenset(),
    summary=_foreach_summary,
    shape=("[[", "]]"),
)
WHILE = NodeKind(
    WhileNode,
    runs=Runs.RUN,
    fields=(cel("while", at="turn"), cel("until", at="end"), *_COLLECT),
    reads_more=lambda node: node.body.graph is not None,
    loop=_while_loop,
    has_body=lambda _node: True,
    checks=_check_while,
    outcomes=frozenset(),
    summary=_while_summary,
    shape=("[[", "]]"),
)
WAIT = NodeKind(
    WaitNode,
    runs=Runs.RUN,
    fields=(template("for"), cel("until")),
    writes=no_keys,
    checks=_check_wait,
    effect=False,
    outcomes=frozenset(),
    outcome_help="a timer fires by itself; with `after: 5s` at another time",
    summary=_wait_summary,
    shape=("((", "))"),
    tone="amber",
)
APPROVAL = NodeKind(
    ApprovalNode,
    runs=Runs.RUN,
    fields=(template("prompt"),),
    writes=lambda _id, node: properties(node.schema_),
    answer_schema="schema",
    effect=False,
    outcomes=frozenset({"answer", "timeout"}),
    outcome_help="write `answer: …` or `timeout`",
    summary=lambda node: node.prompt or "a person decides",
    deeds=approval_deeds,
    shape=("[/", "\\]"),
    tone="rose",
)
RECEIVE = NodeKind(
    ReceiveNode,
    runs=Runs.RUN,
    fields=(cel("accept", roots=SEEN), cel("correlate.*", roots=SEEN)),
    reads=receive_reads,
    checks=check_receive,
    effect=False,
    outcomes=frozenset({"events", "timeout"}),
    outcome_help="write `events: {name: data}` or `timeout`",
    summary=receive_summary,
    shape=("[/", "\\]"),
    tone="blue",
)
EMIT = NodeKind(
    EmitNode,
    handler=imported("anabranch.activities.emit.handler:EmitActivity", connections="connections"),
    fields=tuple(map(template, ("topic", "run", "event", "key", "headers", "data", "source"))),
    writes=no_keys,
    checks=check_emit,
    deeds=emit_deeds,
    summary=emit_summary,
    shape=("[\\", "\\]"),
    tone="blue",
)
FAIL = NodeKind(
    FailNode,
    runs=Runs.RUN,
    fields=(template("message"),),
    writes=no_keys,
    checks=check_fail,
    effect=False,
    outcomes=frozenset(),
    outcome_help="it fails by itself, with its `code`",
    summary=lambda node: node.code,
    shape=(">", "]"),
    tone="red",
)
STOP = NodeKind(
    StopNode,
    runs=Runs.RUN,
    writes=no_keys,
    effect=False,
    outcomes=frozenset(),
    outcome_help="it succeeds by itself",
    summary=lambda node: node.description or "ends here",
    shape=("[\\", "/]"),
)
