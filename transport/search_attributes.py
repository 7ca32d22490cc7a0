"""The search attributes of a namespace by which people find runs, and how they are registered there.

They are kept in plain text, and seen by whoever may list runs. Nothing of a run's context is in those that every run
has. Those of a graph's own hold what its author names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from anabranch.errors import AnabranchError, ConfigurationError, Unavailable
from anabranch.graph.model import Graph
from anabranch.graph.policies import AttributeType

GRAPH: Final = SearchAttributeKey.for_keyword("AnabranchGraph")
STATE: Final = SearchAttributeKey.for_keyword("AnabranchState")
WAITING_FOR: Final = SearchAttributeKey.for_keyword_list("AnabranchWaitingFor")
SEARCH_ATTRIBUTES: Final[tuple[SearchAttributeKey[Any], ...]] = (GRAPH, STATE, WAITING_FOR)
CAPABILITY: Final = "SearchAttributes"
"""Of a run on a namespace that has all of them, each with its type."""
_OWN: Final = "SearchAttribute"
_WISH: Final = "wished:"
"""What stands before the capability of which nobody has found out yet whether the namespace has it."""
_REFUSED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.UNIMPLEMENTED)
_PATIENCE = timedelta(seconds=10)
_KEYS: Final[Mapping[AttributeType, Callable[[str], SearchAttributeKey[Any]]]] = {
    "keyword": SearchAttributeKey.for_keyword,
    "text": SearchAttributeKey.for_text,
    "int": SearchAttributeKey.for_int,
    "float": SearchAttributeKey.for_float,
    "bool": SearchAttributeKey.for_bool,
    "datetime": SearchAttributeKey.for_datetime,
    "keyword_list": SearchAttributeKey.for_keyword_list,
}


Registered = Mapping[str, IndexedValueType.ValueType]
"""The search attributes of a namespace, by their names."""


def key_of(name: str, kind: AttributeType) -> SearchAttributeKey[Any]:
    """The SDK's key of a graph's own search attribute."""
    return _KEYS[kind](name)


def own_capability(name: str, kind: AttributeType) -> str:
    """What a run may do whose namespace has a search attribute of the graph's own, with this type."""
    return f"{_OWN}:{name}:{kind}"


def wishes(graphs: Iterable[Graph]) -> tuple[str, ...]:
    """What runs of these graphs could do on a namespace with all of their own search attributes: see `granted`."""
    said = (each for graph in graphs for each in graph.search_attributes.items())
    return tuple(sorted({_WISH + own_capability(name, each.type) for name, each in said}))


def own_keys(graphs: Iterable[Graph]) -> tuple[SearchAttributeKey[Any], ...]:
    """The graphs' own search attributes, by name. Raises ConfigurationError for one that has two types."""
    found: dict[str, tuple[AttributeType, str]] = {}
    for graph in graphs:
        for name, said in graph.search_attributes.items():
            kind, other = found.setdefault(name, (said.type, graph.name))
            if kind != said.type:
                raise ConfigurationError(
                    f"the search attribute {name} is a {kind} in {other!r} and a {said.type} in {graph.name!r}",
                    suggestion="a namespace has one type for it: let both graphs say the same",
                )
    return tuple(key_of(name, kind) for name, (kind, _) in sorted(found.items()))


def granted(capabilities: Iterable[str], found: Registered) -> tuple[str, ...]:
    """The capabilities, with those that were wished for and that the namespace has, each with its type.

    A wish that nobody grants is none: to set an attribute that is not registered would halt the run.
    """
    plain = (each.removeprefix(_WISH) for each in capabilities if not each.startswith(_WISH) or _is_there(each, found))
    return tuple(plain)


def _is_there(wish: str, found: Registered) -> bool:
    _, name, kind = wish.removeprefix(_WISH).split(":")
    return any(is_registered(make(name), found) for known, make in _KEYS.items() if known == kind)


def is_registered(key: SearchAttributeKey[Any], found: Registered) -> bool:
    """Whether a search attribute is among them, with its type."""
    return found.get(key.name) == _type(key)


def are_among(found: Registered) -> bool:
    """Whether all of those that every run has are registered, each with its type."""
    return all(is_registered(key, found) for key in SEARCH_ATTRIBUTES)


async def register(client: Client, own: Iterable[SearchAttributeKey[Any]] = ()) -> list[str]:
    """Register those that the client's namespace lacks, and graphs' `own`; returns their names.

    Raises ConfigurationError where that is not allowed, or one of them has another type; Unavailable.
    """
    keys = (*SEARCH_ATTRIBUTES, *own)
    try:
        found = await registered(client)
        for key in keys:
            if found.get(key.name, _type(key)) != _type(key):
                raise _of_another_type(client, key, found[key.name])
        missing = {key.name: _type(key) for key in keys if key.name not in found}
        if missing:
            request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
            await client.operator_service.add_search_attributes(request, timeout=_PATIENCE)
    except RPCError as error:
        raise _not_registered(client, keys, error) from error
    return list(missing)


async def registered(client: Client, patience: timedelta = _PATIENCE) -> Registered:
    """The search attributes of the client's namespace. Raises RPCError."""
    request = ListSearchAttributesRequest(namespace=client.namespace)
    answer = await client.operator_service.list_search_attributes(request, timeout=patience)
    return dict(answer.custom_attributes)


def _type(key: SearchAttributeKey[Any]) -> IndexedValueType.ValueType:
    name = f"INDEXED_VALUE_TYPE_{key.indexed_value_type.name}"
    return IndexedValueType.Value(name)


def _of_another_type(client: Client, key: SearchAttributeKey[Any], found: IndexedValueType.ValueType) -> AnabranchError:
    return ConfigurationError(
        f"the namespace {client.namespace!r} has a search attribute {key.name} of another type:"
        f" {IndexedValueType.Name(found)}, not {IndexedValueType.Name(_type(key))}",
        place=client.service_client.config.target_host,
        suggestion=f"remove it by `temporal operator search-attribute remove --name {key.name}`, where nobody needs it",
    )


def _not_registered(client: Client, keys: Iterable[SearchAttributeKey[Any]], error: RPCError) -> AnabranchError:
    place = client.service_client.config.target_host
    if error.status in _REFUSED or error.status == RPCStatusCode.INVALID_ARGUMENT:
        named = ", ".join(f"{key.name} ({key.indexed_value_type.name})" for key in keys)
        return ConfigurationError(
            f"search attributes of the namespace {client.namespace!r} cannot be registered: {error.message}",
            place=place,
            suggestion=f"let somebody who may administer the namespace register {named}",
        )
    return Unavailable(f"the Temporal server does not register search attributes: {error.message}", place=place)
