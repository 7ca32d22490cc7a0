"""Problems of the context's keys: read but not surely written, written twice at once, policies without effect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property

from anabranch.context.merge.resolution import Reducer
from anabranch.context.values import Json, Path, format_path, parse_path
from anabranch.errors import InputError, Problem, SourceLocation
from anabranch.graph.checks.foreign_names import name_advice
from anabranch.graph.checks.own_names import check_own_names
from anabranch.graph.checks.paths import written_keys
from anabranch.graph.checks.similar import is_slip, similar_names
from anabranch.graph.dataflow.appends import appended_paths
from anabranch.graph.dataflow.dataflow import KeyFlow, UnwrittenRead, key_flows, unwritten_reads
from anabranch.graph.dataflow.fields import node_fields
from anabranch.graph.dataflow.handlers import ERRORS
from anabranch.graph.dataflow.presence import MaybeMissing, maybe_missing
from anabranch.graph.dataflow.reads import node_writes
from anabranch.graph.dataflow.rivals import Rivals, may_rival, rivals
from anabranch.graph.dataflow.walk import names_beside, with_compensations
from anabranch.graph.expressions.expressions import ROOTS
from anabranch.graph.kinds.fields import texts
from anabranch.graph.kinds.keys import Keys
from anabranch.graph.kinds.kinds import fallback_of, loop_of, own_names
from anabranch.graph.model import BaseNode, ForeachNode, Graph, Node
from anabranch.graph.source.problems import as_written, described, did_you_mean
from anabranch.graph.source.yaml_source import Pointer, Source, value_at

_PLACE_NAMES = {
    "error": "on edges of a failure, in the branch behind them, and in compensations",
    "errors": "on edges of a failure, and in the branch behind them",
    "result": "in `output`",
    "item": "in the body of a `foreach`",
    "index": "in the body of a `foreach` or `while`",
    "turn": "in a `while`",
    "outcome": "in `finally`",
    "question": "in what reminds of an `approval`, or escalates it",
}

_OF_NUMBERS = frozenset({Reducer.SUM, Reducer.MIN, Reducer.MAX})


class KeyChecks:
    """The checks of one graph that has no cycles and whose expressions compile; `library` are graphs by name."""

    def __init__(self, graph: Graph, source: Source, library: Mapping[str, Graph]) -> None:
        self.graph = graph
        self.source = source
        self.library = library
        self.key_flows = list(key_flows(graph, library))
        self.unwritten = [read for flow in self.key_flows for read in unwritten_reads(flow)]

    def problems(self) -> Iterator[Problem]:
        """Everything that is found."""
        for read in self.unwritten:
            yield from self._unwritten(read)
        for flow in self.key_flows:
            yield from self._own_names(flow)
            for maybe in maybe_missing(flow):
                yield from self._maybe_missing(maybe, flow)
            yield from self._names(flow)
            for pair in rivals(flow, self.library):
                yield from self._rivals(pair, flow)
        yield from self._policies()
        yield from self._reducers_of_lists()
        yield from self._declared_names()

    @cached_property
    def _declared(self) -> frozenset[str] | None:
        """The keys that `inputs`, or else the schema, declares; None without, or if it allows others on purpose."""
        if self.graph.inputs is not None:
            return frozenset(self.graph.inputs)
        schema = self.graph.context.schema_
        if schema is None or not {"patternProperties", "$ref", "allOf", "anyOf", "oneOf"}.isdisjoint(schema):
            return None
        if schema.get("additionalProperties", False) is not False:
            return None
        properties, required = schema.get("properties"), schema.get("required")
        names = [
            *(properties if isinstance(properties, dict) else ()),
            *(required if isinstance(required, list) else ()),
        ]
        return frozenset(str(name) for name in names)

    def _unwritten(self, read: UnwrittenRead) -> Iterator[Problem]:
        if self._declared is not None:
            if read.key not in self._declared:
                yield self._undeclared(read, self._declared)
        elif read.key in _PLACE_NAMES and (read.key != "outcome" or any(flow.level.is_last for flow in self.key_flows)):
            message = (
                f"{described(read.path)} reads `{read.key}` as a key of the context: the run must be started with it"
            )
            suggestion = f"the name has another meaning only {_PLACE_NAMES[read.key]}"
            yield Problem("NAME_NOT_VISIBLE", message, self._place(read), suggestion, warning=True)
        elif (owner := self._owner_of(read)) is not None:
            message = f"{described(read.path)} reads `{read.key}`, a name that is known only inside of node {owner!r}"
            suggestion = "`input` gives names to the fields of the node itself, not to `when`, to edges, or to its body"
            yield Problem("INPUT_NOT_VISIBLE", message, self._place(read), suggestion, warning=True)
        elif read.path[-1] == "compensate" and (writers := read.flow.writers_of(read.need)):
            later = next(read.flow.named(writers))
            message = f"{described(read.path)} reads `{read.text}`, which nothing has written when it runs"
            suggestion = f"the node {later!r} writes it later; a compensation sees what its own node saw and wrote"
            yield Problem("KEY_WRITTEN_LATER", message, self._place(read), suggestion, warning=True)
        elif (advice := self._spelled_elsewhere(read)) is not None:
            message = (
                f"{described(read.path)} reads `{read.text}`, which no node writes: the run must be started with it"
            )
            yield Problem("KEY_SIMILAR", message, self._place(read), advice, warning=True)
        elif (other := self._similar.get(read.key) or self._own_name_like(read) or _part_like(read)) is not None:
            message = (
                f"{described(read.path)} reads `{read.text}`, which no node writes: the run must be started with it"
            )
            yield Problem("KEY_SIMILAR", message, self._place(read), f"did you mean `{other}`?", warning=True)

    def _own_names(self, flow: KeyFlow) -> Iterator[Problem]:
        for path, key, outer in flow.level.nodes():
            for where, node in with_compensations(path, outer):
                roots = flow.roots(key) | names_beside(path, where)
                yield from check_own_names(where, node, roots, self.source)

    def _owner_of(self, read: UnwrittenRead) -> str | None:
        """The node whose `input` gives the name that is read where it is not known."""
        nodes = [] if read.node is None else [(read.node, read.flow.level.body.nodes[read.node])]
        owner = read.flow.level.owner
        while owner and owner[-1] != "compensate":
            level, name = next(flow.level for flow in self.key_flows if flow.level.path == owner[:-2]), str(owner[-1])
            nodes.append((name, level.body.nodes[name]))
            owner = level.owner
        return next((name for name, node in nodes if read.key in (own_names(node) or ())), None)

    @staticmethod
    def _own_name_like(read: UnwrittenRead) -> str | None:
        names = () if read.node is None else own_names(read.flow.level.body.nodes[read.node]) or ()
        return next((name for name in names if is_slip(read.key, name)), None)

    @cached_property
    def _from_outside(self) -> frozenset[str]:
        """The keys of which a part may come with the input."""
        return frozenset(read.key for read in self.unwritten)

    @cached_property
    def _similar(self) -> dict[str, str]:
        """For an input whose name looks like a slip of the pen: the key that may be meant."""
        written = {name for flow in self.key_flows for name in flow.writers}
        if not similar_names([read.key for read in self.unwritten], written):
            return {}
        # Of two that are read as often, the first in the file is taken to be right.
        in_order = sorted(self.unwritten, key=lambda read: _at(self._place(read)))
        return similar_names([read.key for read in in_order], written)

    def _maybe_missing(self, maybe: MaybeMissing, flow: KeyFlow) -> Iterator[Problem]:
        key, text = maybe.need[0], format_path(maybe.need)
        if key in (self._declared or ()) or (len(maybe.need) > 1 and key in self._from_outside):
            return
        how, advice = "only under a condition", "write it in each case, or "
        if flow.level.is_last and not flow.writers_of(maybe.need):
            if key in self._from_outside:
                return
            how, advice = f"only in a {'block' if flow.level.owner else 'run'} that comes so far", ""
        message = f"{described(maybe.path)} needs `{text}`, which {maybe.writer!r} writes {how}"
        asked = ".?".join(("context", *maybe.need))
        suggestion = f"{advice}say what there is without it: {asked}.orValue(…)"
        place = self._place(UnwrittenRead(maybe.need, maybe.path, maybe.node, flow))
        yield Problem("KEY_MAYBE_MISSING", message, place, suggestion, warning=True)

    def _undeclared(self, read: UnwrittenRead, declared: frozenset[str]) -> Problem:
        by, where = ("the schema does", "context.schema.properties")
        if self.graph.inputs is not None:
            by, where = "`inputs` do", "inputs"
        message = f"{described(read.path)} reads `{read.text}`, which nothing before it writes and {by} not declare"
        flow = read.flow
        later = next(flow.named(flow.writers_of(read.need)), None)
        known = (
            declared | flow.written_before(flow.before(read.node)) | set(map(format_path, flow.parts.get(read.key, ())))
        )
        suggestion = did_you_mean(read.text, sorted(known - {read.key}))
        if later is not None:
            suggestion = f"the node {later!r} writes it, and does not run before"
        suggestion = self._spelled_elsewhere(read) or suggestion or f"declare it under `{where}`"
        return Problem("KEY_UNKNOWN", message, self._place(read), suggestion)

    def _spelled_elsewhere(self, read: UnwrittenRead) -> str | None:
        nodes = read.flow.level.body.nodes
        return name_advice(read.need, nodes, lambda key: self._own_writes(key, nodes[key]), self._known)

    @cached_property
    def _known(self) -> frozenset[str]:
        """All keys that are written, read or declared, and the paths that are written inside of them."""
        return self._from_outside.union(self._written, self._declared or ())

    def _place(self, read: UnwrittenRead) -> SourceLocation:
        """The first mention of the key in the text at the read's path."""
        word = re.compile(rf"(?<![\w.\"'])(?:context\.)?{re.escape(read.key)}(?!\w)")
        path = as_written(read.path, self.source)
        node = value_at(self.source.value, path)
        pointed = [(path, node)] if isinstance(node, str) else list(self._texts(read))
        for path, text in pointed:
            if isinstance(text, str) and (match := word.search(text)):
                return self.source.place_in(path, match.start())
        return self.source.place(read.path, key=True)

    def _texts(self, read: UnwrittenRead) -> Iterator[tuple[Pointer, Json]]:
        node = next(node for path, _, node in read.flow.level.nodes() if path == read.path[: len(path)])
        for step in read.path[len(read.flow.level.path) + 2 :]:
            if step == "compensate" and node.compensate is not None:
                node = node.compensate
        for field in node_fields(node):
            yield from texts(field.value, (*read.path, *field.path))

    def _names(self, flow: KeyFlow) -> Iterator[Problem]:
        """Keys and loop variables that a reserved name hides."""
        reserved = ROOTS | (flow.level.roots - ERRORS)  # after an error a node may well write that key
        for path, key, node in flow.level.nodes():
            if isinstance(node, ForeachNode) and node.variable in ROOTS | ERRORS | {"result", "index"}:
                place, named = self.source.place((*path, "as")), f"names its item `{node.variable}`, a reserved name"
                yield Problem("NAME_RESERVED", f"{described(path)} {named}", place)
            for name in sorted((self._own_writes(key, node) or frozenset()) & reserved):
                message = (
                    f"{described(path)} writes the key `{name}`, a reserved name that no expression reads as a key"
                )
                yield Problem("NAME_RESERVED", message, self._written_at(path, node, name), "give it another name")

    def _own_writes(self, key: str, node: Node) -> Keys:
        """What a node may write, without what the nodes of its body do, which are looked at themselves."""
        if node.output is not None or (loop := loop_of(node)) is None or loop.keeps_writes:
            return node_writes(key, node, self.library)
        lists = (loop.collects, loop.lists_failed, *(fallback_of(node) or ()))
        return frozenset(parse_path(text)[0] for text in lists if text is not None)

    def _declared_names(self) -> Iterator[Problem]:
        """Keys of the context's schema that no run can have, and names of the result that no other graph can take."""
        for text in sorted(self.graph.result or ()):
            if (name := parse_path(text)[0]) not in ROOTS:
                continue
            place = self.source.place(("result", text), key=True)
            message = f"the result has the key `{name}`, a reserved name that no context of another graph can have"
            yield Problem("NAME_RESERVED", message, place, "give it another name")
        properties = (self.graph.context.schema_ or {}).get("properties")
        for name in sorted(ROOTS.intersection(properties if isinstance(properties, dict) else ())):
            place = self.source.place(("context", "schema", "properties", name), key=True)
            message = f"the schema declares the key `{name}`, a reserved name that the context cannot have"
            yield Problem("NAME_RESERVED", message, place, "give it another name")

    def _written_at(self, path: Pointer, node: BaseNode, name: str) -> SourceLocation:
        written = ((text, pointer) for group in written_keys(node) for text, pointer in group)
        found = next((pointer for text, pointer in written if parse_path(text)[0] == name), ("output", name))
        return self.source.place((*path, *found), key=True)

    def _rivals(self, pair: Rivals, flow: KeyFlow) -> Iterator[Problem]:
        spec = self.graph.context
        if spec.conflict_resolution is not None or any(_first(path) == pair.key for path in spec.merge):
            return
        path = flow.level.path_of(pair.second)
        place = self._written_at(path, flow.level.body.nodes[pair.second], pair.key)
        if pair.first == pair.second:
            message = f"every item of {described(path)} writes `{pair.key}`: the default strategy keeps one of them"
            suggestion = f"write `collect:`, or say under `context.merge` what becomes of `{pair.key}`"
        else:
            both = f"the nodes {pair.first!r} and {pair.second!r} run at the same time and both write `{pair.key}`"
            message = f"{both}: the default strategy keeps one of them"
            suggestion = f"say under `context.merge` what becomes of `{pair.key}`, or draw an edge between them"
        yield Problem("PARALLEL_WRITES", message, place, suggestion, warning=True)

    @property
    def _written(self) -> set[str]:
        """The keys that are written, and the paths inside of them."""
        flows = self.key_flows
        paths = {format_path(path) for flow in flows for found in flow.parts.values() for path in found}
        return paths.union(*(flow.writers for flow in flows))

    def _policies(self) -> Iterator[Problem]:
        for text, policy in self.graph.context.merge.items():
            place = self.source.place(("context", "merge", text), key=True)
            try:
                key, *_ = path = parse_path(text)
            except InputError as error:
                yield Problem("MERGE_PATH_INVALID", error.message, place, error.suggestion)
                continue
            if not key:
                yield Problem("MERGE_PATH_INVALID", f"the path {text!r} begins with an empty key", place)
            elif not any(flow.writers_of(path) or flow.unknown for flow in self.key_flows):
                suggestion = did_you_mean(text, sorted(self._written))
                message = f"no node writes `{text}`, so its policy `{policy}` is never used"
                yield Problem("MERGE_UNUSED", message, place, suggestion, warning=True)
            elif policy == "fail_on_conflict" and not any(may_rival(flow, key) for flow in self.key_flows):
                message = f"no two nodes write `{key}` at the same time: there is never a conflict to resolve"
                yield Problem("CONFLICT_IMPOSSIBLE", message, place, "remove the policy", warning=True)

    def _reducers_of_lists(self) -> Iterator[Problem]:
        """Policies that take numbers, for a list that rules append to: each conflict would fail the run."""
        declared = {path: text for text in self.graph.context.merge if (path := _path(text)) is not None}
        refused = dict[str, Path]()
        for path in sorted(appended_paths(self.graph.nodes.values(), self.library)):
            text = next((declared[path[:end]] for end in range(len(path), 0, -1) if path[:end] in declared), None)
            if text is not None and self.graph.context.merge[text] in _OF_NUMBERS:
                refused.setdefault(text, path)
        for text, path in refused.items():
            message = f"the policy `{self.graph.context.merge[text]}` takes numbers, and rules append to the list"
            place = self.source.place(("context", "merge", text), key=True)
            suggestion = "write `append` or `union`, or leave the policy out: lists that grow have `append`"
            yield Problem("MERGE_OF_LIST", f"{message} `{format_path(path)}`", place, suggestion)


def _at(place: SourceLocation) -> tuple[int, int]:
    return place.line, place.column


def _part_like(read: UnwrittenRead) -> str | None:
    """A path that nodes write, which looks as if it was meant by the one that is read."""
    *above, last = read.need
    parts = (path for path in read.flow.parts.get(read.key, ()) if list(path[:-1]) == above)
    return next((format_path(path) for path in parts if is_slip(last, path[-1])), None)


def _first(text: str) -> str | None:
    return None if (path := _path(text)) is None else path[0]


def _path(text: str) -> Path | None:
    try:
        return parse_path(text)
    except InputError:
        return None
