"""What a list of rules has written so far: whole keys, values inside of objects, and additions to lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from anabranch.context.changes import overlay
from anabranch.context.nested import check_ways, list_at
from anabranch.context.values import Json, Path, parse_path, value_at
from anabranch.graph.expressions.cost import Cost


class Written:
    """The writes of the rules so far. `seen` is the context as the next rule sees it; no object in it is changed."""

    def __init__(self, data: Mapping[str, Json], cost: Cost) -> None:
        self.seen = dict(data)
        self._cost = cost
        self.keys: dict[str, Json] = {}
        self.parts: dict[Path, Json] = {}
        """Values inside of objects, by path. No path leads through another, nor through one of `keys`."""
        self.appended: dict[Path, list[Json]] = {}
        """Additions to lists that the rules have not written themselves, by path."""
        self.fired: list[str] = []
        """The rules that wrote, each with its condition."""

    def add(self, values: Mapping[str, Json]) -> None:
        """Write what one rule writes, by paths as texts. Raises WriteRefused."""
        for text, value in values.items():
            if text.isidentifier() and not self.parts and not self.appended:
                self.seen[text] = self.keys[text] = value
            elif len(path := parse_path(text)) == 1:
                self._key(path[0], value)
            else:
                self._part(path, value)

    def append(self, values: Mapping[str, Json]) -> None:
        """Add to lists what one rule appends, by paths as texts. Raises WriteRefused."""
        for text, value in values.items():
            path = parse_path(text)
            top = self._top(path)
            found = list_at(top, path)
            self._cost.spend(len(found))
            self._place(path, [*found, value], top)
            if not self._is_inside(path):
                self.appended.setdefault(path, []).append(value)

    def _key(self, key: str, value: Json) -> None:
        self.seen[key] = self.keys[key] = value
        if self.parts or self.appended:
            self._forget_below((key,))

    def _part(self, path: Path, value: Json) -> None:
        self._place(path, value, self._top(path))
        if not self._is_inside(path):
            self._forget_below(path)
            self.parts[path] = value

    def _top(self, path: Path) -> dict[str, Json]:
        """The key of a path, by itself, as it is seen. Raises WriteRefused where the path has no place in it."""
        top = {path[0]: self.seen[path[0]]} if path[0] in self.seen else {}
        check_ways(top, (path,))
        return top

    def _place(self, path: Path, value: Json, top: dict[str, Json]) -> None:
        """Have the next rule see a value at a path. Charged are the objects on the way, which are copied."""
        for end in range(1, len(path)):
            if isinstance(holder := value_at(top, path[:end]), dict):
                self._cost.spend(len(holder))
        self.seen[path[0]] = overlay(top, ((path, value),))[path[0]]

    def _is_inside(self, path: Path) -> bool:
        """Whether a path leads through, or to, a value that the rules wrote: then it is part of that."""
        key = path[0]
        if key in self.keys:
            self.keys[key] = self.seen[key]
            return True
        above = next((path[:end] for end in range(2, len(path) + 1) if path[:end] in self.parts), None)
        if above is not None:
            self.parts[above] = cast("Json", value_at(self.seen, above))  # it is there: a value was set inside of it
        return above is not None

    def _forget_below(self, path: Path) -> None:
        """Leave out what was written at a path and below it. Charged are the paths that are looked at."""
        self._cost.spend(len(self.parts) + len(self.appended))
        for written in (self.parts, self.appended):
            for other in [other for other in written if other[: len(path)] == path]:
                del written[other]
