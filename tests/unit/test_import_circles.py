"""Modules that import each other in a circle can only be understood together. There are none."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest


def circle(package: str) -> list[str]:
    """Modules of a package that import each other in a circle, also where only a type checker follows the import."""
    graph = grimp.build_graph(package, exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_module_imports_itself_through_others() -> None:
    assert circle("anabranch") == []


def test_a_circle_that_only_a_type_checker_follows_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "round_and_round"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "one.py").write_text("from round_and_round import two\n")
    (package / "two.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import round_and_round.one\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert {"round_and_round.one", "round_and_round.two"} == set(circle("round_and_round"))
