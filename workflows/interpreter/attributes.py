"""A graph's own search attributes: what its templates come to on the run's context, as the type of each takes it.

They are looked at where the context has changed at a key that they read. Of one that says nothing yet, because a key is
not there or its value is null, the answer is None. One whose value does not fit is None too, and the run warns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Final, TypeAlias

from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.errors import EvaluationError
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.json_text import text_of
from anabranch.graph.expressions.templates import Template, compile_template
from anabranch.graph.policies import AttributeType, SearchAttribute
from anabranch.transport.node_protocol import iso_time
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.trail import Version
from anabranch.workflows.interpreter.work import unix_seconds

Value: TypeAlias = "str | int | float | bool | datetime | tuple[str, ...]"

WORD_BYTES: Final = 200
"""Of a keyword. A SQL database keeps 255 characters of one."""
TEXT_BYTES: Final = 1_500
"""Of a text, or of all words of a list. The server takes 2 KiB of one attribute, and else fails the workflow task."""
_UNITS: Final = 20_000
"""What one of them may cost. Nothing is held back for them until the next workflow task."""
_WHOLE = 2**63
BY: Final = "search_attributes"
"""Who warns."""


class Misfit(Exception):
    """A value that the type of its search attribute does not take. Says what that takes."""


class OwnAttributes:
    """Those of one run that are set: `named` of the graph's. `now` gives the context, and `shown` what is set."""

    def __init__(
        self,
        state: RunState,
        named: Collection[str],
        now: Callable[[], Line],
        shown: Mapping[str, Value | None],
    ) -> None:
        graph = state.plan.graph
        self._state = state
        self._now = now
        self._said = {name: each for name, each in graph.search_attributes.items() if name in named}
        self._templates = {name: compile_template(each.value) for name, each in self._said.items()}
        self._keys = _read_by(self._templates.values())
        self._shown: dict[str, Value | None] = {name: shown.get(name) for name in self._said}
        self._seen: int | None = None
        self._warned: set[str] = set()

    def changed(self) -> dict[str, Value | None]:
        """Those that say something else than before, with what they say."""
        if not self._is_touched():
            return {}
        line, roots = self._now(), self._state.roots(self._state.main)
        found: dict[str, Value | None] = {}
        for name, template in self._templates.items():
            value = self._value(name, template, line.data, roots)
            if value != self._shown[name] or type(value) is not type(self._shown[name]):
                self._shown[name] = found[name] = value
        return found

    def _is_touched(self) -> bool:
        """Whether the context has changed, since the last look, at what they read."""
        seen, count = self._seen, self._state.trail.count
        self._seen = count
        if seen is None or self._keys is None:
            return seen != count
        new = self._state.trail.versions[seen - count :] if count > seen else []
        return any(_touches(version, self._keys) for version in new)

    def _value(
        self, name: str, template: Template, data: Mapping[str, Json], roots: Mapping[str, Json]
    ) -> Value | None:
        try:
            value = template.render(data, roots, Cost(_UNITS, _UNITS))
        except EvaluationError:
            return None  # mostly a key that is not there yet
        if value is None:
            return None
        try:
            return fitting(value, self._said[name])
        except Misfit as error:
            if name not in self._warned:
                self._warned.add(name)
                self._state.trail.warn(BY, f"{name} is not set: {error}")
            return None


def at_the_end(state: RunState) -> dict[str, Json]:
    """What those of a run that is over say, as JSON; those without a value are left out. It warns as a run does."""
    if (finish := state.finished) is None:
        return {}
    said = OwnAttributes(state, state.plan.graph.search_attributes, lambda: finish.line, {}).changed()
    return {name: _as_json(value) for name, value in said.items()}


def _as_json(value: Value | None) -> Json:
    if isinstance(value, datetime):
        return iso_time(int(value.timestamp() * 1000))
    return list(value) if isinstance(value, tuple) else value


def fitting(value: Json, said: SearchAttribute) -> Value | None:
    """The value as the type takes it, cut where it is too long; None of an empty list. Raises Misfit."""
    return _OF_TYPE[said.type](value)


def _read_by(templates: Collection[Template]) -> frozenset[str] | None:
    keys = [template.keys for template in templates]
    return None if None in keys else frozenset[str]().union(*(each for each in keys if each is not None))


def _touches(version: Version, keys: frozenset[str]) -> bool:
    changes = version.changes
    if version.kind == "rollback":
        return True
    return any(path[0] in keys for path in (*changes.set, *changes.removed, *changes.appended))


def _word(value: Json) -> str:
    return _cut(_scalar(value), WORD_BYTES)


def _text(value: Json) -> str:
    return _cut(_scalar(value), TEXT_BYTES)


def _words(value: Json) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        raise Misfit("a keyword_list takes a list")
    left, words = TEXT_BYTES, list[str]()
    for each in value:
        word = _word(each)
        left -= len(word.encode()) + 3  # with quotes and a comma, in JSON
        if left >= 0 and word not in words:
            words.append(word)
    return tuple(words) or None


def _whole(value: Json) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -_WHOLE <= value < _WHOLE:
        raise Misfit("an int takes a whole number of 64 bits")
    return value


def _number(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Misfit("a float takes a number")
    return float(value)


def _switch(value: Json) -> bool:
    if not isinstance(value, bool):
        raise Misfit("a bool takes true or false")
    return value


def _moment(value: Json) -> datetime:
    try:
        return datetime.fromtimestamp(unix_seconds(value), UTC)
    except (ValueError, OverflowError, OSError):
        raise Misfit("a datetime takes an ISO 8601 time with its zone, or Unix milliseconds") from None


def _scalar(value: Json) -> str:
    if isinstance(value, list | dict):
        raise Misfit("a keyword, or a text, takes no list and no object")
    return text_of(value)


def _cut(text: str, size: int) -> str:
    return text if len(text.encode()) <= size else text.encode()[:size].decode(errors="ignore")


_OF_TYPE: Final[Mapping[AttributeType, Callable[[Json], Value | None]]] = {
    "keyword": _word,
    "text": _text,
    "keyword_list": _words,
    "int": _whole,
    "float": _number,
    "bool": _switch,
    "datetime": _moment,
}
