"""What `definitions` of a graph mean, put where they are named: the rest of Anabranch never sees a name.

A schema's `$ref` to `#/definitions/schemas/NAME` becomes one to its own `$defs`, which then has that schema, and those
that it refers to in turn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, cast

from anabranch.context.values import Json
from anabranch.errors import GraphError, Problem
from anabranch.graph.source.attachments import MAX_TOTAL_BYTES
from anabranch.graph.source.problems import described, did_you_mean
from anabranch.graph.source.yaml_source import Pointer, Source

_GROUPS: Final = ("schemas", "retries", "bases")
_REFERENCE: Final = "#/definitions/schemas/"
_SHORT: Final = "#/definitions/"
_DATA: Final = frozenset({"const", "enum", "default", "examples"})
"""Keywords of a schema whose values are no schemas."""
_NAMING: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs"})
"""Keywords whose values have schemas by names that may be those of keywords."""
_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_Object = dict[str, Json]


def with_definitions(source: Source) -> tuple[Source, list[Problem]]:
    """The source with every name of a definition replaced by what it means, and the names that mean nothing."""
    if not isinstance(value := source.value, dict):
        return source, []
    definitions = _Definitions(source, value.get("definitions"))
    resolving = _Resolved(definitions)
    resolved, unused = resolving.graph(value), definitions.unused()
    for group, name in unused:
        place = source.place(("definitions", group, name), key=True)
        message = f"nothing names `definitions.{group}.{name[:128]}`"
        definitions.problems.append(Problem("DEFINITION_UNUSED", message, place, "remove it", warning=True))
    if isinstance(given := value.get("definitions"), dict):
        resolved["definitions"] = resolving.definitions(given, [name for group, name in unused if group == "schemas"])
    moved = {**source.moved, **definitions.moved}
    return replace(source, value=resolved, moved=moved), definitions.problems


class _Definitions:
    """The definitions of one graph, by group and name; `moved` leads from where they are used to where they stand."""

    def __init__(self, source: Source, given: Json) -> None:
        self.problems: list[Problem] = []
        self.moved: dict[Pointer, Pointer] = {}
        self._source = source
        groups = given if isinstance(given, dict) else {}
        self._known: dict[str, _Object] = {name: _mapping(groups.get(name)) for name in _GROUPS}
        self._used: set[tuple[str, str]] = set()
        self._sizes: dict[tuple[str, str], int] = {}
        self._total = 0

    def named(self, group: str, name: str, path: Pointer) -> _Object | None:
        """What a name means where it stands; None, and a problem, where it means nothing."""
        found = self._known[group].get(name)
        if name in self._known[group]:
            self._used.add((group, name))
            self._count(group, name)
            return found if isinstance(found, dict) else None
        known = sorted(self._known[group])
        listed = f"there are {', '.join(known[:20])}" if known else "define it there"
        suggestion = did_you_mean(name, known) or (f"write {{type: {name}}}" if name in _TYPES else listed)
        message = f"{described(path)} names {name[:128]!r}, which `definitions.{group}` does not have"
        self.problems.append(Problem("DEFINITION_UNKNOWN", message, self._source.place(path), suggestion))
        return None

    def _count(self, group: str, name: str) -> None:
        """Count what a name brings, each time that it does. Raises GraphError over the limit."""
        key = (group, name)
        if key not in self._sizes:
            self._sizes[key] = len(json.dumps(self._known[group][name]))
        self._total += self._sizes[key]
        if self._total > MAX_TOTAL_BYTES:
            message = f"where they are named, the definitions come to more than {MAX_TOTAL_BYTES} bytes"
            place = self._source.place(("definitions", group, name), key=True)
            raise GraphError((Problem("GRAPH_TOO_LARGE", message, place, "split the graph"),))

    def has(self, group: str, name: str) -> bool:
        """Whether there is a definition of that name."""
        return name in self._known[group]

    def note(self, used: Pointer, *defined: str) -> None:
        """Remember where what stands at `used` comes from: group, name and steps below."""
        self.moved[used] = self._source.origin(("definitions", *defined))

    def note_fields(self, used: Pointer, fields: _Object, *defined: str) -> None:
        """As `note`, of each field by itself: the whole is placed where it is named."""
        for field in fields:
            self.note((*used, field), *defined, field)

    def unused(self) -> list[tuple[str, str]]:
        """Definitions that nothing names so far, by group and name."""
        return [(group, name) for group in _GROUPS for name in self._known[group] if (group, name) not in self._used]

    def problem(self, code: str, message: str, path: Pointer, suggestion: str) -> None:
        """Note another problem."""
        self.problems.append(Problem(code, message, self._source.place(path), suggestion))


class _Resolved:
    """Makes the value of a graph in which nothing is named."""

    def __init__(self, definitions: _Definitions) -> None:
        self._definitions = definitions

    def graph(self, value: _Object) -> _Object:
        """The graph without its definitions."""
        found = self._bodies(self._nodes(value, ()), ())
        if isinstance(inputs := value.get("inputs"), dict):
            found["inputs"] = {name: self._schema(each, ("inputs", name)) for name, each in inputs.items()}
        found = self._part(found, ("context",), "schema")
        return self._part(found, ("defaults",), "retry")

    def definitions(self, given: _Object, unused: list[str]) -> _Object:
        """The definitions themselves: of schemas those that are looked at nowhere else."""
        if not isinstance(schemas := given.get("schemas"), dict):
            return given
        path: Pointer = ("definitions", "schemas")
        return {**given, "schemas": {name: self._expanded(schemas[name], (*path, name)) for name in unused}}

    def _part(self, value: _Object, path: Pointer, field: str) -> _Object:
        """A part of the graph with one field of it resolved."""
        name = str(path[-1])
        if isinstance(part := value.get(name), dict) and field in part:
            return {**value, name: self._field(part, path, field)}
        return value

    def _nodes(self, value: _Object, path: Pointer) -> _Object:
        if not isinstance(nodes := value.get("nodes"), dict):
            return dict(value)
        return {**value, "nodes": {name: self._node(each, (*path, "nodes", name)) for name, each in nodes.items()}}

    def _node(self, value: Json, path: Pointer) -> Json:
        if not isinstance(value, dict):
            return value
        found = self._nodes(value, path)
        for field in ("retry", "schema", "output_schema"):
            if field in found:
                found = self._field(found, path, field)
        if found.get("type") == "http" and isinstance(found.get("base"), str):
            found = self._with_base(found, path)
        if "compensate" in found:
            found["compensate"] = self._node(found["compensate"], (*path, "compensate"))
        if isinstance(tools := found.get("tools"), dict):
            found["tools"] = {name: self._tool(each, (*path, "tools", name)) for name, each in tools.items()}
        for field in ("remind", "escalate"):
            if found.get("type") == "approval" and isinstance(notice := found.get(field), dict) and "node" in notice:
                found[field] = {**notice, "node": self._node(notice["node"], (*path, field, "node"))}
        return self._bodies(found, path)

    def _tool(self, value: Json, path: Pointer) -> Json:
        if not isinstance(value, dict):
            return value
        found = {**value, "node": self._node(value["node"], (*path, "node"))} if "node" in value else dict(value)
        if isinstance(inputs := value.get("inputs"), dict):
            found["inputs"] = {name: self._schema(each, (*path, "inputs", name)) for name, each in inputs.items()}
        return found

    def _bodies(self, value: _Object, path: Pointer) -> _Object:
        bodies = {inner: body for inner in ("body", "finally") if isinstance(body := value.get(inner), dict)}
        return {**value, **{inner: self._nodes(body, (*path, inner)) for inner, body in bodies.items()}}

    def _field(self, value: _Object, path: Pointer, field: str) -> _Object:
        where = (*path, field)
        if field != "retry":
            return {**value, field: self._schema(value[field], where)}
        if not isinstance(name := value[field], str):
            return value
        retry = self._definitions.named("retries", name, where)
        rest = {key: each for key, each in value.items() if key != field}
        if retry is None:
            return rest
        self._definitions.note_fields(where, retry, "retries", name)
        return {**rest, field: retry}

    def _schema(self, value: Json, path: Pointer) -> Json:
        if not isinstance(value, str):
            return self._expanded(value, path)
        schema = self._definitions.named("schemas", value, path)
        if schema is None:
            return {}
        self._definitions.note_fields(path, schema, "schemas", value)
        return self._expanded(schema, path)

    def _expanded(self, schema: Json, path: Pointer) -> Json:
        """A schema with the definitions that it refers to, and those that they refer to, in its `$defs`."""
        if not isinstance(schema, dict):
            return schema
        own = _mapping(schema.get("$defs"))
        short = "definitions" not in schema
        names: dict[str, str] = {}
        found = self._rewritten(schema, path, names, own, short=short)
        waiting, added = list(names), dict[str, Json]()
        for name in waiting:  # grows while it is walked
            inside = self._definitions.named("schemas", name, path) or {}
            at = (*path, "$defs", names[name])
            self._definitions.note(at, "schemas", name)
            added[names[name]] = self._rewritten(inside, at, names, own, short=short)
            waiting += [each for each in names if each not in waiting]
        return {**found, "$defs": {**_mapping(found.get("$defs")), **added}} if added else found

    def _rewritten(
        self, schema: _Object, path: Pointer, names: dict[str, str], own: _Object, *, short: bool
    ) -> _Object:
        """A schema whose references to definitions lead into `$defs`; `names` gets their names there."""

        def walked(value: Json, at: Pointer) -> Json:
            if isinstance(value, list):
                return [walked(each, (*at, index)) for index, each in enumerate(value)]
            if not isinstance(value, dict):
                return value
            are_names = len(at) > len(path) and at[-1] in _NAMING
            found: _Object = {}
            for key, each in value.items():
                if key == "$ref" and isinstance(each, str) and not are_names:
                    found |= self._reference(each, (*at, key), names, own, short=short)
                else:
                    found[key] = each if key in _DATA and not are_names else walked(each, (*at, key))
            return found

        return cast("_Object", walked(schema, path))

    def _reference(self, text: str, path: Pointer, names: dict[str, str], own: _Object, *, short: bool) -> _Object:
        prefix = _REFERENCE if text.startswith(_REFERENCE) else _SHORT
        name, slash, rest = text.removeprefix(prefix).partition("/")
        is_short = prefix == _SHORT and short and self._definitions.has("schemas", name)
        if not text.startswith(prefix) or not (is_short or prefix == _REFERENCE):
            return {"$ref": text}
        if name not in names and self._definitions.named("schemas", name, path) is None:
            return {}
        if name not in names:
            free = name
            while free in own or free in names.values():
                free += "_"
            names[name] = free
        return {"$ref": f"#/$defs/{names[name]}{slash}{rest}"}

    def _with_base(self, node: _Object, path: Pointer) -> _Object:
        name = cast("str", node["base"])
        rest = {key: each for key, each in node.items() if key != "base"}
        base = self._definitions.named("bases", name, (*path, "base"))
        if base is None or not isinstance(above := base.get("url"), str):
            return rest
        if isinstance(url := rest.get("url"), str):
            if "://" in url.partition("{{")[0]:
                message = f"{described(path)} has a `base` and a whole `url`"
                self._definitions.problem(
                    "HTTP_BASE", message, (*path, "url"), "write what stands behind the base: /orders"
                )
            rest["url"] = f"{above.rstrip('/')}/{url.lstrip('/')}" if url else above
        for field, fold in (("headers", str.lower), ("query", str)):
            own, shared = _mapping(rest.get(field)), _mapping(base.get(field))
            given = {fold(key) for key in own}
            inherited = {key: each for key, each in shared.items() if fold(key) not in given}
            if inherited:
                rest[field] = {**inherited, **own}
            for key in inherited:
                self._definitions.note((*path, field, key), "bases", name, field, key)
        if "auth" in base and "auth" not in rest:
            rest["auth"] = base["auth"]
            self._definitions.note((*path, "auth"), "bases", name, "auth")
        return rest


def _mapping(value: Json | Mapping[str, Json]) -> _Object:
    return dict(value) if isinstance(value, dict) else {}
