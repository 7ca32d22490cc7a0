"""The Python files of this repository."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]


def sources() -> dict[Path, str]:
    """Text of each file by its path in the repository; what a link leads to is there once."""
    rooms = [path.resolve() for path in (ROOT / "anabranch").iterdir() if path.is_dir()]
    folders = [*rooms, *(ROOT / name for name in ("anabranch", "benchmarks", "tests", "tools"))]
    files = {path.resolve() for folder in folders for path in folder.rglob("*.py") if path.is_file()}
    return {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in sorted(files)}
