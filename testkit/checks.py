"""A test file checked against its graph: addresses, and outcomes that the nodes can have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from anabranch.context.nested import by_path, nested
from anabranch.context.values import Json
from anabranch.errors import Problem, SchemaViolation
from anabranch.graph.kinds.kinds import answer_schema, has_body, kind_of
from anabranch.graph.model import AiNode, ApprovalNode, Node, ReceiveNode
from anabranch.graph.plan import Plan
from anabranch.graph.source.problems import did_you_mean
from anabranch.graph.source.yaml_source import Pointer, Source
from anabranch.testkit.addresses import END, FINALLY, UNDO, known, node_at, static
from anabranch.testkit.given import BESIDE, GivenOutcome
from anabranch.testkit.model import TIMEOUT, Case, Expectation
from anabranch.testkit.people import wrong_answers
from anabranch.workflows.interpreter.input import check_value_against


def case_problems(case: Case, at: Pointer, plan: Plan, source: Source) -> Iterator[Problem]:
    """Problems of one test."""
    yield from outcome_problems(case.outcomes, (*at, "outcomes"), plan, source)
    for pointer, address in _mentions(case, at):
        yield from _address_problem(address, pointer, plan, source)


def outcome_problems(
    outcomes: Mapping[str, GivenOutcome], at: Pointer, plan: Plan, source: Source
) -> Iterator[Problem]:
    """Outcomes of nodes that do not exist, or that these nodes cannot have."""
    for address, outcome in outcomes.items():
        pointer = (*at, address)
        unknown = list(_address_problem(address, pointer, plan, source, key=True))
        yield from unknown
        planned = None if unknown else node_at(plan, address)
        if planned is not None and (refusal := _wrong_outcome(planned.node, address, outcome, plan)):
            yield Problem("OUTCOME_INVALID", refusal[0], source.place(pointer, key=True), refusal[1])


def _mentions(case: Case, at: Pointer) -> Iterator[tuple[Pointer, str]]:
    yield from _listed(case.order, (*at, "order"))
    yield from (((*at, "choose", address), around) for address in case.choose if (around := _join(address)))
    if case.cancel_after is not None:
        yield (*at, "cancel_after"), case.cancel_after
    yield from _expected(case.expect, (*at, "expect"))


def _expected(expect: Expectation, at: Pointer) -> Iterator[tuple[Pointer, str]]:
    for field in ("path", "ran", "skipped", "compensated", "not_compensated"):
        yield from _listed(getattr(expect, field) or (), (*at, field))
    if expect.error is not None and expect.error.node:
        yield (*at, "error", "node"), expect.error.node
    is_list = isinstance(expect.finally_failed, tuple)
    for index, last in enumerate(expect.last_errors):
        if last.node is not None and (node := _last_node(last.node)):
            yield (*at, "finally_failed", *([index] if is_list else []), "node"), node
    for index, conflict in enumerate(expect.conflicts or ()):
        if around := _join(conflict.at or END):
            yield (*at, "conflicts", index, "at"), around


def _last_node(address: str) -> str:
    """The node that a failure of a `finally` names: one in it, or the block whose it is; nothing for that of the run.

    A `finally` as a whole fails where its time is up, or where what it wrote does not fit.
    """
    return static(f"/{address}").removesuffix(f"/{FINALLY.removesuffix('/')}").removeprefix("/")


def _join(address: str) -> str:
    """The node at whose join lines meet, or in whose body they end; nothing for the end of the graph itself."""
    return static(address).removesuffix(END).removesuffix("/")


def _listed(addresses: tuple[str, ...], at: Pointer) -> Iterator[tuple[Pointer, str]]:
    yield from (((*at, index), address) for index, address in enumerate(addresses))


def _address_problem(
    address: str, pointer: Pointer, plan: Plan, source: Source, *, key: bool = False
) -> Iterator[Problem]:
    if node_at(plan, address) is not None:
        return
    place, name = source.place(pointer, key=key), address.removeprefix(UNDO)
    if address.startswith(UNDO) and node_at(plan, name) is not None:
        yield Problem("COMPENSATION_UNKNOWN", f"node {name[:128]!r} has no compensation", place)
        return
    addresses = known(plan)
    suggestion = did_you_mean(static(name), addresses) or f"there are {', '.join(addresses[:20])}"
    yield Problem("NODE_UNKNOWN", f"the graph has no node {name[:128]!r}", place, suggestion)


def _wrong_outcome(node: Node, address: str, outcome: GivenOutcome, plan: Plan) -> tuple[str, str] | None:
    """Why a node cannot have an outcome, and what to write instead."""
    given = outcome.model_fields_set - BESIDE
    if (wrong_calls := _wrong_calls(node, address, outcome)) is not None:
        return wrong_calls
    if "choose" in given:
        return "`choose` is not an outcome of a node", "settle conflicts under the test's own `choose`"
    if has_body(node) and not isinstance(node, AiNode):
        inner = next((each for each in known(plan) if each.startswith(f"{static(address)}/")), "")
        return (
            f"node {address!r} ends as the nodes in its body make it end",
            f"give the outcomes of its nodes: `{inner}`",
        )
    kind = kind_of(node)
    if wrong := sorted(given - kind.outcomes):
        return f"a {node.type!r} node {address!r} has no outcome `{wrong[0]}`", kind.outcome_help
    if "result" in given and node.output is None:
        return f"node {address!r} has no `output` that would read a `result`", "give what it writes: `set`"
    if isinstance(node, ApprovalNode) and (not given or outcome.answers is not None):
        needed = f"node {address!r} needs an answer", f"write `answer: …` or `{TIMEOUT}`"
        return needed if outcome.answers is None else wrong_answers(node, address, outcome.answers)
    if isinstance(node, ReceiveNode) and (wrong_events := _wrong_events(node, address, outcome)):
        return wrong_events
    return _impossible(node, address, outcome)


def _wrong_calls(node: Node, address: str, outcome: GivenOutcome) -> tuple[str, str] | None:
    """Why a model cannot call these tools."""
    tools = (node.tools if isinstance(node, AiNode) else None) or {}
    called = [name for each in outcome.calls for name in each]
    if called and not tools:
        return f"node {address!r} calls no tools", "`calls` is for `ai` nodes with `tools`"
    if unknown := [name for name in called if name not in tools]:
        suggestion = did_you_mean(unknown[0], tools) or f"its tools are {', '.join(tools)}"
        return f"node {address!r} has no tool {unknown[0][:64]!r}", suggestion
    return None


def _wrong_events(node: ReceiveNode, address: str, outcome: GivenOutcome) -> tuple[str, str] | None:
    """Why these are not the events for which a node waits."""
    known, names = " or ".join(node.names), list(outcome.events or ())
    if outcome.timeout:
        return None
    if unknown := [name for name in names if name not in node.names]:
        return f"node {address!r} waits for no event {unknown[0][:64]!r}", f"it waits for {known}"
    if node.mode == "any" and len(names) != 1:
        return f"node {address!r} receives one event", f"write `events: {{{node.names[0]}: …}}` or `{TIMEOUT}`"
    if node.mode == "all" and len(names) < len(node.names):
        missing = next(name for name in node.names if name not in names)
        return f"node {address!r} waits for the event {missing!r} too", "give the data of each"
    return None


def _impossible(node: Node, address: str, outcome: GivenOutcome) -> tuple[str, str] | None:
    """Why a model or a person cannot answer so: the answer does not fit the node's schema."""
    if (found := answer_schema(node)) is None:
        return None
    answer: Json
    if "answer" in outcome.model_fields_set:
        answer = outcome.answer
    elif outcome.set is not None and node.output is None:
        answer = nested(by_path(outcome.set))
    else:
        return None
    try:
        check_value_against(found[1], answer, what="the answer", by=address)
    except SchemaViolation as error:
        return (
            f"node {address!r} cannot have this answer: {error.message}",
            "the answer must fit the schema of the node",
        )
    return None
