"""Whom an `approval` asks, and how the form looks in which people answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from anabranch.context.values import Json
from anabranch.graph.fields import Key, Model

MAX_NAMES: Final = 50
"""How many people, or groups, a question may be for."""
MAX_ANSWERS: Final = 50
"""How many people a question may need."""
MAX_REMINDERS: Final = 100
"""How many reminders one question may have."""
Names: TypeAlias = (
    Annotated[str, Field(min_length=1, max_length=1024)]
    | Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=1024)], ...], Field(min_length=1, max_length=MAX_NAMES)
    ]
)
"""A name, or a list of names; each may be a template, and one that is a single hole may yield a list."""
Widget: TypeAlias = Literal["text", "textarea", "date", "datetime", "time", "select", "radio"]


class People(Model):
    """Whom a question is for."""

    assignee: Names | None = None
    """The person who should answer, or several."""
    groups: Names | None = None
    """The groups whose members should answer."""


class FormField(Model):
    """How one property of the answer is asked for."""

    label: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """What stands above it, in place of the schema's `title`."""
    help: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """What stands below that, in place of the schema's `description`."""
    placeholder: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """What an empty field shows."""
    widget: Widget | None = None
    """What it is filled in with."""


class Form(Model):
    """How the form looks. These are hints: what an answer may be is said by the schema alone."""

    order: tuple[Key, ...] = ()
    """The properties in the order of the form; those that it leaves out come last."""
    fields: dict[Key, FormField] = Field(default_factory=dict)
    """Property → how it is asked for."""
    submit: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    """What stands on the button."""


def verdict_of(schema: Mapping[str, Json] | None) -> tuple[str, ...] | None:
    """Where an answer says yes or no: `()` is the answer itself, `("approved",)` a property; None where it does not.

    It is the schema's one boolean, else the one that is required.
    """
    if schema is None:
        return None
    if schema.get("type") == "boolean":
        return ()
    properties, required = schema.get("properties"), schema.get("required")
    named = properties.items() if isinstance(properties, dict) else ()
    all_of = [name for name, each in named if isinstance(each, dict) and each.get("type") == "boolean"]
    needed = [name for name in all_of if isinstance(required, list) and name in required]
    return next(((names[0],) for names in (all_of, needed) if len(names) == 1), None)


def is_refusal(schema: Mapping[str, Json] | None, answer: Json) -> bool:
    """Whether an answer says no."""
    if (where := verdict_of(schema)) is None:
        return False
    said = answer.get(where[0]) if where and isinstance(answer, dict) else answer
    return said is False
