"""The name of a graph that does not say it itself: that of its `metadata`, or that of its file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

from anabranch.context.values import Json

NOT_NAME: Final = re.compile(r"[^A-Za-z0-9_]+")
"""What a name or a key may not hold."""


def heading_of(graph: Mapping[str, Json], file: str) -> dict[str, str]:
    """The `name`, `description` and `version` that a graph lacks. Those of its `metadata` come first."""
    if "nodes" not in graph:
        return {}
    found = from_metadata(graph)
    stem = NOT_NAME.sub("_", PurePath(file).name.partition(".")[0])
    if not {"name"} & (found.keys() | graph.keys()) and stem.strip("_") and not file.startswith("<"):
        found["name"] = stem if not stem[0].isdigit() else f"_{stem}"
    return found


def from_metadata(graph: Mapping[str, Json]) -> dict[str, str]:
    """Those of them that its `metadata` says."""
    metadata = graph.get("metadata")
    if not isinstance(metadata, dict):
        return {}
    given = {name: metadata.get(name) for name in ("name", "description", "version") if name not in graph}
    return {
        name: value
        for name, value in given.items()
        if isinstance(value, str) and (name != "name" or NOT_NAME.search(value) is None)
    }
