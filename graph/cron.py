"""Cron expressions of five fields, as the sets of numbers that each field allows, and as one spelling for each set.

The server reads such texts too. Ours are read here, so that `validate` says where one is wrong, and so that a schedule
of the server can be compared with what a graph says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LONGEST_MONTH: Final = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_NAMED: Final[Mapping[str, str]] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_PART = re.compile(r"(?:(?P<all>\*)|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d{1,4}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Kind:
    """One of the five fields: what it is called, its numbers, and names of them."""

    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int | None:
        """The number that a text says; None where it says none. Sunday is 0 and 7."""
        if text.upper() in self.names:
            return self.first + self.names.index(text.upper())
        if not text.isdigit():
            return None
        return int(text)


FIELDS: Final = (
    _Kind("minute", 0, 59),
    _Kind("hour", 0, 23),
    _Kind("day of month", 1, 31),
    _Kind("month", 1, 12, _MONTHS),
    _Kind("day of week", 0, 6, _DAYS),
)
_DAY, _MONTH, _WEEKDAY = 2, 3, 4


class CronInvalid(ValueError):
    """What is wrong with a cron expression, at `offset` of its text."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Cron:
    """The numbers that each field allows: minutes, hours, days of the month, months, days of the week (0 is Sunday)."""

    fields: tuple[frozenset[int], ...]

    def __str__(self) -> str:
        """One spelling for all that mean the same."""
        return " ".join(_spelled(kind, allowed) for kind, allowed in zip(FIELDS, self.fields, strict=True))


def parse_cron(text: str) -> Cron:
    """The expression, or its name such as `@daily`. Raises CronInvalid."""
    if text.startswith("@"):
        if text not in _NAMED:
            raise CronInvalid(f"{text[:40]!r} is none of {', '.join(_NAMED)}")
        text = _NAMED[text]
    words = [(match[0], match.start()) for match in re.finditer(r"\S+", text)]
    if len(words) != len(FIELDS):
        names = ", ".join(kind.name for kind in FIELDS)
        raise CronInvalid(f"it has {len(words)} fields, not five: {names}")
    cron = Cron(tuple(_field(kind, *word) for kind, word in zip(FIELDS, words, strict=True)))
    _check_days(cron, words)
    return cron


def _check_days(cron: Cron, words: list[tuple[str, int]]) -> None:
    days, months = cron.fields[_DAY], cron.fields[_MONTH]
    if len(days) < FIELDS[_DAY].last and len(cron.fields[_WEEKDAY]) < len(_DAYS):
        message = (
            "it limits days of the month and days of the week, which other programs read as either, Temporal as both"
        )
        raise CronInvalid(message, words[_WEEKDAY][1])
    if not any(min(days) <= _LONGEST_MONTH.get(month, FIELDS[_DAY].last) for month in months):
        raise CronInvalid("no such day is in these months: it never comes", words[_DAY][1])


def _field(kind: _Kind, text: str, offset: int) -> frozenset[int]:
    found: set[int] = set()
    at = offset
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise CronInvalid(f"the {kind.name} {part[:40]!r} is no number, range, step or `*`", at)
        found.update(_numbers(kind, match, at))
        at += len(part) + 1
    return frozenset(found)


def _numbers(kind: _Kind, match: re.Match[str], at: int) -> Iterable[int]:
    """The numbers of one part of a field. `5/15` goes on to the end, as `5-59/15` does."""
    step = 1 if match["step"] is None else int(match["step"])
    if step == 0:
        raise CronInvalid(f"a step of the {kind.name} is 0", at)
    if match["all"]:
        return range(kind.first, kind.last + 1, step)
    is_open = match["last"] is None and match["step"] is not None
    first = _within(kind, match["first"], at)
    last = kind.last if is_open else first if match["last"] is None else _within(kind, match["last"], at)
    if last < first:
        raise CronInvalid(f"the {kind.name} {match[0]!r} ends before it begins", at)
    return (number % 7 if kind.names is _DAYS else number for number in range(first, last + 1, step))


def _within(kind: _Kind, text: str, at: int) -> int:
    number = kind.number(text)
    last = 7 if kind.names is _DAYS else kind.last
    if number is None or not kind.first <= number <= last:
        names = f", or {kind.names[0]} to {kind.names[-1]}" if kind.names else ""
        raise CronInvalid(f"the {kind.name} {text[:40]!r} is not from {kind.first} to {last}{names}", at)
    return number


def _spelled(kind: _Kind, allowed: frozenset[int]) -> str:
    if len(allowed) > kind.last - kind.first:
        return "*"
    runs: list[list[int]] = []
    for _, run in groupby(enumerate(sorted(allowed)), lambda pair: pair[1] - pair[0]):
        runs.append([number for _, number in run])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
