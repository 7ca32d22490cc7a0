"""`anabranch rerun`: run a run again from some of its nodes on, or only say what that would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.text import Text

from anabranch.cli.opening import inspector_for
from anabranch.cli.report import out, print_block, print_json
from anabranch.cli.steer import changes_of
from anabranch.cli.steered import Steering
from anabranch.display import plain
from anabranch.errors import InputError, UnknownGraph
from anabranch.graph.load import LoadedGraph, digests, load_graph
from anabranch.inspection.runs import Runs
from anabranch.rerun.activity import graph_request
from anabranch.rerun.plan import RerunPlan
from anabranch.rerun.starting import plan_rerun, start_rerun
from anabranch.settings import Settings, settings_from_environment
from anabranch.transport.client import connect
from anabranch.transport.node_protocol import GraphRequest, PinnedGraph
from anabranch.transport.rerun import RerunRequest

_YAML = frozenset({".yaml", ".yml", ".json"})
_NAMED = 5
"""Nodes that the summary names."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the options say of a rerun."""

    nodes: Sequence[str]
    failed: bool
    pairs: Sequence[str]
    removed: Sequence[str]
    keep_unchanged: bool
    graph: str | None
    workflow_id: str | None

    def request(self, steering: Steering) -> RerunRequest:
        """The request. Raises InputError."""
        if not (self.nodes or self.failed):
            raise InputError("from where?", place="--from", suggestion="name nodes, or give --failed")
        request = RerunRequest(
            steering.run,
            steering.run_id,
            tuple(dict.fromkeys(self.nodes)),
            self.failed,
            changes_of(self.pairs),
            tuple(self.removed),
            self.keep_unchanged,
            self.graph,
            by=steering.name,
        )
        request.edits()
        return request


async def rerun_run(steering: Steering, wish: Wish, *, only_plan: bool) -> None:
    """Say what a rerun would do, or do it: the plan is made all the same, and what is wrong is said before a start."""
    request, settings = wish.request(steering), settings_from_environment()
    loaded = _file(wish.graph)
    if loaded is not None:  # workers run their own graphs only, and compare them with the file's
        request = replace(request, graph=loaded.graph.name)
    client = await connect(settings, identity=steering.name)
    inspector = inspector_for(client.data_converter, settings, client.namespace)
    runs = Runs(client, inspector)
    run = await runs.inspect(steering.run, steering.run_id)
    request = replace(request, run_id=run.run_id)
    try:
        plan = await plan_rerun(runs, request, _pinned(request, wish.graph, loaded, settings))
    except UnknownGraph:  # in the folder of this machine; a worker may have it
        if only_plan:
            raise
        plan = None
    if only_plan and plan is not None:
        _say(steering, plan)
        return
    known = None if loaded is None else digests(loaded)
    handle = await start_rerun(client, request, task_queue=run.task_queue, workflow_id=wish.workflow_id, digests=known)
    if steering.as_json:
        described = None if plan is None else plan.described()
        print_json({"workflow_id": handle.id, "run_id": handle.first_execution_run_id, "plan": described})
        return
    said = "" if plan is None else f": {_summary(plan)}"
    out().print(plain(f"started {handle.id}{said}"), markup=False)
    out().print(plain(f"follow it with `anabranch watch {handle.id}`"), markup=False)


def _file(graph: str | None) -> LoadedGraph | None:
    """The graph of a file. Raises GraphError, InputError where there is no such file."""
    if graph is None or Path(graph).suffix not in _YAML:
        return None
    if not Path(graph).is_file():
        raise InputError("there is no such file", place=graph, suggestion="name a graph's file, or a graph")
    return load_graph(Path(graph))


def _pinned(
    request: RerunRequest, graph: str | None, loaded: LoadedGraph | None, settings: Settings
) -> PinnedGraph | None:
    """The other graph: that of the file, or the one of this name in the folder of graphs."""
    from anabranch.activities.load_graph import GraphLoader

    if loaded is not None and graph is not None:
        path = Path(graph)
        return GraphLoader(path.parent, inline=True).load(GraphRequest(inline=path.read_text(encoding="utf-8")))
    if (asked := graph_request(request)) is None:
        return None
    return GraphLoader(settings.graphs).load(asked)


def _say(steering: Steering, plan: RerunPlan) -> None:
    if steering.as_json:
        print_json(plan.described())
        return
    which = "another definition of" if plan.is_other_graph else "the same"
    print_block(Text(plain(f"{plan.workflow_id} {plan.ended}; {which} graph {plan.graph} {plan.version}"), "bold"))
    items = [f"{name}: {each.kept} of {each.begun} items are kept" for name, each in plan.items.items()]
    for title, told in (
        ("runs", plan.first),
        ("behind", plan.behind),
        ("items", items),
        ("kept", plan.kept),
        ("kept if it reads the same", plan.if_unchanged),
        ("kept, though defined otherwise now", plan.changed),
        ("undone before, so runs again", plan.undone),
        ("has an effect again", plan.again),
        ("undone should the rerun fail", plan.taken_over),
        ("stays of the run before", plan.stays),
        ("set", [f"{path} = {value!r}" for path, value in plan.set.items()]),
        ("removed", plan.removed),
    ):
        if told:
            print_block(Text.assemble((f"{title}: ", "bold"), plain(", ".join(told))))


def _summary(plan: RerunPlan) -> str:
    kept = f"{len(plan.kept)} nodes are kept" if len(plan.kept) != 1 else "1 node is kept"
    more = ", …" if len(plan.first) > _NAMED else ""
    return f"{', '.join(plan.first[:_NAMED])}{more} and what is behind; {kept}"
