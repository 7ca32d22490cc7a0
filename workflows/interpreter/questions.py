"""What a run asks people, and the command that answers each question.

A command is one line for a shell: it can be copied from the Web UI, from the query `status` or from a terminal.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from anabranch.context.merge.union import Conflict
from anabranch.context.values import Json, format_path
from anabranch.workflows.interpreter.commands import AskConflict, AskPerson

_LEVELS = 6
_PROPERTIES = 50
_EMPTY: dict[str, Json] = {
    "boolean": True,
    "integer": 0,
    "number": 0,
    "string": "…",
    "array": [],
    "object": {},
    "null": None,
}


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """Something that a node asked people at `asked` (Unix milliseconds), and that nobody has answered."""

    command: AskPerson | AskConflict
    asked: int

    @property
    def deadline(self) -> int | None:
        """Until when it waits, in Unix milliseconds."""
        timeout = self.command.timeout
        return None if timeout is None else self.asked + round(timeout * 1000)


@dataclass(frozen=True, slots=True)
class Answering:
    """The commands that answer the questions of one workflow."""

    workflow_id: str
    namespace: str

    def approval(self, question: OpenQuestion, ask: AskPerson) -> dict[str, Json]:
        """What an approval asks, as JSON for people."""
        described: dict[str, Json] = {"prompt": ask.prompt, "asked": question.asked}
        if question.deadline is not None:
            described["deadline"] = question.deadline
        if ask.schema is not None:
            described["schema"] = dict(ask.schema)
        return {**described, "answer": self.complete_task(ask)}

    def complete_task(self, ask: AskPerson) -> str:
        """The command with an answer of the right shape, to be edited."""
        return self._update("complete_task", {"node": ask.address, "answer": example(ask.schema)})

    def resolve_conflict(self, address: str, conflict: Conflict) -> str:
        """The command that chooses the first candidate."""
        writers = [each.by for each in conflict.candidates]
        choose: Json = writers[0] if writers.count(writers[0]) == 1 else 0
        return self._update("resolve_conflict", {"node": address, "path": format_path(conflict.path), "choose": choose})

    def _update(self, name: str, request: dict[str, Json]) -> str:
        words = ["temporal", "workflow", "update", "execute", "--workflow-id", self.workflow_id]
        if self.namespace != "default":
            words += ["--namespace", self.namespace]
        return " ".join(map(_word, [*words, "--name", name, "--input", json.dumps(request)]))


def example(schema: Mapping[str, Json] | None, level: int = 0) -> Json:
    """A value of the shape of a JSON Schema. What its patterns and bounds demand is left to who answers."""
    if schema is None:
        return {}
    for known in _offered(schema):
        return known
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    properties = schema.get("properties")
    if isinstance(properties, dict) and kind in (None, "object") and level < _LEVELS:
        return {
            name: example(each if isinstance(each, dict) else None, level + 1)
            for name, each in list(properties.items())[:_PROPERTIES]
        }
    return _EMPTY.get(kind, {}) if isinstance(kind, str) else {}


def _offered(schema: Mapping[str, Json]) -> Iterator[Json]:
    for name in ("const", "default"):
        if name in schema:
            yield schema[name]
    for name in ("examples", "enum"):
        if isinstance(values := schema.get(name), list):
            yield from values


def _word(text: str) -> str:
    """A word for a shell, all of whose characters are seen."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_escaped, text)) + "'"


def _escaped(char: str) -> str:
    return f"\\{char}" if char in "\\'" else char if char.isprintable() else f"\\U{ord(char):08x}"
