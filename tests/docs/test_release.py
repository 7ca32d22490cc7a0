"""`tools/release` in a copy of the repository: what it refuses, and what it makes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

VERSION = "9.8.7"
_TESTER = ("-c", "user.name=Tester", "-c", "user.email=tester@localhost")
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", "dist", "build", "tests", "benchmarks")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's files in a fresh repository of one commit."""
    folder = tmp_path_factory.mktemp("origin") / "anabranch"
    shutil.copytree(ROOT, folder, symlinks=True, ignore=_LEFT_OUT)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, *_TESTER, "commit", "--quiet", "--message", "All of it")
    return folder


@pytest.fixture
def copy(origin: Path, tmp_path: Path) -> Path:
    """A clone that a test may change."""
    folder = tmp_path / "anabranch"
    git(tmp_path, "clone", "--quiet", str(origin), str(folder))
    git(folder, "config", "user.name", "Tester")
    git(folder, "config", "user.email", "tester@localhost")
    return folder


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *args], check=True, capture_output=True, text=True)
    return done.stdout


def release(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "tools" / "release"), *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_a_dry_run_shows_the_notes_and_changes_nothing(copy: Path) -> None:
    done = release(copy, VERSION, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"version {VERSION}\n")
    assert "### Added" in done.stdout
    assert git(copy, "status", "--porcelain") == git(copy, "tag") == ""


@pytest.mark.parametrize("version", ["1", "v1.2.3", "1.2.3-beta", "../1.2.3"])
def test_an_invalid_version_is_refused(copy: Path, version: str) -> None:
    done = release(copy, version)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not a version" in done.stderr


def test_a_tree_with_changes_is_refused(copy: Path) -> None:
    (copy / "README.md").write_text("changed", encoding="utf-8")
    assert "the working tree has changes" in release(copy, VERSION).stderr


def test_a_tag_that_exists_is_refused(copy: Path) -> None:
    git(copy, "tag", f"v{VERSION}")
    assert f"the tag v{VERSION} exists" in release(copy, VERSION).stderr


def test_a_changelog_without_anything_unreleased_is_refused(copy: Path) -> None:
    (copy / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n## [0.1.0]\n\n- All\n", encoding="utf-8")
    git(copy, "commit", "--quiet", "--all", "--message", "Nothing new")
    assert "nothing under [Unreleased]" in release(copy, VERSION).stderr


def test_a_release_is_built_committed_and_tagged_with_its_licence(copy: Path) -> None:
    done = release(copy, VERSION)
    assert done.returncode == 0, done.stderr
    assert git(copy, "tag").split() == [f"v{VERSION}"]
    assert git(copy, "status", "--porcelain") == ""
    assert f"## [Unreleased]\n\n## [{VERSION}] - " in (copy / "CHANGELOG.md").read_text(encoding="utf-8")
    licence = (ROOT / "LICENSE").read_bytes()
    with zipfile.ZipFile(copy / "dist" / f"anabranch-{VERSION}-py3-none-any.whl") as wheel:
        assert wheel.read(f"anabranch-{VERSION}.dist-info/licenses/LICENSE") == licence
        assert "anabranch/context/distributed.py" in wheel.namelist()
    with tarfile.open(copy / "dist" / f"anabranch-{VERSION}.tar.gz") as sdist:
        kept = sdist.extractfile(f"anabranch-{VERSION}/LICENSE")
        assert kept is not None
        assert kept.read() == licence
