"""Time zones, by the data of the package tzdata: those of the machine may differ from worker to worker."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from importlib import resources
from typing import Final
from zoneinfo import ZoneInfo

from anabranch.graph.expressions.cel_values import EvaluationFailed, Instant
from anabranch.graph.expressions.cost import Cost

_DATA: Final = "tzdata"
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)")
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1)
_SECOND: Final = 1_000_000_000


def zone_of(cost: Cost, name: str) -> tzinfo:
    """The zone of a name such as `Europe/Berlin`, or of an offset such as `+02:00`."""
    cost.spend(len(name))
    if found := _OFFSET.fullmatch(name):
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        if offset < _DAY:
            return timezone(-offset if found[1] == "-" else offset)
    elif name in zone_names():
        return _named(name)
    raise EvaluationFailed("there is no such time zone", "use a name such as Europe/Berlin, or +02:00")


def local(at: Instant, zone: tzinfo | None) -> datetime:
    """What a clock of the zone shows at an instant, to the second; that of UTC without a zone."""
    try:
        shown = _EPOCH + timedelta(seconds=at.nanos // _SECOND)
        return shown if zone is None else shown.replace(tzinfo=UTC).astimezone(zone)
    except (OverflowError, ValueError):
        raise EvaluationFailed("a time is between the years 1 and 9999") from None


def instant(shown: datetime, zone: tzinfo | None, nanos: int = 0) -> Instant:
    """When a clock of the zone shows a time: the first time of two; where it skips the time, as much later."""
    naive = shown.replace(tzinfo=None, fold=0)
    offset = zone.utcoffset(naive.replace(tzinfo=zone)) if zone is not None else None
    seconds = (naive - _EPOCH - (offset or timedelta())) // timedelta(seconds=1)
    return Instant(seconds * _SECOND + nanos)


@cache
def zone_names() -> frozenset[str]:
    """The names that a zone may have."""
    return frozenset((resources.files(_DATA) / "zones").read_text(encoding="utf-8").split())


@cache
def _named(name: str) -> ZoneInfo:
    with resources.files(_DATA).joinpath("zoneinfo", *name.split("/")).open("rb") as data:
        return ZoneInfo.from_file(data, key=name)
