"""What a list of rules has written so far: whole keys, and values inside of objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from anabranch.context.changes import overlay
from anabranch.context.nested import check_ways
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

    def add(self, values: Mapping[str, Json]) -> None:
        """Write what one rule writes, by paths as texts. Raises WriteRefused."""
        for text, value in values.items():
            if text.isidentifier():
                self._key(text, value)
            elif len(path := parse_path(text)) == 1:
                self._key(path[0], value)
            else:
                self._part(path, value)

    def _key(self, key: str, value: Json) -> None:
        self.seen[key] = self.keys[key] = value
        if self.parts:
            self.parts = {path: each for path, each in self.parts.items() if path[0] != key}

    def _part(self, path: Path, value: Json) -> None:
        key = path[0]
        top = {key: self.seen[key]} if key in self.seen else {}
        check_ways(top, (path,))
        self._charge(top, path)
        self.seen[key] = overlay(top, ((path, value),))[key]
        if key in self.keys:
            self.keys[key] = self.seen[key]
        elif (above := next((path[:end] for end in range(2, len(path)) if path[:end] in self.parts), None)) is None:
            below = [other for other in self.parts if other[: len(path)] == path]
            for other in below:
                del self.parts[other]
            self.parts[path] = value
        else:
            self.parts[above] = cast("Json", value_at(self.seen, above))  # it is there: a value was set inside of it

    def _charge(self, top: dict[str, Json], path: Path) -> None:
        """Charge the objects on the way, which are copied, and the other paths, which are looked at."""
        self._cost.spend(len(self.parts))
        for end in range(1, len(path)):
            if isinstance(holder := value_at(top, path[:end]), dict):
                self._cost.spend(len(holder))
