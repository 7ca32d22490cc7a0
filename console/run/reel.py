"""A `Reel` is a run as its page has it: every frame, with what it changed, as JSON text that all viewers share.

A run that has grown is not encoded anew: its frames do not change any more, but for the newest one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from anabranch.console.exact import line_of
from anabranch.console.run.picture import Edge, Picture, Shown
from anabranch.console.run.versions import entry
from anabranch.context.values import MISSING, Json, Path, format_path, same, value_at
from anabranch.inspection.frame import Frame
from anabranch.inspection.inspection import Inspection
from anabranch.inspection.lineage import leaves


@dataclass(slots=True)
class _Fold:
    """What the frames so far have come to."""

    picture: Picture = field(default_factory=Picture)
    context: Mapping[str, Json] = field(default_factory=dict)
    status: str = ""
    versions: int = 0

    def copy(self) -> _Fold:
        return replace(self, picture=self.picture.copy())


@dataclass(frozen=True, slots=True)
class Strip:
    """What viewers are given of a reel."""

    generation: int = 0
    """Grows when frames that were there have changed, so that who has them must begin anew."""
    frames: tuple[str, ...] = ()
    """Each as JSON text."""
    versions: tuple[str, ...] = ()
    """The versions of the context, each as JSON text, the oldest first."""
    counts: tuple[int, ...] = ()
    """How many of `versions` there are as of each frame."""

    def since(self, frames: int) -> tuple[int, int]:
        """Where who has so many frames goes on: the first frame, and the first version, that may be new."""
        first = max(0, frames - 1)
        return first, self.counts[first - 1] if first else 0


class Reel:
    """The frames and the versions of one workflow run."""

    def __init__(self) -> None:
        self._generation = 0
        self._frames: list[str] = []
        self._versions: list[str] = []
        self._signs: list[tuple[object, ...]] = []
        """Of each frame, by which it is known again."""
        self._counts: list[int] = []
        self._before = _Fold()
        """As of the frame before the newest one."""

    def extend(self, inspection: Inspection) -> Strip:
        """Take in what a run has grown by. Of what was there only the newest frame may have changed."""
        frames = inspection.frames
        kept = max(0, len(self._signs) - 1)
        is_first = not self._signs and bool(frames)
        if is_first or [*map(_sign, frames[:kept])] != self._signs[:kept]:
            self._generation += 1
            kept, self._before = 0, _Fold()
        for entries in (self._frames, self._signs, self._counts):
            del entries[kept:]
        fold, oldest = self._before, inspection.lineage.first
        for index in range(kept, len(frames)):
            if index == len(frames) - 1:
                self._before, fold = fold, fold.copy()
            self._take(fold, inspection, index)
            self._counts.append(max(0, frames[index].versions - oldest + 1))
        self._take_versions(inspection, self._counts[kept - 1] if kept else 0)
        return Strip(self._generation, tuple(self._frames), tuple(self._versions), tuple(self._counts))

    def _take(self, fold: _Fold, inspection: Inspection, index: int) -> None:
        frame = inspection.frames[index]
        cards, edges = fold.picture.advance(inspection, index)
        told: dict[str, Any] = {"event": frame.event_id, "at": frame.at}
        if frame.status != fold.status:
            told["status"] = fold.status = frame.status
        if frame.versions != fold.versions:
            told["versions"] = fold.versions = frame.versions
        if cards:
            told["cards"] = {name: _card(shown) for name, shown in cards.items()}
        if edges:
            told["edges"] = {_edge(edge): "taken" if taken else "dead" for edge, taken in edges.items()}
        if frame.context is not fold.context:
            told |= _changes(fold.context, frame.context)
            fold.context = frame.context
        self._frames.append(_text(told))
        self._signs.append(_sign(frame))

    def _take_versions(self, inspection: Inspection, known: int) -> None:
        del self._versions[known:]
        for place, version in enumerate(inspection.lineage):
            if place >= known:
                self._versions.append(_text(entry(version)))


def _sign(frame: Frame) -> tuple[object, ...]:
    return frame.event_id, frame.status, frame.versions, frame.begun, frame.over, len(frame.changed), len(frame.gone)


def _text(told: Mapping[str, Any]) -> str:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def _card(shown: Shown) -> dict[str, Any]:
    told = {"note": shown.note, "started": shown.started, "ended": shown.ended, "error": shown.error}
    return {"state": shown.state} | {name: value for name, value in told.items() if value not in ("", None)}


def _edge(edge: Edge) -> str:
    address, index = edge
    return f"{address}#{index}"


def _changes(old: Mapping[str, Json], new: Mapping[str, Json]) -> dict[str, Any]:
    """The leaves of the context that differ: a list of path and text for each that is set, and those that are gone."""
    changed, gone = dict[Path, Json](), set[Path]()
    _compare(old, new, (), changed, gone)
    told = {
        "set": [[format_path(path), line_of(value)] for path, value in changed.items()],
        "removed": sorted(format_path(path) for path in gone.difference(changed)),
    }
    return {name: value for name, value in told.items() if value}


def _compare(
    old: Mapping[str, Json], new: Mapping[str, Json], path: Path, changed: dict[Path, Json], gone: set[Path]
) -> None:
    for key, value in new.items():
        before = old.get(key, MISSING)
        if before is value or (not isinstance(value, dict) and same(before, value)):
            continue
        if isinstance(before, dict) and isinstance(value, dict) and before and value:
            _compare(before, value, (*path, key), changed, gone)
            continue
        gone.update(leaves(before, (*path, key)))
        for leaf in leaves(value, (*path, key)):
            changed[leaf] = cast("Json", value_at(value, leaf[len(path) + 1 :]))
    for key in old.keys() - new.keys():
        gone.update(leaves(old[key], (*path, key)))
