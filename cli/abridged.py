"""What is long, for people: the first and the last of a list, the beginning of a value. `--json` has all of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Generic, TypeVar

from anabranch.context.values import Json
from anabranch.display import plain

T = TypeVar("T")
ALL = "--json has all"
_WHOLE = 40
"""Entries of a list that is shown whole."""
_FIRST, _LAST = 3, 1
_ITEMS = 10
_CHARACTERS = 300
_LINES = 200


@dataclass(frozen=True, slots=True)
class Left(Generic[T]):
    """Entries that are not shown, of bodies."""

    entries: Sequence[T]
    bodies: str

    def __str__(self) -> str:
        return f"… {len(self.entries):,} more in {self.bodies}"


def folded(entries: Sequence[T], address: Callable[[T], str]) -> Iterator[T | Left[T]]:
    """A long list without most of what items of a `foreach`, or turns of a `while`, have in it one after the other."""
    if len(entries) <= _WHOLE:
        yield from entries
        return
    for is_inside, group in groupby(entries, lambda each: _body(address(each)) is not None):
        found = [*group]
        left = found[_FIRST:-_LAST]
        if not is_inside or not left[1:]:  # a line that says so is no shorter than one entry
            yield from found
            continue
        bodies = dict.fromkeys(body for each in left if (body := _body(address(each))) is not None)
        yield from found[:_FIRST]
        yield Left(left, plain(", ".join(bodies)))
        yield from found[-_LAST:]


def names(addresses: Sequence[str]) -> str:
    """Addresses in a row, a long one folded."""
    return plain(", ".join(map(str, folded(addresses, str))))


def _body(address: str) -> str | None:
    """The outermost node with items or turns that an address is in. No node's name has a colon."""
    body, bracket, _ = address.partition("[")
    return body if bracket and ":" not in body else None


def abridged(data: Mapping[str, Json]) -> tuple[str, bool]:
    """An object as JSON in lines, and whether anything of it is left out."""
    writing = _Writing()
    lines = writing.value(dict(data), "").split("\n")
    if len(lines) > _LINES:
        lines[_LINES:] = [f"… {len(lines) - _LINES:,} more lines"]
        writing.is_cut = True
    return plain("\n".join(lines)), writing.is_cut


class _Writing:
    """Writes a value, and notes whether it left out anything. What it says itself stands outside of the quotes."""

    def __init__(self) -> None:
        self.is_cut = False

    def value(self, value: Json, pad: str) -> str:
        """A value below `pad`."""
        inner = pad + "  "
        if isinstance(value, dict) and value:
            rows = [f"{inner}{_json(key)}: {self.value(each, inner)}" for key, each in value.items()]
            return "{\n" + ",\n".join(rows) + f"\n{pad}}}"
        if isinstance(value, list) and value:
            rows = [inner + self.value(each, inner) for each in islice(value, _ITEMS)]
            if (more := len(value) - _ITEMS) > 0:
                rows.append(f"{inner}… {more:,} more")
                self.is_cut = True
            return "[\n" + ",\n".join(rows) + f"\n{pad}]"
        if isinstance(value, str) and (more := len(value) - _CHARACTERS) > 0:
            self.is_cut = True
            return f"{_json(value[:_CHARACTERS])} … {more:,} more characters"
        return _json(value)


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)
