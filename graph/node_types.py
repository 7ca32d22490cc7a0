"""Node types by name: the built-in models, and the kinds that other distributions bring by an entry point.

An entry point `anabranch.node_kinds` is named after its type and leads to a `NodeKind` (`graph/kinds/kind.py`). Entry
points are looked up once; the module of one is imported when a graph first names its type, so that a broken
distribution breaks only the graphs that use it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from threading import Lock
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from anabranch.errors import ConfigurationError

ENTRY_POINTS = "anabranch.node_kinds"
NODE_REFERENCE = "https://anabranch.invalid/node"
"""The reference to a node in a model's JSON Schema; `graph_json_schema` replaces it by the known types."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_OTHER_NAMES = {"database": "db", "llm": "ai", "subgraph": "graph", "subprocess": "graph"}
_loading = Lock()
_built_in: dict[str, type[BaseModel]] = {}


@runtime_checkable
class ForeignKind(Protocol):
    """What this module knows of a `NodeKind`."""

    @property
    def model(self) -> type[BaseModel]:
        """The class of its nodes."""
        ...

    @property
    def name(self) -> str:
        """The node type."""
        ...

    def unfit_for_others(self) -> str | None:
        """Why it cannot be the kind of another distribution."""
        ...


def built_in(models: Mapping[str, type[BaseModel]]) -> None:
    """Declare the models of the built-in node types; `graph/model` does, once."""
    _built_in.update(models)


def built_in_type(name: str) -> str | None:
    """The built-in type that a name means, as rust-logic-graph spells it too: `rule` for `rule`, `Rule`, `RuleNode`."""
    if name in _built_in:
        return name
    short = name.casefold().removesuffix("node").rstrip("_-")
    short = _OTHER_NAMES.get(short, short)
    return short if short in _built_in else None


def foreign_names() -> tuple[str, ...]:
    """The node types of other distributions, none of which is imported for it."""
    return tuple(sorted(name for name in _entries() if _refusal(name) is None))


def names() -> tuple[str, ...]:
    """Every node type that a graph may name."""
    return (*_built_in, *foreign_names())


def foreign_modules() -> frozenset[str]:
    """The top-level modules of the node types of other distributions."""
    return frozenset(entry.module.partition(".")[0] for entries in _entries().values() for entry in entries)


def check_names() -> None:
    """Refuse entry points whose names cannot be used. Raises ConfigurationError."""
    for name in _entries():
        if (reason := _refusal(name)) is not None:
            raise ConfigurationError(reason, suggestion="uninstall the distribution, or rename its node type")


def model_of(name: str) -> type[BaseModel] | None:
    """The model of a node type; None where there is no such type. Raises ConfigurationError where it is unusable."""
    if name in _entries():
        return foreign(name).model
    return _built_in.get(name)


def foreign(name: str) -> ForeignKind:
    """The `NodeKind` that an entry point leads to. Raises ConfigurationError naming its distribution."""
    if (reason := _refusal(name)) is not None:
        raise ConfigurationError(reason, suggestion="uninstall the distribution, or rename its node type")
    with _loading:
        return _loaded(name)


@cache
def _entries() -> Mapping[str, tuple[EntryPoint, ...]]:
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


@cache
def _refusal(name: str) -> str | None:
    """Why entry points of this name are refused."""
    entries = _entries()[name]
    brought = f"the node type {name!r} of {' and of '.join(map(_distribution, entries))}"
    if built_in_type(name) is not None:
        return f"{brought} has the name of a built-in type"
    if len(entries) > 1:
        return f"{brought} is brought twice"
    if not _NAME.fullmatch(name):
        return f"{brought} has a name that is not made of small letters, digits and underscores"
    return None


@cache
def _loaded(name: str) -> ForeignKind:
    (entry,) = _entries()[name]
    brought = f"the node type {name!r} of {_distribution(entry)}"
    try:
        kind = entry.load()
    except Exception as error:
        message = f"{brought} cannot be imported: {type(error).__name__}: {error}"
        raise ConfigurationError(message, place=entry.value, suggestion="repair the distribution") from error
    if not isinstance(kind, ForeignKind):
        raise ConfigurationError(f"{brought} is a {type(kind).__name__}, not a NodeKind", place=entry.value)
    if kind.name != name:
        message = f"{brought} leads to the NodeKind of {kind.name!r}"
        raise ConfigurationError(message, place=entry.value, suggestion="name the entry point after the type")
    if (reason := kind.unfit_for_others()) is not None:
        raise ConfigurationError(f"{brought} {reason}", place=entry.value)
    kind.model.model_rebuild()  # under the lock: pydantic builds a model at its first use, in whichever thread that is
    return kind


def _distribution(entry: EntryPoint) -> str:
    dist = entry.dist
    return "an unknown distribution" if dist is None else f"the distribution {dist.name} {dist.version}"


class ByType:
    """Has pydantic read a node as its own `type` says, whatever distribution that comes from.

    A union of models would have to be complete when the model around it is built.
    """

    def __get_pydantic_core_schema__(self, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        """A validator that asks the node's type, and a serializer that asks the node."""

        def node(value: object) -> BaseModel:
            return value if isinstance(value, source) else _model_named_by(value).model_validate(value)

        by_itself = core_schema.simple_ser_schema("any")
        return core_schema.no_info_plain_validator_function(node, serialization=by_itself)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """A reference to all node types."""
        return {"$ref": NODE_REFERENCE}


def _model_named_by(value: object) -> type[BaseModel]:
    if not isinstance(value, Mapping):
        raise PydanticKnownError("dict_type")
    name = value.get("type")
    if name is None:
        raise PydanticCustomError("node_type_missing", "has no `type`")
    try:
        model = model_of(name) if isinstance(name, str) else None
    except ConfigurationError as error:
        details = {"reason": error.message, "suggestion": error.suggestion or ""}
        raise PydanticCustomError("node_type_unusable", "is not usable: {reason}", details) from None
    if model is None:
        raise PydanticCustomError("node_type_unknown", "has the unknown type {name}", {"name": str(name)[:64]})
    return model
