"""What a rerun takes over of the run before: what that was told, in order, and what its nodes came to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple, Self

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.graph.plan_node import PlanNode
from anabranch.workflows.interpreter.journal import Entry

_ATTEMPTS: Final = re.compile(r"~\d+")
_ERRORS: Final = frozenset({"error", "errors"})


class Answer(NamedTuple):
    """What a node came to in the run before. It counts where the node sees the same again."""

    entry: Entry
    sight: str
    """The digest of what it saw."""
    is_item: bool
    """Whether it is of an item that has ended: of those only their names count, not the context."""
    key: str
    """The key of its effect."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """All that a rerun knows of the run before it."""

    workflow_id: str
    run_id: str
    """Of the workflow run whose history was read."""
    data: dict[str, Json] = field(default_factory=dict)
    """The input."""
    at: int = 0
    """When the run before began, in Unix milliseconds."""
    played: frozenset[str] = frozenset()
    """The nodes of the graph that are as they were."""
    entries: tuple[Entry, ...] = ()
    answers: Mapping[str, Answer] = field(default_factory=dict)
    """What else may be kept, by the address of the node in its first attempt."""
    effects: str = ""
    """The run id that begins the keys of the effects of the nodes that are played."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Those of them that begin otherwise, by address."""
    edits: ChangeSet | None = None

    @property
    def name(self) -> str:
        """Who wrote what a person changed for the rerun."""
        return f"rerun of {self.workflow_id}"

    def key(self, address: str) -> str:
        """The key of the effect of a node that is played."""
        return self.keys.get(address) or f"{self.effects}/{address}"

    def rest(self, used: Mapping[str, object]) -> TakenOver:
        """What a run needs of it that has taken over what came before, and used some of the answers."""
        answers = {address: answer for address, answer in self.answers.items() if address not in used}
        return TakenOver(self.workflow_id, self.run_id, answers=answers)

    def to_wire(self) -> list[Any]:
        """As a positional array."""
        answers = [[address, each.entry.to_wire(), *each[1:]] for address, each in self.answers.items()]
        head = [self.workflow_id, self.run_id, self.data, self.at, sorted(self.played)]
        edits = None if self.edits is None else self.edits.to_wire()
        entries = [entry.to_wire() for entry in self.entries]
        return [*head, entries, answers, self.effects, dict(self.keys), edits]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        """From the array of `to_wire`."""
        workflow_id, run_id, data, at, played, entries, answers, effects, keys, edits = wire
        return cls(
            workflow_id,
            run_id,
            data,
            at,
            frozenset(played),
            tuple(map(Entry.from_wire, entries)),
            {address: Answer(Entry.from_wire(entry), *more) for address, entry, *more in answers},
            effects,
            keys,
            None if edits is None else ChangeSet.from_wire(edits),
        )


def first_attempt(address: str) -> str:
    """An address without the numbers of attempts."""
    return _ATTEMPTS.sub("", address)


def given_of(planned: PlanNode, line: Line) -> Mapping[str, Json]:
    """What of the context a node is given: the keys that it reads, or all of them."""
    keys, data = planned.reads, line.data
    return data if keys is None else {key: data[key] for key in keys if key in data}


def sight(given: Mapping[str, Json], names: Mapping[str, Json]) -> str:
    """The digest of what a node sees: of the context, and of the names beside it."""
    return sha256(json.dumps([given, names], sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sight_of_item(names: Mapping[str, Json]) -> str:
    """The digest of what counts of an item: the item itself, and where it is in the list."""
    return sight({}, {name: value for name, value in names.items() if name not in _ERRORS})
