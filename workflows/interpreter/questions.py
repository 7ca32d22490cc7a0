"""What a run asks people, and the command that answers each question.

A command is one line for a shell: it can be copied from the Web UI, from the query `status` or from a terminal.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from anabranch.context.merge.union import Conflict
from anabranch.context.values import Json, format_path
from anabranch.workflows.interpreter.commands import AskConflict, AskPerson, AwaitEvent

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
    """Something that a node waits for since `asked` (Unix milliseconds), and that nobody has answered or sent."""

    command: AskPerson | AskConflict | AwaitEvent
    asked: int
    resumed: int | None = None
    """Since when the time of the command counts, where another workflow run has asked."""

    @property
    def deadline(self) -> int | None:
        """Until when it waits, in Unix milliseconds."""
        timeout = self.command.timeout
        began = self.asked if self.resumed is None else self.resumed
        return None if timeout is None else began + round(timeout * 1000)

    def asking(self, command: AskPerson) -> OpenQuestion:
        """The same question, of which there is something else to see."""
        return replace(self, command=command)

    def since(self, asked: int) -> OpenQuestion:
        """The same question, which another workflow run has asked."""
        return replace(self, asked=asked, resumed=self.asked)


@dataclass(frozen=True, slots=True)
class Answering:
    """The commands of `anabranch` that answer the questions of one workflow, and retry its nodes."""

    workflow_id: str
    namespace: str
    console: str | None = None
    """The console's address, if there is one."""

    @property
    def link(self) -> str | None:
        """Where the console shows the run."""
        return None if self.console is None else f"{self.console}/runs/{quote(self.workflow_id, safe='')}"

    def approval(self, question: OpenQuestion, ask: AskPerson, more: Mapping[str, Json]) -> dict[str, Json]:
        """What an approval asks, as JSON for people; `more` is what is known of one that is watched."""
        described: dict[str, Json] = {"prompt": ask.prompt, "asked": question.asked}
        if question.deadline is not None:
            described["deadline"] = question.deadline
        described |= {name: names for name, names in ask.assigned.described().items() if names}
        described |= more
        if ask.schema is not None:
            described["schema"] = dict(ask.schema)
        if ask.form is not None:
            described["form"] = dict(ask.form)
        return {**described, "answer": self.answer(ask.address, ask.schema)}

    def answer(self, address: str, schema: Mapping[str, Json] | None) -> str:
        """The command with an answer of the right shape, to be edited."""
        given = json.dumps(example(schema), ensure_ascii=False)
        return self._command("answer", address, options=("--input", given))

    def awaited(self, question: OpenQuestion, wait: AwaitEvent) -> dict[str, Json]:
        """What a `receive` node waits for, as JSON for people."""
        described: dict[str, Json] = {"names": list(wait.names), "asked": question.asked}
        if wait.needs_all:
            described["mode"] = "all"
        if question.deadline is not None:
            described["deadline"] = question.deadline
        return {**described, "send": self.send_event(wait)}

    def send_event(self, wait: AwaitEvent) -> str:
        """The command that sends an event, to be edited."""
        sent = json.dumps({"name": wait.names[0], "data": {}})
        where = "" if self.namespace == "default" else f"TEMPORAL_NAMESPACE={shell_word(self.namespace)} "
        words = (
            "temporal",
            "workflow",
            "signal",
            "--workflow-id",
            self.workflow_id,
            "--name",
            "event",
            "--input",
            sent,
        )
        return where + " ".join(map(shell_word, words))

    def resolve_conflict(self, address: str, conflict: Conflict) -> str:
        """The command that chooses the first candidate."""
        return self.resolve(address, format_path(conflict.path), [each.by for each in conflict.candidates])

    def resolve(self, address: str, path: str, writers: Sequence[str]) -> str:
        """The command that chooses the first of the candidates, who wrote which."""
        choose = writers[0] if writers.count(writers[0]) == 1 else "0"
        return self._command("resolve", address, path, options=("--choose", choose))

    def operate(self, address: str, verb: str = "retry") -> str:
        """The command for a paused node, or compensation."""
        return self._command(verb, address)

    def _command(self, verb: str, *about: str, options: tuple[str, ...] = ()) -> str:
        named = (self.workflow_id, *about)
        if any(each.startswith("-") for each in named):  # else it would be an option
            named, options = (*options, "--", *named), ()
        where = "" if self.namespace == "default" else f"TEMPORAL_NAMESPACE={shell_word(self.namespace)} "
        return where + " ".join(map(shell_word, ("anabranch", verb, *named, *options)))


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


def shell_word(text: str) -> str:
    """A word for a shell, all of whose characters are seen."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_escaped, text)) + "'"


def _escaped(char: str) -> str:
    return f"\\{char}" if char in "\\'" else char if char.isprintable() else f"\\U{ord(char):08x}"
