"""What `deploy/` holds, as Kubernetes and a builder of images read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from anabranch.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
VERSIONS = ("1.35", "1.36", "1.37")
"""Of Kubernetes: those that are supported today."""
Manifest = dict[str, Any]
_FOREIGN = ("TEMPORAL_", "DB_")
"""Temporal's own variables, and connections that graphs name."""


def manifests() -> Iterator[Manifest]:
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))


def of_kind(kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests() if manifest["kind"] == kind]


def unknown_variables(given: set[str]) -> set[str]:
    """Those of which no setting is read."""
    aliases = " ".join(str(field.validation_alias) for field in Settings.model_fields.values())
    known = set(re.findall(r"\w+", aliases))
    return {name for name in given if name not in known and not name.startswith(_FOREIGN)}


def instructions() -> list[tuple[str, str]]:
    """The Containerfile, an instruction and its arguments at a time."""
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    return [(name, " ".join(rest)) for line in lines if line for name, *rest in [line.split()]]
