"""The answer of an approval, and the choice of a conflict, from the words of a command."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from anabranch.cli.inputs import assign
from anabranch.context.values import Json
from anabranch.errors import InputError
from anabranch.graph.people import verdict_of
from anabranch.graph.source.files import refuse_constant
from anabranch.steering.waiting import Approval, OpenConflict


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command says of the answer: JSON text, yes or no, `key=value` pairs."""

    text: str | None
    verdict: bool | None
    pairs: Sequence[str]

    @property
    def is_given(self) -> bool:
        """Whether it says anything."""
        return self.text is not None or self.verdict is not None or bool(self.pairs)

    def value(self, approval: Approval | None) -> Json:
        """The answer to a question. Raises InputError."""
        if self.text is not None:
            return json_value(sys.stdin.read() if self.text == "-" else self.text, place="--input")
        said = {} if self.verdict is None else _verdict(approval, yes=self.verdict)
        if isinstance(said, dict):
            assign(said, self.pairs, place=None)
        elif self.pairs:
            raise InputError("the answer is a single yes or no, without keys", suggestion="leave `key=value` out")
        return said


@dataclass(frozen=True, slots=True)
class Choice:
    """What a command says of a conflict: a candidate, JSON text of another value, or that the key is removed."""

    candidate: str | None
    value: str | None
    is_removed: bool

    def request(self, conflict: OpenConflict | None) -> dict[str, Json]:
        """The fields of the update; none where it says nothing. Raises InputError."""
        request: dict[str, Json] = {}
        if (name := self.candidate) is not None:
            is_writer = conflict is not None and name in conflict.writers
            request["choose"] = int(name) if name.isascii() and name.isdigit() and not is_writer else name
        if self.value is not None:
            request["value"] = json_value(self.value, place="--value")
        if self.is_removed:
            request["remove"] = True
        return request


def _verdict(approval: Approval | None, *, yes: bool) -> Json:
    """Yes or no in the words of the question's schema: its one boolean. Raises InputError where it has none."""
    where = None if approval is None else verdict_of(approval.schema)
    if where is not None:
        return {where[0]: yes} if where else yes
    raise InputError(
        "the question is none of yes or no: its schema has no single boolean",
        place=None if approval is None else f"node {approval.address!r}",
        suggestion="give `key=value` pairs, or --input",
    )


def json_value(text: str, *, place: str) -> Json:
    """JSON text as a value. Raises InputError."""
    try:
        value: Json = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"this is not JSON: {error}", place=place, suggestion="quote it for the shell: '{\"approved\": true}'"
        ) from None
    return value
