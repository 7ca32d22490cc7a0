"""The wire types as JSON objects with named fields, for people, and back to their positional arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anabranch.context.changes import ChangeSet, Usage
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.context.values import Json, parse_path
from anabranch.errors import AnabranchError, WireFormatError
from anabranch.transport.node_protocol import GraphRequest, NodeTask, PinnedGraph
from anabranch.transport.rerun import RerunRequest, RerunStart
from anabranch.transport.segment import Ran, Segment, SegmentResult, Step

Named = dict[str, Json]


def to_named(value: Any) -> Named:
    """Give a wire type's fields by name. Raises `KeyError` for any other type."""
    return _TO_NAMED[type(value)](value)


def to_array(name: str, fields: Json) -> list[Any]:
    """Put the named fields of the wire type `name` in their positions. Raises `WireFormatError` for other fields."""
    arrange = _TO_ARRAY.get(name)
    if arrange is None:
        raise WireFormatError(f"{name[:64]!r} is not a wire type", suggestion=f"known are {', '.join(_TO_ARRAY)}")
    try:
        return arrange(_object(fields))
    except AnabranchError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise WireFormatError(f"the object does not have the fields of a {name}: {error!r:.200}") from error


def _task_to_named(task: NodeTask) -> Named:
    return {
        "address": task.address,
        "node": task.node,
        "context": to_named(task.context),
        "run": task.run.root(),
        "key": task.key,
        "reads": None if task.reads is None else list(task.reads),
        "roots": task.roots,
        "revision": task.revision,
    }


def _task_from_named(fields: Named) -> list[Any]:
    run: Any = fields["run"]
    return [
        fields["address"],
        fields["node"],
        _context_from_named(_object(fields["context"])),
        [run[name] for name in ("id", "session_id", "graph", "time", "attempt")],
        fields["key"],
        fields["reads"],
        fields["roots"],
        fields["revision"],
    ]


def _context_to_named(context: DistributedContext) -> Named:
    metadata: Named = {**context.metadata._asdict(), "tags": list[Json](context.metadata.tags)}
    return {"session_id": context.session_id, "data": context.data, "metadata": metadata}


def _context_from_named(fields: Named) -> list[Any]:
    metadata = _object(fields["metadata"])
    return [fields["session_id"], fields["data"], [metadata[name] for name in ContextMetadata._fields]]


def _changes_from_named(fields: Named) -> list[Any]:
    removed: Any = fields["removed"]
    more: list[Any] = [fields["warnings"]] if fields.get("warnings") else []
    if fields.get("appended") or fields.get("usage"):
        more = [fields.get("warnings", []), _with_paths(fields.get("appended", {}))]
    if fields.get("usage"):
        usage: Any = fields["usage"]
        more.append([[each.get(name) for name in Usage._fields] for each in usage])
    paths = [parse_path(path) for path in removed]
    return [fields["base_version"], _with_paths(fields["set"]), paths, fields["by"], fields["at"], *more]


def _segment_to_named(segment: Segment) -> Named:
    steps: list[Json] = [dict(zip(Step._fields, wire, strict=True)) for wire in segment.to_wire()[1]]
    return {**dict(zip(_SEGMENT, segment.to_wire(), strict=True)), "steps": steps}


def _segment_from_named(fields: Named) -> list[Any]:
    steps: Any = fields["steps"]
    return [
        fields["seconds"],
        [[step[name] for name in Step._fields] for step in steps],
        *map(fields.get, _SEGMENT[2:]),
    ]


def _result_to_named(result: SegmentResult) -> Named:
    ran: list[Json] = [
        {**each._asdict(), "changes": None if each.changes is None else each.changes.to_json_object()}
        for each in result.ran
    ]
    return {"began": result.began, "ran": ran}


def _result_from_named(fields: Named) -> list[Any]:
    given: Any = fields["ran"]
    changes = [None if each["changes"] is None else _changes_from_named(_object(each["changes"])) for each in given]
    ran = [{**each, "changes": own} for each, own in zip(given, changes, strict=True)]
    return [fields["began"], [[each[name] for name in Ran._fields] for each in ran]]


def _with_paths(values: Json) -> list[Any]:
    return [each for path, value in _object(values).items() for each in (parse_path(path), value)]


def _object(value: Json) -> Named:
    if not isinstance(value, dict):
        raise WireFormatError(f"expected an object, not {type(value).__name__}")
    return value


_PINNED = ("name", "digest", "definition", "graphs", "revision", "inputs", "capabilities", "limits")
_SEGMENT = ("seconds", "steps", "data", "fences", "told")
_REQUEST = ("name", "inline", "digests", "is_plain")
_RERUN = (
    *("workflow_id", "run_id", "from", "failed", "set", "remove", "unchanged"),
    *("graph", "namespace", "by", "digests", "is_plain"),
)
_RERUN_START = ("pinned", "taken")
_TO_NAMED: dict[type[Any], Callable[[Any], Named]] = {
    NodeTask: _task_to_named,
    ChangeSet: ChangeSet.to_json_object,
    Segment: _segment_to_named,
    SegmentResult: _result_to_named,
    GraphRequest: lambda request: dict(zip(_REQUEST, request.to_wire(), strict=True)),
    PinnedGraph: lambda graph: dict(zip((*_PINNED, "console"), graph.to_wire(), strict=False)),
    RerunRequest: lambda request: dict(zip(_RERUN, request.to_wire(), strict=True)),
    RerunStart: lambda start: dict(zip(_RERUN_START, start.to_wire(), strict=True)),
    DistributedContext: _context_to_named,
}
_TO_ARRAY: dict[str, Callable[[Named], list[Any]]] = {
    "NodeTask": _task_from_named,
    "ChangeSet": _changes_from_named,
    "Segment": _segment_from_named,
    "SegmentResult": _result_from_named,
    "GraphRequest": lambda fields: [fields[name] for name in _REQUEST],
    "PinnedGraph": lambda fields: [fields[name] for name in (*_PINNED, *({"console"} & set(fields)))],
    "RerunRequest": lambda fields: [fields[name] for name in _RERUN],
    "RerunStart": lambda fields: [fields[name] for name in _RERUN_START],
    "DistributedContext": _context_from_named,
}
