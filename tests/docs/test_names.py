"""What the documentation names exists: files, modules, codes, settings, functions."""

from __future__ import annotations

import importlib
import re

import pytest

from anabranch.graph import node_types
from tests.docs.pages import ROOT, pages

_PATH = re.compile(r"`((?:[\w.-]+/)+(?:[\w.-]+\.(?:py|yaml|json|md|sql|toml|msgpack))?)`")
_MODULE = re.compile(r"(?<![/\w])anabranch(?:\.\w+)+")
ENTRY_POINTS = {node_types.ENTRY_POINTS, "anabranch.nodes"}
"""Groups of entry points are named like modules."""
_ROOT_NAMES = {path.name for path in ROOT.iterdir()}


@pytest.mark.parametrize("page", sorted(pages()))
def test_the_paths_of_a_page_exist(page: str) -> None:
    named = {path for path in _PATH.findall(pages()[page]) if path.split("/")[0] in _ROOT_NAMES}
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("page", sorted(pages()))
def test_the_modules_of_a_page_can_be_imported(page: str) -> None:
    named = set(_MODULE.findall(pages()[page])) - ENTRY_POINTS
    assert [name for name in sorted(named) if not exists(name)] == []


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        try:
            for part in parts[length:]:
                found = getattr(found, part)
        except AttributeError:
            return False
        return True
    return False
