"""What to write in place of a value of the wrong shape: `retry: 3` is `retry: {max_attempts: 3}`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from anabranch.context.values import Json
from anabranch.graph.source.yaml_source import Pointer, Source

_ARROW: Final = re.compile(r"\s*([\w.\-]{1,64})\s*-+>\s*([\w.\-]{1,64})\s*")
_CLOCK: Final = re.compile(r"(\d{1,4}):(\d\d)(?::(\d\d))?", re.ASCII)
_ISO: Final = re.compile(
    r"P(?:(\d{1,4})W)?(?:(\d{1,4})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,8})S)?)?", re.ASCII
)
_WORDS: Final = re.compile(
    r"(\d{1,8})\s*(w|weeks?|d|days?|h|hours?|hrs?|m|minutes?|mins?|s|seconds?|secs?)\b", re.ASCII | re.IGNORECASE
)
_LONGEST: Final = 60
_NAMES: Final = frozenset({"name", "code", "event", "nodes", "from", "to", "tools"})
"""Fields that hold names, or whose keys are names."""


def shape_advice(path: Pointer, given: object, kind: str, source: Source) -> str | None:
    """What to write at `path` instead of `given`, which pydantic refused as a `kind`; None where nobody can tell."""
    last = path[-1] if path else ""
    if kind == "string_type" and isinstance(given, bool | int | float) and last != "items":
        return f'write "{source.plain_text(path) or _shown(given)}"'
    if isinstance(last, int):
        return _of_entry(path, given)
    if last in ("from", "to") and isinstance(given, list) and path[-3:-2] == ("edges",):
        return "write an edge for each node: - {from: a, to: b}"
    make = _MADE.get(last)
    return None if make is None else make(given)


def duration_advice(given: object) -> str | None:
    """A duration of another spelling as it is written here; None where it is none."""
    text = str(given).strip()[:_LONGEST]
    if (clock := _CLOCK.fullmatch(text)) is not None:
        parts = [(clock[1], "h"), (clock[2], "m"), (clock[3] or "0", "s")]
    elif (iso := _ISO.fullmatch(text)) is not None and len(text) > len("PT"):
        weeks = int(iso[1] or 0) * 7
        parts = [(str(int(iso[2] or 0) + weeks), "d"), (iso[3], "h"), (iso[4], "m"), (iso[5], "s")]
    elif (words := _WORDS.findall(text)) and not _WORDS.sub("", text).strip(" ,"):
        weeks = sum(int(number) * 7 for number, unit in words if unit[0].lower() == "w")
        parts = [(str(weeks), "d"), *((number, unit[0].lower()) for number, unit in words if unit[0].lower() != "w")]
    else:
        return None
    written = "".join(f"{int(number)}{unit}" for number, unit in parts if int(number or 0))
    return f"write {written}" if written else None


def pattern_advice(field: str, given: str) -> str | None:
    """A name like the one that was given which may be one; None where nothing is left of it."""
    name = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9_.\-]", "_", given[:64])).strip("_.-")
    return f"write {name}, of letters, digits, _, - and ." if name and field in _NAMES else None


def _of_entry(path: Pointer, given: object) -> str | None:
    """Of an edge or a rule that is none."""
    if path[-2:-1] != ("edges",):
        return "write {when: …, then: {key: value}}" if path[-2:-1] == ("rules",) else None
    ends = list(given) if isinstance(given, list) else []
    if isinstance(given, str) and (found := _ARROW.fullmatch(given)) is not None:
        ends = [found[1], found[2]]
    known = len(ends) == 2 and all(isinstance(each, str) for each in ends)  # noqa: PLR2004 - from and to
    return f"write {{from: {ends[0][:64]}, to: {ends[1][:64]}}}" if known else "write {from: a, to: b}"


def _shown(value: Json | object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else "…"


def _of_retry(given: object) -> str | None:
    count = given if isinstance(given, int) and not isinstance(given, bool) else 3
    return f"write {{max_attempts: {count}}}"


def _of_items(given: object) -> str | None:
    if isinstance(given, int) and not isinstance(given, bool):
        return f'write "lists.range({given})"'
    return f"write it as an expression: '{_shown(given)}'" if isinstance(given, list) else None


def _of_inputs(given: object) -> str | None:
    names = given if isinstance(given, list) else []
    shown = ", ".join(f"{name}: {{}}" for name in names[:5] if isinstance(name, str) and name.isidentifier())
    return f"write each with its JSON Schema: {{{shown or 'amount: {type: number}'}}}"


def _of_tolerate(given: object) -> str | None:
    if isinstance(given, str) and given.strip().isdecimal():
        return f"write {int(given)}, without quotes"
    return f"write {given * 100:g}%" if isinstance(given, float) and 0 < given < 1 else "write 5, or 5%"


def _of_result(given: object) -> str | None:
    return f"write {{{given}: {given}}}" if isinstance(given, str) and given.isidentifier() else "write {key: key}"


def _of_body(given: object) -> str | None:
    return f"write {{graph: {given[:64]}}}" if isinstance(given, str) else "write {nodes: {…}, edges: […]}"


def _always(advice: str) -> Callable[[object], str]:
    return lambda given: advice


_MADE: Final[dict[str, Callable[[object], str | None]]] = {
    "retry": _of_retry,
    "edges": _always("write a list: - {from: a, to: b}"),
    "inputs": _of_inputs,
    "items": _of_items,
    "tolerate": _of_tolerate,
    "result": _of_result,
    "body": _of_body,
    "schedule": lambda given: f'write {{cron: "{given[:64]}"}}' if isinstance(given, str) else None,
    "finally": _always("write {nodes: {…}, edges: […]}"),
    "nodes": _always("write a name and a node: {check: {type: rule, …}}"),
    "rules": _always("write a list: - {when: …, then: {key: value}}"),
    "then": _always("write {key: value}"),
    "otherwise": _always("write {key: value}"),
    "append": _always("write {list: value}"),
    "output": _always("write {key: result.…}"),
    "input": _always('write {name: "{{ … }}"}'),
    "params": _always('write {name: "{{ … }}"}, and :name in the query'),
    "compensate": _always("write the node itself that undoes it: {type: …}"),
    "concurrency": lambda given: f"write {{limit: {given}}}" if isinstance(given, int) else "write {limit: 5}",
    "rate_limit": _always("write {limit: 100, per: 1m}"),
    "cache": _always('write {key: "{{ … }}", ttl: 1h}'),
    "circuit_breaker": _always("write {failures: 5, window: 1m, reset: 30s}"),
    "collect": _always("write {into: key, value: expression}"),
    "auth": _always("write {bearer: env:HTTP_SECRET_NAME}"),
    "priority": _always("write {key: 3}"),
    "budget": _always("write {tokens: 10000}"),
    "saga": _always("write {compensation: sequential, deadline: 30m}"),
    "timeout": _always("write 30s, 5m or 24h"),
    "expect": _always("write {status: [200]}"),
}
