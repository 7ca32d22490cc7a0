"""The records of the built-in node types, in the order of the language's reference, and their smaller parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from anabranch.errors import Problem
from anabranch.graph.expressions.cel_hints import DATE_ADVICE
from anabranch.graph.fields import parse_duration
from anabranch.graph.kinds.ai import ai_summary, ai_writes, check_ai
from anabranch.graph.kinds.approval import PEOPLE, approval_summary, approval_writes, check_approval
from anabranch.graph.kinds.composites import (
    block_body,
    check_foreach,
    check_graph,
    check_while,
    foreach_loop,
    foreach_summary,
    while_loop,
    while_summary,
)
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
from anabranch.graph.kinds.kind import NodeKind, Runs, any_keys, called, imported, no_keys
from anabranch.graph.kinds.receive import SEEN, check_receive, receive_reads, receive_summary
from anabranch.graph.kinds.rule import check_rule, rule_reads, rule_summary, rule_writes
from anabranch.graph.kinds.tools import has_tools, tools_loop
from anabranch.graph.model import (
    ActivityNode,
    AiNode,
    ApprovalNode,
    BlockNode,
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
from anabranch.graph.source.shapes import duration_advice

_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}", re.ASCII)
_COLLECT = (cel("collect.value", at="end"), cel("collect.when", at="end"))


def _check_wait(node: WaitNode, finder: Finder) -> Iterator[Problem]:
    given = [name for name, value in (("for", node.for_), ("until", node.until)) if value is not None]
    yield from finder.exactly_one("WAIT_SOURCE", given, ("for", "until"))
    if isinstance(node.for_, str) and "{{" not in node.for_:
        try:
            parse_duration(node.for_)
        except ValueError as error:
            message = f"waits for what is not a duration: {error}"[:300]
            yield finder.problem("VALUE_INVALID", message, "for", suggestion=duration_advice(node.for_))
    if node.until is not None and _DATE.fullmatch(node.until.strip()):
        message = "waits until a difference of three numbers"
        yield finder.problem("VALUE_INVALID", message, "until", suggestion=DATE_ADVICE)


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
    loop=tools_loop,
    has_body=has_tools,
    summary=ai_summary,
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
    checks=check_graph,
    outcomes=frozenset({"answer", "set", "fail", "timeout"}),
    outcome_help="write `answer:` (the data that the graph ends with), `fail`, …",
    summary=lambda node: " or ".join(node.named) or node.graph,
    deeds=graph_deeds,
    shape=("[[", "]]"),
)
BLOCK = NodeKind(
    BlockNode,
    runs=Runs.RUN,
    loop=block_body,
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
    loop=foreach_loop,
    has_body=lambda _node: True,
    checks=check_foreach,
    outcomes=frozenset(),
    summary=foreach_summary,
    shape=("[[", "]]"),
)
WHILE = NodeKind(
    WhileNode,
    runs=Runs.RUN,
    fields=(cel("while", at="turn"), cel("until", at="end"), *_COLLECT),
    reads_more=lambda node: node.body.graph is not None,
    loop=while_loop,
    has_body=lambda _node: True,
    checks=check_while,
    outcomes=frozenset(),
    summary=while_summary,
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
    fields=tuple(map(template, ("prompt", *PEOPLE))),
    writes=lambda _id, node: approval_writes(node),
    answer_schema="schema",
    checks=check_approval,
    effect=False,
    outcomes=frozenset({"answer", "answers", "timeout"}),
    outcome_help="write `answer: …`, `answers: [{by: …, answer: …}]` or `timeout`",
    summary=approval_summary,
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
