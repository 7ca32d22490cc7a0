"""The nodes that wait: for a time, for people, for events."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from anabranch.graph.fields import Cel, Duration, DurationTemplate, EventName, Key, Model, SchemaObject
from anabranch.graph.model.base_node import BaseNode, Node
from anabranch.graph.people import MAX_ANSWERS, MAX_REMINDERS, Form, Names, People


class WaitNode(BaseNode):
    """A timer: `for`, a duration or a template that yields one, or `until`, an expression that yields a time."""

    type: Literal["wait"]
    for_: Duration | str | None = Field(None, alias="for")
    """How long."""
    until: Cel | None = None
    """Until which time: ISO 8601, or Unix milliseconds."""


class Remind(Model):
    """Reminders of a question that nobody has answered."""

    after: DurationTemplate
    """How long after the question the first one comes."""
    every: DurationTemplate | None = None
    """How long after each one the next comes. Without it there is one."""
    times: Annotated[int, Field(strict=True, ge=1, le=MAX_REMINDERS)] = 10
    """How many there are at most."""
    node: Node
    """What reminds: a node that sends a message. It sees the question as `question`, and writes nothing."""


class Escalate(Model):
    """Hands a question that nobody has answered to others."""

    after: DurationTemplate
    """How long after the question."""
    to: People
    """Whom the question is for from then on."""
    node: Node | None = None
    """What tells them. It sees the question as `question`, and writes nothing."""


class ApprovalNode(BaseNode):
    """A person decides, or several people do, by the update `complete_task`."""

    type: Literal["approval"]
    prompt: str = ""
    """What the person is asked."""
    schema_: SchemaObject | None = Field(None, alias="schema")
    """The JSON Schema of the answer."""
    assignee: Names | None = None
    """The person who should answer, or several."""
    groups: Names | None = None
    """The groups whose members should answer."""
    answers: Annotated[int, Field(strict=True, ge=1, le=MAX_ANSWERS)] = 1
    """How many people have to answer. One who says no decides for all."""
    remind: Remind | None = None
    """Reminders, as long as nobody has answered."""
    escalate: Escalate | None = None
    """Whom the question is handed to where nobody answers."""
    form: Form | None = None
    """Hints for the form in which people answer."""


class ReceiveNode(BaseNode):
    """Waits for an event that somebody sends to the run, by the signal `event`."""

    type: Literal["receive"]
    event: EventName | Annotated[tuple[EventName, ...], Field(min_length=1, max_length=20)]
    """The event's name, or several names."""
    mode: Literal["any", "all"] = "any"
    """Of several events, whether it waits for any one, or for one of each."""
    accept: Cel | None = None
    """An event is left to others unless this holds. It sees the event's data as `event`, and `event_name`."""
    correlate: dict[Key, Cel] = Field(default_factory=dict)
    """A key of the context → an expression over `event`: events for which the two differ are left to others."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the events."""
        return (self.event,) if isinstance(self.event, str) else self.event
