"""Distributions that bring node types, as they lie in a folder of `sys.path`."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from anabranch.graph import node_types

PROJECT = Path(__file__).parent / "fixtures" / "extension_project"
"""A project whose distribution `anabranch-sms` brings the node type `sms`."""


def distribution(folder: Path, name: str, entries: Mapping[str, str], modules: Mapping[str, str] | None = None) -> Path:
    """Install a distribution into a folder: `entries` are its node types and the references that they lead to."""
    metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    listed = "".join(f"{entry} = {reference}\n" for entry, reference in entries.items())
    (metadata / "entry_points.txt").write_text(f"[{node_types.ENTRY_POINTS}]\n{listed}")
    for module, text in (modules or {}).items():
        (folder / f"{module}.py").write_text(text)
    return folder


@contextmanager
def installed(*folders: Path) -> Generator[None]:
    """Have this process find what is installed in `folders`, and forget it at the end."""
    known = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        for folder in folders:
            patch.syspath_prepend(str(folder))
        _forget()
        try:
            yield
        finally:
            for name in set(sys.modules) - known:
                path = getattr(sys.modules[name], "__file__", None)
                if path is not None and any(Path(path).is_relative_to(folder) for folder in folders):
                    del sys.modules[name]
    _forget()


def _forget() -> None:
    for cached in (node_types._entries, node_types._refusal, node_types._loaded):
        cached.cache_clear()
