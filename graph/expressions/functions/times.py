"""Functions of timestamps and durations. Those of a calendar take a time zone, and are in UTC without one."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

from anabranch.graph.expressions.cel_values import EvaluationFailed, Instant, NoOverload, Span
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.functions.function import Function
from anabranch.graph.expressions.functions.zones import instant, local, zone_of

_CALL = 40
_SECOND: Final = 1_000_000_000
_MONTHS: Final = 12
_LONGEST_PATTERN = 100
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTH_NAMES = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_CLAUSE = re.compile(r"%(.?)", re.DOTALL)


def _offset(at: datetime) -> str:
    minutes = (at.utcoffset() or timedelta()) // timedelta(minutes=1)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


# Own clauses, because those of the C library depend on the machine.
_WRITTEN: dict[str, Callable[[datetime], str]] = {
    "Y": lambda at: f"{at.year:04d}",
    "m": lambda at: f"{at.month:02d}",
    "d": lambda at: f"{at.day:02d}",
    "H": lambda at: f"{at.hour:02d}",
    "I": lambda at: f"{(at.hour - 1) % 12 + 1:02d}",
    "p": lambda at: "AM" if at.hour < _MONTHS else "PM",
    "M": lambda at: f"{at.minute:02d}",
    "S": lambda at: f"{at.second:02d}",
    "j": lambda at: f"{at.timetuple().tm_yday:03d}",
    "u": lambda at: str(at.isoweekday()),
    "G": lambda at: f"{at.isocalendar().year:04d}",
    "V": lambda at: f"{at.isocalendar().week:02d}",
    "a": lambda at: _DAYS[at.weekday()][:3],
    "A": lambda at: _DAYS[at.weekday()],
    "b": lambda at: _MONTH_NAMES[at.month - 1][:3],
    "B": lambda at: _MONTH_NAMES[at.month - 1],
    "z": _offset,
    "%": lambda _at: "%",
}
_READ = {"Y": r"(\d{4})", **dict.fromkeys("mdHMS", r"(\d{1,2})"), "z": r"(Z|[+-]\d\d:?\d\d)", "%": "%"}
_USUAL: Final = {"Y": 1970, "m": 1, "d": 1, "H": 0, "M": 0, "S": 0}
_UNITS: Final = ("year", "month", "week", "day", "hour", "minute")
_FIRST: Final = (1, 1, 1, 0, 0)
_KEPT: Final = {"year": 1, "month": 2, "day": 3, "hour": 4, "minute": 5}


def _part(name: str, of_time: Callable[[datetime], int], of_span: Callable[[int], int] | None = None) -> Any:
    """`getHours` and the like, of a timestamp, in a zone too, or of a duration."""

    def apply(cost: Cost, time: Any, *zone: Any) -> int:
        cost.spend(_CALL)
        if type(time) is Span and of_span is not None and not zone:
            return of_span(time.nanos)
        return of_time(local(_instant(name, time, *zone), _zone(cost, *zone)))

    return apply


def _milliseconds(cost: Cost, time: Any, *zone: Any) -> int:
    cost.spend(_CALL)
    if type(time) is Span and not zone:
        return _towards_zero(time.nanos, 1_000_000) - _towards_zero(time.nanos, _SECOND) * 1000
    at = _instant("getMilliseconds", time, *zone)
    _zone(cost, *zone)
    return at.nanos % _SECOND // 1_000_000


def _towards_zero(nanos: int, unit: int) -> int:
    return nanos // unit if nanos >= 0 else -(-nanos // unit)


def _of_span(unit: int) -> Callable[[int], int]:
    return lambda nanos: _towards_zero(nanos, unit)


def _instant(function: str, time: Any, *zone: Any) -> Instant:
    if type(time) is not Instant or any(type(each) is not str for each in zone):
        raise NoOverload(function, time, *zone)
    return time


def _zone(cost: Cost, *zone: str) -> tzinfo | None:
    return zone_of(cost, *zone) if zone else None


def written(cost: Cost, time: Any, pattern: Any, *zone: Any) -> str:
    """A timestamp as text by a pattern."""
    at = _instant("formatTime", time, pattern, *zone)
    _check_pattern("formatTime", cost, pattern)
    shown = local(at, _zone(cost, *zone))

    def fill(match: re.Match[str]) -> str:
        if match[1] not in _WRITTEN:
            raise EvaluationFailed(f"formatTime does not know {match[0]!r}", f"the clauses are %{', %'.join(_WRITTEN)}")
        return _WRITTEN[match[1]](shown)

    text = _CLAUSE.sub(fill, pattern)
    cost.build(len(text))
    return text


def read(cost: Cost, text: Any, pattern: Any, *zone: Any) -> Instant:
    """The timestamp that a text in a form of its own says."""
    if any(type(each) is not str for each in (text, pattern, *zone)):
        raise NoOverload("parseTime", text, pattern, *zone)
    _check_pattern("parseTime", cost, pattern)
    clauses = list(_clauses(pattern))
    # Numbers of fixed lengths between literals: there is nothing to go back for.
    found = re.fullmatch(_regex(pattern), text[: 4 * _LONGEST_PATTERN])
    if found is None or len(text) > 4 * _LONGEST_PATTERN:
        raise EvaluationFailed(f"the text is not a time of the form {pattern!r}")
    given = dict(zip(clauses, found.groups(), strict=True))
    around = _zone(cost, *zone)
    if offset := given.pop("z", None):
        around = None if offset == "Z" else zone_of(cost, f"{offset[:3]}:{offset[-2:]}")
    year, month, day, hour, minute, second = (int(given.get(clause, usual)) for clause, usual in _USUAL.items())
    try:
        return instant(datetime(year, month, day, hour, minute, second), around)
    except ValueError as error:
        raise EvaluationFailed(f"the text is not a time: {error}") from None


def _check_pattern(function: str, cost: Cost, pattern: str) -> None:
    if len(pattern) > _LONGEST_PATTERN:
        raise EvaluationFailed(f"the pattern of {function} has more than {_LONGEST_PATTERN} characters")
    cost.spend(_CALL + 10 * len(pattern))


def _clauses(pattern: str) -> Iterator[str]:
    seen: set[str] = set()
    for match in _CLAUSE.finditer(pattern):
        if match[1] not in _READ or match[1] in seen:
            why = "has twice" if match[1] in seen else "does not know"
            raise EvaluationFailed(f"parseTime {why} {match[0]!r}", "the clauses are %Y, %m, %d, %H, %M, %S, %z and %%")
        if match[1] != "%":
            seen.add(match[1])
            yield match[1]


def _regex(pattern: str) -> str:
    parts = _CLAUSE.split(pattern)
    return "".join(_READ[part] if number % 2 else re.escape(part) for number, part in enumerate(parts))


def begun(cost: Cost, time: Any, unit: Any, *zone: Any) -> Instant:
    """The start of the year, month, week, day, hour or minute of a timestamp."""
    at = _instant("startOf", time, unit, *zone)
    cost.spend(_CALL)
    around = _zone(cost, *zone)
    shown = local(at, around)
    if unit not in _UNITS:
        raise _no_unit("startOf", unit, _UNITS)
    if unit == "week":
        unit, shown = "day", _moved(shown, days=-shown.weekday())
    kept = _KEPT[unit]
    year, month, day, hour, minute = (*shown.timetuple()[:kept], *_FIRST[kept:])
    start = datetime(year, month, day, hour, minute, tzinfo=shown.tzinfo, fold=shown.fold)
    if unit in ("hour", "minute"):
        # Not by the clock, which may show the hour twice.
        return Instant((at.nanos // _SECOND - (shown - start) // timedelta(seconds=1)) * _SECOND)
    return instant(start, around)


def moved(cost: Cost, time: Any, number: Any, unit: Any, *zone: Any) -> Instant:
    """A timestamp so many days, weeks, months or years later, at the same time of the clock."""
    at = _instant("addDate", time, unit, *zone)
    if type(number) is not int:
        raise NoOverload("addDate", time, number, unit, *zone)
    cost.spend(_CALL)
    around = _zone(cost, *zone)
    shown = local(at, around)
    if unit not in _UNITS[:4]:
        raise _no_unit("addDate", unit, _UNITS[:4])
    if unit in ("day", "week"):
        later = _moved(shown, days=number * (7 if unit == "week" else 1))
    else:
        later = _months_later(shown, number * (_MONTHS if unit == "year" else 1))
    return instant(later, around, at.nanos % _SECOND)


def _moved(shown: datetime, days: int) -> datetime:
    try:
        return shown.replace(tzinfo=None) + timedelta(days=days)
    except OverflowError:
        raise EvaluationFailed("a time is between the years 1 and 9999") from None


def _months_later(shown: datetime, months: int) -> datetime:
    year, month = divmod(shown.year * _MONTHS + shown.month - 1 + months, _MONTHS)
    if not datetime.min.year <= year <= datetime.max.year:
        raise EvaluationFailed("a time is between the years 1 and 9999")
    return shown.replace(year=year, month=month + 1, day=min(shown.day, calendar.monthrange(year, month + 1)[1]))


def _no_unit(function: str, unit: str, known: tuple[str, ...]) -> EvaluationFailed:
    return EvaluationFailed(f"{function} does not know {unit[:20]!r}", f"the units are {', '.join(known)}")


def _get(
    name: str, text: str, of_time: Callable[[datetime], int], *examples: str, of_span: int | None = None
) -> Function:
    forms = [f"timestamp.{name}() -> whole", f"timestamp.{name}(zone: text) -> whole"]
    if of_span is not None:
        forms.append(f"duration.{name}() -> whole")
    evaluate = _part(name, of_time, None if of_span is None else _of_span(of_span))
    return Function(name, tuple(forms), text, examples, evaluate, known=len(forms))


_ZONED = "A zone is a name such as `Europe/Berlin`, or an offset such as `+02:00`; without one it is UTC."
TIMES: Final = (
    _get("getFullYear", "The year.", lambda at: at.year, "timestamp(ordered_at).getFullYear() => 2026"),
    _get("getMonth", "The month, from 0.", lambda at: at.month - 1, "timestamp(ordered_at).getMonth() => 10"),
    _get("getDate", "The day of the month, from 1.", lambda at: at.day, "timestamp(ordered_at).getDate() => 28"),
    _get(
        "getDayOfMonth",
        "The day of the month, from 0.",
        lambda at: at.day - 1,
        "timestamp(ordered_at).getDayOfMonth() => 27",
    ),
    _get(
        "getDayOfWeek",
        "The day of the week, from 0, which is Sunday.",
        lambda at: at.isoweekday() % 7,
        "timestamp(ordered_at).getDayOfWeek() => 6",
    ),
    _get(
        "getDayOfYear",
        "The day of the year, from 0.",
        lambda at: at.timetuple().tm_yday - 1,
        "timestamp(ordered_at).getDayOfYear() => 331",
    ),
    _get(
        "getHours",
        f"The hours of the clock; of a duration all its hours. {_ZONED}",
        lambda at: at.hour,
        "timestamp(ordered_at).getHours() => 9",
        'timestamp(ordered_at).getHours("Europe/Berlin") => 10',
        'duration("90m").getHours() => 1',
        of_span=3600 * _SECOND,
    ),
    _get(
        "getMinutes",
        "The minutes of the clock; of a duration all its minutes.",
        lambda at: at.minute,
        "timestamp(ordered_at).getMinutes() => 30",
        'duration("90m").getMinutes() => 90',
        of_span=60 * _SECOND,
    ),
    _get(
        "getSeconds",
        "The seconds of the clock; of a duration all its seconds.",
        lambda at: at.second,
        "timestamp(ordered_at).getSeconds() => 0",
        'duration("90m").getSeconds() => 5400',
        of_span=_SECOND,
    ),
    Function(
        "getMilliseconds",
        (
            "timestamp.getMilliseconds() -> whole",
            "timestamp.getMilliseconds(zone: text) -> whole",
            "duration.getMilliseconds() -> whole",
        ),
        "The milliseconds of the second.",
        ("timestamp(ordered_at).getMilliseconds() => 0", 'duration("1.5s").getMilliseconds() => 500'),
        _milliseconds,
        known=3,
    ),
    Function(
        "formatTime",
        (
            "timestamp.formatTime(pattern: text) -> text",
            "timestamp.formatTime(pattern: text, zone: text) -> text",
        ),
        "A timestamp as text. "
        "`%Y`, `%m`, `%d`, `%H`, `%M` and `%S` are year, month, day, hours, minutes and seconds; `%I` and `%p` the "
        "hours up to 12 and AM or PM; `%j` the day of the year; `%G`, `%V` and `%u` year, week and weekday of ISO "
        "8601; `%a`, `%A`, `%b` and `%B` English names of days and months, short and long; `%z` the offset; `%%` a "
        "percent sign.",
        (
            'timestamp(ordered_at).formatTime("%d.%m.%Y") => "28.11.2026"',
            'timestamp(ordered_at).formatTime("%a %H:%M %z", "Asia/Tokyo") => "Sat 18:30 +09:00"',
        ),
        written,
        own=True,
    ),
    Function(
        "parseTime",
        (
            "parseTime(value: text, pattern: text) -> timestamp",
            "parseTime(value: text, pattern: text, zone: text) -> timestamp",
        ),
        "The timestamp that a text says, by a pattern of `%Y`, `%m`, `%d`, `%H`, `%M`, `%S`, `%z` and `%%`. "
        "A time that a clock shows twice is the first of the two; one that it skips is as much later.",
        (
            'parseTime("28.11.2026 10:30", "%d.%m.%Y %H:%M", "Europe/Berlin") => "2026-11-28T09:30:00Z"',
            'parseTime("2026-11-28", "%Y-%m-%d") => "2026-11-28T00:00:00Z"',
        ),
        read,
        own=True,
    ),
    Function(
        "startOf",
        (
            "timestamp.startOf(unit: text) -> timestamp",
            "timestamp.startOf(unit: text, zone: text) -> timestamp",
        ),
        "The start of the `year`, `month`, `week` (Monday), `day`, `hour` or `minute` of a timestamp.",
        (
            'timestamp(ordered_at).startOf("month") => "2026-11-01T00:00:00Z"',
            'timestamp(ordered_at).startOf("day", "Europe/Berlin") => "2026-11-27T23:00:00Z"',
        ),
        begun,
        own=True,
    ),
    Function(
        "addDate",
        (
            "timestamp.addDate(number: whole, unit: text) -> timestamp",
            "timestamp.addDate(number: whole, unit: text, zone: text) -> timestamp",
        ),
        "A timestamp so many of `day`, `week`, `month` or `year` later, or earlier, at the same time of the clock. "
        "A day that the month does not have is its last one.",
        (
            'timestamp("2026-01-31T12:00:00Z").addDate(1, "month") => "2026-02-28T12:00:00Z"',
            'timestamp("2026-10-24T10:00:00Z").addDate(1, "day", "Europe/Berlin") => "2026-10-25T11:00:00Z"',
        ),
        moved,
        own=True,
    ),
)
