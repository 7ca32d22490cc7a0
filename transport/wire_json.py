"""The wire types as JSON objects with named fields, for people, and back to their positional arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anabranch.context.changes import ChangeSet
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.context.values import Json, parse_path
from anabranch.errors import AnabranchError, WireFormatError
from anabranch.transport.node_protocol import GraphRequest, NodeTask, PinnedGraph

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
    if fields.get("appended"):
        more = [fields.get("warnings", []), _with_paths(fields["appended"])]
    paths = [parse_path(path) for path in removed]
    return [fields["base_version"], _with_paths(fields["set"]), paths, fields["by"], fields["at"], *more]


def _with_paths(values: Json) -> list[Any]:
    return [each for path, value in _object(values).items() for each in (parse_path(path), value)]


def _object(value: Json) -> Named:
    if not isinstance(value, dict):
        raise WireFormatError(f"expected an object, not {type(value).__name__}")
    return value


_PINNED = ("name", "digest", "definition", "graphs", "revision", "inputs", "capabilities", "limits")
_REQUEST = ("name", "inline", "digests", "is_plain")
_TO_NAMED: dict[type[Any], Callable[[Any], Named]] = {
    NodeTask: _task_to_named,
    ChangeSet: ChangeSet.to_json_object,
    GraphRequest: lambda request: dict(zip(_REQUEST, request.to_wire(), strict=True)),
    PinnedGraph: lambda graph: dict(zip(_PINNED, graph.to_wire(), strict=True)),
    DistributedContext: _context_to_named,
}
_TO_ARRAY: dict[str, Callable[[Named], list[Any]]] = {
    "NodeTask": _task_from_named,
    "ChangeSet": _changes_from_named,
    "GraphRequest": lambda fields: [fields[name] for name in _REQUEST],
    "PinnedGraph": lambda fields: [fields[name] for name in _PINNED],
    "DistributedContext": _context_from_named,
}
