"""Values inside of objects: what nodes write at paths."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from operator import eq
from typing import cast

from anabranch.context.values import Json, Missing, Path, format_path, parse_path, value_at
from anabranch.errors import InputError, WriteRefused


def meets(one: Path, other: Path) -> bool:
    """Whether one of two paths leads through the other, or they are the same."""
    return all(map(eq, one, other))


def nested(values: Mapping[Path, Json]) -> dict[str, Json]:
    """The object that has these values at these paths, of which none leads through another."""
    found: dict[str, Json] = {}
    for path, value in values.items():
        holder = found
        for key in path[:-1]:
            holder = cast("dict[str, Json]", holder.setdefault(key, {}))
        holder[path[-1]] = value
    return found


def by_path(values: Mapping[str, Json]) -> dict[Path, Json]:
    """Values by paths as texts (`order.total`). Raises InputError for what is no path, or inside of another one."""
    found: dict[Path, Json] = {}
    for text, value in values.items():
        if "" in (path := parse_path(text)):
            raise InputError(f"the path {text!r} has an empty key", suggestion="join keys by one dot")
        found[path] = value
    for path in found:
        if (above := path_above(path, found)) is not None:
            message = f"the path {format_path(path)!r} is inside {format_path(above)!r}, which is given too"
            raise InputError(message, suggestion="give the whole, or its parts")
    return found


def path_above(path: Path, paths: Container[Path]) -> Path | None:
    """The shortest of some paths that a path leads through; None where there is none."""
    return next((path[:end] for end in range(1, len(path)) if path[:end] in paths), None)


def check_ways(data: Mapping[str, Json], paths: Iterable[Path]) -> None:
    """Refuse paths that lead through what is no object: it would be replaced. Raises WriteRefused."""
    for path in paths:
        for length in range(1, len(path)):
            if not isinstance(value := value_at(cast("Json", data), path[:length]), dict | Missing):
                above = format_path(path[:length])
                raise WriteRefused(
                    f"`{format_path(path)}` cannot be written: `{above}` is {_kind(value)}, not an object",
                    suggestion=f"write `{above}` as a whole, or write to another key",
                )


def list_at(data: Mapping[str, Json], path: Path) -> list[Json]:
    """The list at a path, empty where there is nothing. Raises WriteRefused for anything else."""
    value = value_at(cast("Json", data), path)
    if isinstance(value, Missing):
        return []
    if not isinstance(value, list):
        raise WriteRefused(
            f"nothing can be appended to `{format_path(path)}`, which is {_kind(value)}, not a list",
            suggestion="append to another key, or write a list there before",
        )
    return value


def _kind(value: Json) -> str:
    if value is None:
        return "null"
    kinds = ((list, "a list"), (dict, "an object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "a single value")
