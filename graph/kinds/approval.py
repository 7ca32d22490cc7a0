"""What is particular to `approval` nodes: what they write, and what belongs to whom they ask, and how."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from anabranch.context.values import Json
from anabranch.errors import Problem
from anabranch.graph.fields import HOLE
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.kinds.keys import Keys, properties
from anabranch.graph.model import ApprovalNode
from anabranch.graph.people import Form, FormField, Names, verdict_of
from anabranch.graph.source.problems import did_you_mean

QUESTION: Final = frozenset({"question"})
"""What the nodes see that remind of a question, beside the context."""
PEOPLE: Final = (
    "assignee",
    "groups",
    "remind.after",
    "remind.every",
    "escalate.after",
    "escalate.to.assignee",
    "escalate.to.groups",
)
"""The fields that say whom it asks, and when it asks again: templates, like `prompt`."""
ANSWERS: Final = "answers"
"""Of a question to several people: the property of its result that has all answers, and the key that it writes."""
APPROVED: Final = "approved"
"""The key of the verdict where each answer is a yes or a no, and nothing else."""
_TEXTS: Final = ("text", "textarea", "date", "datetime", "time")
_CHOICES: Final = ("select", "radio")


def approval_writes(node: ApprovalNode) -> Keys:
    """The properties of the answer; of several answers the verdict, and the list of them."""
    if node.answers == 1:
        return properties(node.schema_)
    where = verdict_of(node.schema_)
    return frozenset({ANSWERS} if where is None else {*(where or (APPROVED,)), ANSWERS})


def approval_summary(node: ApprovalNode) -> str:
    """What is asked, and of how many."""
    asked = node.prompt or ("a person decides" if node.answers == 1 else "people decide")
    return asked if node.answers == 1 else f"{asked} ({node.answers} answers)"


def check_approval(node: ApprovalNode, finder: Finder) -> Iterator[Problem]:
    """Whom it asks, when it asks again, and the hints of its form."""
    yield from _enough(node, finder)
    yield from _times(node, finder)
    yield from _escalation(node, finder)
    if node.form is not None:
        yield from _form(node, node.form, finder)


def _enough(node: ApprovalNode, finder: Finder) -> Iterator[Problem]:
    if node.answers > 1 and verdict_of(node.schema_) == (ANSWERS,):
        message = "says yes or no by the property `answers`, which is the name of the list of all answers"
        yield finder.problem("NAME_RESERVED", message, "schema", suggestion="give it another name: `approved`")
    names = _plain(node.assignee)
    if node.answers > 1 and names is not None and node.groups is None and len(names) < node.answers:
        message = f"needs the answers of {node.answers} people, and asks {len(names)}"
        suggestion = "name more people, or a group, or ask for fewer answers"
        yield finder.problem("ANSWERS_TOO_MANY", message, "answers", suggestion=suggestion)
    named: tuple[tuple[str, Names | None], ...] = (("assignee", node.assignee), ("groups", node.groups))
    for field, given in named:
        for index, name in enumerate(listed := _plain(given) or ()):
            if name in listed[:index]:
                yield finder.problem("NAME_TWICE", f"names {name[:64]!r} twice", field, index)


def _plain(names: Names | None) -> tuple[str, ...] | None:
    """The names, where all of them are known before a run."""
    listed = (names,) if isinstance(names, str) else names
    return None if listed is None or any(HOLE in each for each in listed) else listed


def _times(node: ApprovalNode, finder: Finder) -> Iterator[Problem]:
    limit = node.timeout if isinstance(node.timeout, timedelta) else None
    remind, escalate = node.remind, node.escalate
    times: dict[tuple[str, ...], timedelta | str | None] = {}
    if remind is not None:
        times |= {("remind", "after"): remind.after, ("remind", "every"): remind.every}
        if remind.every is None and remind.times != type(remind).model_fields["times"].default:
            message = "has `remind.times` without `every`: there is one reminder"
            yield finder.problem("FIELD_HAS_NO_EFFECT", message, "remind", "times", suggestion="write `every: 1d`")
    if escalate is not None:
        times["escalate", "after"] = escalate.after
    for steps, value in times.items():
        if isinstance(value, timedelta) and value <= timedelta(0):
            yield finder.problem("DURATION_NOT_POSITIVE", f"has a `{'.'.join(steps)}` of zero", *steps)
        if steps[1] == "after" and isinstance(value, timedelta) and limit is not None and value >= limit > timedelta(0):
            message = f"has a `{'.'.join(steps)}` that is not shorter than its `timeout`: the question is over by then"
            yield finder.problem("FIELD_HAS_NO_EFFECT", message, *steps, suggestion="make it shorter", warning=True)


def _escalation(node: ApprovalNode, finder: Finder) -> Iterator[Problem]:
    if node.escalate is not None and node.escalate.to.assignee is None and node.escalate.to.groups is None:
        message = "has an `escalate.to` that names nobody"
        suggestion = "write `to: {assignee: ann}` or `to: {groups: [directors]}`"
        yield finder.problem("ESCALATE_TO", message, "escalate", "to", suggestion=suggestion)


def _form(node: ApprovalNode, form: Form, finder: Finder) -> Iterator[Problem]:
    fields = (node.schema_ or {}).get("properties")
    named: list[tuple[tuple[str | int, ...], str]]
    named = [(("form", "order", index), name) for index, name in enumerate(form.order)]
    named += [(("form", "fields", name), name) for name in form.fields]
    if not isinstance(fields, dict):
        if named:
            message = "has a `form` for properties of the answer, and its `schema` has no `properties`"
            yield finder.problem("FORM_FIELD", message, "form", suggestion="give it a `schema` with `properties`")
        return
    for steps, name in named:
        if name not in fields:
            message = f"has a `form` with the property {name[:64]!r}, which its `schema` does not have"
            suggestion = did_you_mean(name, fields) or f"there are {', '.join(sorted(fields)[:20])}"
            yield finder.problem("FORM_FIELD", message, *steps, suggestion=suggestion)
    for index, name in enumerate(form.order):
        if name in form.order[:index]:
            yield finder.problem("FORM_FIELD", f"names {name[:64]!r} twice", "form", "order", index)
    for name, field in form.fields.items():
        yield from _widget(name, field, fields.get(name), finder)


def _widget(name: str, field: FormField, schema: Json, finder: Finder) -> Iterator[Problem]:
    if field.widget is None or not isinstance(schema, dict) or schema.keys().isdisjoint(("type", "enum")):
        return
    is_choice = isinstance(schema.get("enum"), list)
    fits = field.widget in _CHOICES if is_choice else field.widget in _TEXTS and schema.get("type") == "string"
    if not fits and not (field.widget == "radio" and schema.get("type") == "boolean"):
        message = f"asks for {name[:64]!r} with a `{field.widget}`, which does not fit its `schema`"
        suggestion = f"a text has one of {', '.join(_TEXTS)}; an `enum` one of {', '.join(_CHOICES)}"
        yield finder.problem("FORM_WIDGET", message, "form", "fields", name, "widget", suggestion=suggestion)
