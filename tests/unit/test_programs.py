"""The programs that tests need and PyPI does not have."""

from __future__ import annotations

import re
from pathlib import Path

from tests.servers import PACKAGES

ROOT = Path(__file__).parents[2]


def test_each_program_that_a_test_asks_for_has_a_package_to_install() -> None:
    sources = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    asked = {name for source in sources for name in re.findall(r"\bprogram\(\"([\w-]+)\"", source)}
    assert {"chromium", "promtool"} <= asked
    assert asked - PACKAGES.keys() == set()


def test_what_is_installed_for_the_tests_is_known_to_them() -> None:
    script = (ROOT / "tools" / "system-packages").read_text()
    installed = set(re.findall(r"command -v [\w-]+ >/dev/null \|\| echo ([\w-]+)", script))
    assert "prometheus" in installed
    assert installed - set(PACKAGES.values()) == set()
