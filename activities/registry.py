"""One dispatcher for all node types, and the Temporal activities that lead to it.

A node runs as the activity of its type's name (`rule`, `db`, `ai`, `http`, `grpc`, `python`), or, where it is local, as
the dynamic activity, whose type is the node's address, so that the timeline of the Web UI reads as the graph.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from functools import lru_cache
from itertools import chain
from typing import Any, TypeVar

import msgpack
from pydantic import TypeAdapter, ValidationError
from temporalio import activity
from temporalio.common import RawValue

from anabranch.activities.attempts import node_attempt, told_before
from anabranch.activities.carrying import Carrying, record_history, record_reason
from anabranch.activities.evaluation import evaluated
from anabranch.activities.failures import as_application_errors, refuse_outside_of_runs
from anabranch.activities.guards.guards import Guards
from anabranch.activities.guards.limits_of import is_limited
from anabranch.activities.heartbeat import heartbeats
from anabranch.activities.load_graph import GraphLoader
from anabranch.activities.node_result import Closing, Handler, NodeResult, after_effect, not_ending_the_worker
from anabranch.activities.rendering import visible_roots, with_own_names
from anabranch.activities.segments import play
from anabranch.activities.share import ContextSharing
from anabranch.activities.turn import AwaitTurn
from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json, Path, check_value, format_path, parse_path
from anabranch.context.wire import measure_plain, plain
from anabranch.errors import ConfigurationError, InputError, SizeLimitExceeded, WorkerOutdated
from anabranch.graph.expressions.expressions import compile_expression
from anabranch.graph.model import Node
from anabranch.graph.revision import REVISION
from anabranch.limits import ELSEWHERE_SECONDS, NODE_LIMITS, NodeLimits
from anabranch.observe import metrics
from anabranch.transport.failures import failure_told, mark_ran
from anabranch.transport.node_info import work_as
from anabranch.transport.node_protocol import NodeTask
from anabranch.transport.segment import Segment, SegmentResult

_NODE: TypeAdapter[Node] = TypeAdapter(Node)
T = TypeVar("T")

_RESULT = "result"
_UPGRADE = "let a newer worker try it, or upgrade this one"


class NodeActivities:
    """Runs nodes by handlers. Each is built for the first node of its type: some libraries take seconds to import."""

    def __init__(
        self,
        builders: Mapping[str, Callable[[], Handler]],
        graphs: GraphLoader,
        *,
        limits: NodeLimits = NODE_LIMITS,
        guards: Guards | None = None,
        sharing: ContextSharing | None = None,
        carrying: Carrying | None = None,
        elsewhere_seconds: float = ELSEWHERE_SECONDS,
    ) -> None:
        self._carrying = carrying
        self._elsewhere_seconds = elsewhere_seconds
        self._sharing = sharing
        self._builders = builders
        self._guards = guards or Guards()
        self._turns = AwaitTurn(self._guards.turns, elsewhere_seconds)
        self._graphs = graphs
        self._max_bytes = limits.written_bytes
        self._handlers: dict[str, Handler] = {}
        self._building = asyncio.Lock()
        self._running: dict[tuple[bytes, str], str] = {}

    async def build(self, node_type: str) -> None:
        """Build the handler of a node type before its first node. Raises ConfigurationError, and what its code does."""
        if node_type not in self._handlers:
            await self._build(node_type)

    @property
    def graphs(self) -> GraphLoader:
        """What finds the graphs of runs."""
        return self._graphs

    def running(self) -> list[str]:
        """The nodes that this worker runs, each with its workflow's id."""
        return sorted(self._running.values())

    async def execute(self, task: NodeTask) -> ChangeSet:
        """Run a node; returns what it changed. Raises AnabranchError."""
        _check_revision(task)
        node = parse_node(task.node)
        task = await with_own_names(task, node)
        if node.cache is None and node.circuit_breaker is None and not is_limited(node):
            return await self._handle(task, node)
        return await self._guards.around(task, node, lambda: self._handle(task, node))

    async def _handle(self, task: NodeTask, node: Node) -> ChangeSet:
        handler = self._handlers.get(node.type) or await self._build(node.type)
        with not_ending_the_worker():
            outcome = await handler(task, node)
        with after_effect():
            return await self._change_set(task, node, outcome)

    async def run_node(self, task: NodeTask) -> ChangeSet:
        """Run a node as Temporal has it: its attempt is visible as `run.attempt`, errors are ApplicationErrors."""
        info = activity.info()
        refuse_outside_of_runs(info)
        if (before := task.run.attempt - 1) > 0:  # of an activity before this one, which had to wait for its turn
            attempt = info.attempt + before
            work_as(info.activity_id, info.activity_type, info.start_to_close_timeout or timedelta(0), attempt)
        else:
            attempt = info.attempt
        if attempt != task.run.attempt:
            task = dataclasses.replace(task, run=dataclasses.replace(task.run, attempt=attempt))
            retried = (task.run.graph, metrics.node_label(task.address), str(task.node.get("type")))
            if not task.node.get("poll"):  # whose attempts are no retries
                metrics.count(metrics.NODE_RETRIES, *retried)
        place = (info.task_token, task.address)
        self._running[place] = f"node {task.address!r} of {info.workflow_id}"
        try:
            with node_attempt(info, task), nullcontext() if info.is_local else heartbeats(info):
                where = f"node {task.address!r}"
                with as_application_errors(where, elsewhere_seconds=self._elsewhere_seconds):
                    changes = await self.execute(task)
                    mark_ran(where)
                    return changes
        finally:
            del self._running[place]

    def activities(self) -> list[Callable[..., Any]]:
        """What a Worker registers: those of the run itself, one for each node type, and one for local nodes."""
        shared = [] if self._sharing is None else [self._sharing.share_context]
        carried: list[Callable[..., Any]] = []
        if self._carrying is not None:
            carried = [self._carrying.may_be_carried, self._carrying.may_be_sent]
        nodes = map(self._activity_of_type, self._builders)
        return [
            self._graphs.load_graph,
            record_history,
            record_reason,
            self._turns.await_turn,
            *shared,
            *carried,
            *nodes,
            self._local_activity(),
        ]

    async def aclose(self) -> None:
        """Close the handlers' connections, and those of the guards."""
        await self._guards.aclose()
        if self._sharing is not None:
            await self._sharing.aclose()
        while self._handlers:
            _, handler = self._handlers.popitem()
            if isinstance(handler, Closing):
                await handler.aclose()

    def _activity_of_type(self, name: str) -> Callable[..., Any]:
        @activity.defn(name=name)
        async def node_of_type(task: NodeTask) -> ChangeSet:
            return await self.run_node(task)

        return node_of_type

    def _local_activity(self) -> Callable[..., Any]:
        @activity.defn(dynamic=True)
        async def local_nodes(arguments: Sequence[RawValue]) -> ChangeSet | SegmentResult:
            with as_application_errors(elsewhere_seconds=self._elsewhere_seconds):
                tracks = _tracks(arguments)
            (task, segment), *_ = tracks
            if segment is None:
                return await self.run_node(task)
            if segment.told is None:
                return await play([(each, own) for each, own in tracks if own is not None], self.run_node)
            if activity.info().attempt == 1:
                told_before()
                raise failure_told(segment.told)
            return await self.run_node(task)

        return local_nodes

    async def _build(self, node_type: str) -> Handler:
        if (build := self._builders.get(node_type)) is None:
            raise ConfigurationError(f"a {node_type!r} node does not run as an activity of this worker")
        async with self._building:
            if node_type not in self._handlers:
                self._handlers[node_type] = await asyncio.to_thread(build)
        return self._handlers[node_type]

    async def _change_set(self, task: NodeTask, node: Node, outcome: NodeResult) -> ChangeSet:
        keys: dict[str, Json] = {}
        removed: tuple[str, ...] = ()
        appended: Mapping[Path, list[Json]] = {}
        if node.output is not None and not outcome.is_partial:
            parts: Mapping[Path, Json] = await _output(task, node.output, plain(outcome.result))
        else:
            keys, parts, removed = plain(outcome.writes), outcome.parts, outcome.removed
            appended = {path: plain(values, path=path) for path, values in outcome.appended.items()}
        written: dict[Path, Json] = {(key,): value for key, value in keys.items()}
        written |= {path: plain(value, path=path) for path, value in parts.items()}
        self._check_size({**written, **appended})
        return ChangeSet(
            base_version=task.context.metadata.version,
            set=written,
            removed=tuple((key,) for key in removed),
            by=task.address,
            at=task.context.metadata.updated_at,
            warnings=outcome.warnings,
            appended=appended,
            usage=outcome.usage,
        )

    def _check_size(self, writes: Mapping[Path, Json]) -> None:
        check_value(dict.fromkeys(chain.from_iterable(writes)))  # the keys alone: `measure_plain` looks at the values
        sizes: dict[Path, int] = {}
        total = 0
        for path, value in writes.items():
            sizes[path] = size = measure_plain(value, path=path)
            total += size
            if total > self._max_bytes:
                raise _too_large(total, format_path(max(sizes, key=sizes.__getitem__)), self._max_bytes)


def _too_large(total: int, largest: str, limit: int) -> SizeLimitExceeded:
    return SizeLimitExceeded(
        f"the node writes {total} bytes and more, over the limit of {limit}; the largest key is {largest!r}",
        suggestion="write less: a reference instead of the content, fewer columns, fewer rows",
    )


def parse_node(body: dict[str, Json]) -> Node:
    """The typed node of its canonical form; the same body is parsed once. InputError if it is not one."""
    return _parse(msgpack.packb(body))


@lru_cache(maxsize=2048)
def _parse(packed: bytes) -> Node:
    try:
        return _NODE.validate_python(msgpack.unpackb(packed))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] in ("node_type_unknown", "node_type_unusable"):
            raise WorkerOutdated(f"this worker has no such node type: {first['msg']}", suggestion=_UPGRADE) from None
        path = ".".join(map(str, first["loc"]))
        raise InputError(f"the body is not that of a node: {path}: {first['msg']}") from None


def _all_of(kind: type[T], arguments: Sequence[RawValue]) -> list[T] | None:
    """The arguments; None where one of them is something else."""
    converter = activity.payload_converter()
    values = [converter.from_payload(each.payload, kind) for each in arguments]
    return values if all(isinstance(value, kind) for value in values) else None


def _check_revision(task: NodeTask) -> None:
    if task.revision > REVISION:
        raise WorkerOutdated(
            f"the run is held to revision {task.revision} of the interpreter; this worker knows none above {REVISION}",
            suggestion=_UPGRADE,
        )


async def _output(task: NodeTask, output: Mapping[str, str], result: Json) -> dict[Path, Json]:
    roots = {**visible_roots(task), _RESULT: result}
    names = frozenset(roots)
    compiled = {parse_path(text): compile_expression(source, names) for text, source in output.items()}
    data = task.context.data
    return await evaluated(lambda cost: {path: each.evaluate(data, roots, cost) for path, each in compiled.items()})


def _tracks(arguments: Sequence[RawValue]) -> list[tuple[NodeTask, Segment | None]]:
    """The nodes that are to run, each with what else there is to do; a node alone may be without that."""
    tasks, segments = _all_of(NodeTask, arguments[::2]), _all_of(Segment, arguments[1::2])
    if tasks and segments is not None and len(arguments) in (1, 2 * len(tasks)):
        if not segments:
            return [(tasks[0], None)]
        return list(zip(tasks, segments, strict=True))
    name = activity.info().activity_type
    raise ConfigurationError(
        f"this worker has no activity {name!r}", suggestion="start a worker that has it on this task queue"
    )
