"""From a run that has ended, and a request, to what a new run takes over, tried out on the interpreter itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from anabranch.errors import AnabranchError, ConflictError, GraphMismatch, NodeUnknown, RerunRefused
from anabranch.graph.kinds.kinds import has_body
from anabranch.graph.pinned import plan_of
from anabranch.graph.plan import Plan
from anabranch.graph.source.problems import did_you_mean
from anabranch.rerun.answers import is_same, kept_turns, of_items, of_unchanged, same_inside
from anabranch.rerun.leaving import has_happened, may_have_effect
from anabranch.rerun.past import Past, machine_for, root_of
from anabranch.rerun.plan import Items, RerunPlan
from anabranch.transport.node_protocol import PinnedGraph
from anabranch.transport.rerun import RerunRequest
from anabranch.workflows.interpreter.journal import Entry
from anabranch.workflows.interpreter.rerun import RerunMachine
from anabranch.workflows.interpreter.scope import END
from anabranch.workflows.interpreter.taken_over import Answer, TakenOver

_ALWAYS = frozenset({"write", "hear", "resume", "hold", "release"})
"""What a run was told that is of none of its nodes."""
_CHUNK = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A rerun that can be started."""

    plan: RerunPlan
    pinned: PinnedGraph
    taken: TakenOver


def prepare(past: Past, request: RerunRequest, pinned: PinnedGraph | None = None) -> Prepared:
    """What a rerun takes over, and does; `pinned` is the graph where that is not the one of the run before.

    Raises NodeUnknown, GraphMismatch, RerunRefused, and what an input does that the graph does not take.
    """
    return _Preparation(past, request, pinned or past.pinned).made()


class _Preparation:
    def __init__(self, past: Past, request: RerunRequest, pinned: PinnedGraph) -> None:
        self._past, self._request, self._pinned = past, request, pinned
        self._is_other = pinned.digest != past.pinned.digest
        self._plan: Plan = past.plan
        if self._is_other:
            inputs = pinned.inputs[pinned.name]
            self._plan = plan_of(pinned.definition, pinned.graphs, revision=pinned.revision, inputs=inputs)
        self._named = self._chosen()

    def made(self) -> Prepared:
        past = self._past
        undone = {root_of(address) for address in past.undone}
        played = past.done - set(self._named) - undone
        self._check_kept(played)
        taken = self._taken(played)
        machine = self._tried(taken)
        kept = frozenset(name for name in played if machine.state.main.nodes[name].status.final)
        held = [run for scope, run in machine.keeping.held if not (run.planned.id == END or scope.has_lost(run))]
        first = tuple(run.planned.id for run in held)
        self._check_reached(first, kept)
        taken = replace(taken, played=kept, answers=self._answers(kept, first))
        self._check_edits(machine)
        return Prepared(self._described(taken, first, machine), self._pinned, taken)

    def _chosen(self) -> tuple[str, ...]:
        """The nodes from which it runs. Raises NodeUnknown, RerunRefused."""
        named = dict.fromkeys(self._request.nodes)
        for name in named:
            if name not in self._plan.nodes:
                raise self._unknown(name)
        if self._request.failed:
            if not self._past.failed:
                raise RerunRefused("no node of the run failed", suggestion="name the nodes: --from NODE")
            named |= dict.fromkeys(name for name in self._past.failed if name in self._plan.nodes)
        if not named:
            raise RerunRefused("the graph has none of the nodes that failed", suggestion="name the nodes: --from NODE")
        return tuple(named)

    def _unknown(self, name: str) -> NodeUnknown:
        owner = root_of(name)
        if owner != name and owner in self._plan.nodes:
            return NodeUnknown(
                f"the node {name!r} is in the body of {owner!r}, and a body runs again as a whole",
                place="from",
                suggestion=f"name {owner!r}: of a `foreach` the items that have ended are kept",
            )
        nodes = list(self._plan.nodes)
        hint = did_you_mean(name, nodes) or f"it has {', '.join(nodes[:20])}"
        return NodeUnknown(f"the graph {self._plan.graph.name!r} has no node {name!r}", place="from", suggestion=hint)

    def _check_kept(self, played: Iterable[str]) -> None:
        """Raises GraphMismatch where another graph does not have a node that is kept, or has it otherwise."""
        if not self._is_other:
            return
        for name in sorted(played):
            before, now = self._past.plan.nodes[name], self._plan.nodes.get(name)
            if now is None:
                raise GraphMismatch(
                    f"the run has done {name!r}, and the other graph has no such node",
                    "rerun from a node before it, so that it is not kept",
                )
            is_alike = before.node.type == now.node.type and has_body(before.node) == has_body(now.node)
            if not is_alike or (has_body(now.node) and not same_inside(self._past.plan, self._plan, name)):
                what = "with another body" if is_alike else f"as a {now.node.type!r} node"
                raise GraphMismatch(
                    f"the run has done {name!r}, and the other graph has it {what}",
                    f"name it, so that it runs again: --from {name}",
                )

    def _taken(self, played: frozenset[str]) -> TakenOver:
        past, run = self._past, self._past.newest
        entries = tuple(entry for entry in past.entries if _is_kept(entry, played))
        edits, data = self._request.edits(), dict(past.data)
        if edits is not None and self._is_other:
            missing = self._plan.inputs - data.keys()
            data |= {path[0]: value for path, value in edits.set.items() if len(path) == 1 and path[0] in missing}
        return TakenOver(
            run.workflow_id,
            run.run_id,
            data,
            past.started,
            played,
            entries,
            effects=past.effects,
            keys={address: key for address, key in past.keys.items() if root_of(address) in played},
            edits=edits,
        )

    def _tried(self, taken: TakenOver) -> RerunMachine:
        """The machine of the new run, with all taken over. Raises RerunRefused where it fails meanwhile."""
        machine = machine_for(self._plan, self._pinned, self._past.newest, taken)
        machine.begin()
        try:
            while machine.take(_CHUNK):
                pass
        except AnabranchError as error:
            raise RerunRefused(
                f"what was written from outside cannot be taken over: {error}",
                suggestion="rerun from a node before that",
            ) from None
        if (failure := machine.state.failure) is not None:
            raise RerunRefused(
                f"with what is kept the graph fails: {failure.message}",
                suggestion=f"rerun from {root_of(failure.node)!r} too" if failure.node else None,
            )
        return machine

    def _check_reached(self, first: Iterable[str], kept: frozenset[str]) -> None:
        """Raises RerunRefused where nothing leads to a node that is named."""
        reached = {*first, *self._behind(first, kept)}
        for name in self._named:
            if name not in reached:
                raise RerunRefused(
                    f"nothing leads to {name!r}: the run skipped it, or had not come so far",
                    place="from",
                    suggestion="rerun from the node whose edge decides about it, with other values",
                )

    def _check_edits(self, machine: RerunMachine) -> None:
        """Raises what the context does not take of the edits."""
        try:
            machine.go_on(machine.state.at + 1)
        except ConflictError as error:
            raise RerunRefused(
                f"what is set cannot be written where branches disagree: {error.message}",
                place="set",
                suggestion="rerun from nodes before these branches, or set nothing and settle it in the new run",
            ) from None

    def _behind(self, first: Iterable[str], kept: frozenset[str]) -> list[str]:
        nodes, found, queue = self._plan.nodes, set(first), list(first)
        for name in queue:  # grows while it is walked
            targets = (edge.edge.target for edge in nodes[name].outgoing)
            following = [target for target in targets if target not in found and target not in kept]
            found.update(following)
            queue.extend(dict.fromkeys(following))
        return [name for name in nodes if name in found and name not in set(first)]

    def _answers(self, kept: frozenset[str], first: tuple[str, ...]) -> dict[str, Answer]:
        past, plan = self._past, self._plan
        found: dict[str, Answer] = {}
        if self._request.keep_unchanged:
            found = of_unchanged(past, plan, without=(*self._named, *kept))
        return found | of_items(past, plan, first)

    def _described(self, taken: TakenOver, first: tuple[str, ...], machine: RerunMachine) -> RerunPlan:
        past, plan = self._past, self._plan
        behind = self._behind(first, taken.played)
        runs = [*first, *behind]
        return RerunPlan(
            past.newest.workflow_id,
            past.newest.run_id,
            "" if past.newest.closing is None else past.newest.closing.kind,
            plan.graph.name,
            plan.graph.version,
            self._pinned.digest,
            self._is_other,
            self._named,
            tuple(name for name in plan.nodes if name in taken.played),
            first,
            tuple(behind),
            tuple(name for name in runs if self._may_be_kept(name, taken.answers)),
            self._items(first),
            tuple(name for name in plan.nodes if name in taken.played and not is_same(past.plan, plan, name)),
            tuple(name for name in runs if may_have_effect(plan, name)),
            tuple(sorted(past.undone)),
            tuple(step for step in machine.state.saga.steps if root_of(step) in taken.played),
            has_happened(past, kept={*taken.played}, answers=taken.answers),
            dict(self._request.changes),
            self._request.removed,
        )

    def _may_be_kept(self, name: str, answers: Mapping[str, Answer]) -> bool:
        """Whether a node, or something in its body, keeps what it came to where that reads the same."""
        return any(not answer.is_item and root_of(address) == name for address, answer in answers.items())

    def _items(self, first: Iterable[str]) -> dict[str, Items]:
        found: dict[str, Items] = {}
        for name in first:
            if kept := kept_turns(self._past, self._plan, name):
                found[name] = Items(len(kept), self._begun(name))
        return found

    def _begun(self, name: str) -> int:
        prefix = f"{self._past.loops[name].attempt}["
        return len({each.address.partition("/")[0] for each in self._past.visits if each.address.startswith(prefix)})


def _is_kept(entry: Entry, played: frozenset[str]) -> bool:
    return entry.event in _ALWAYS or root_of(entry.address) in played
