"""Compiles everything once, before the processes of the tests would each do it: `python -m tests.compiled`."""

from __future__ import annotations

import compileall
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from _pytest.assertion import rewrite

from tests.json_values import unchecked
from tests.sources import ROOT, sources

_REWRITTEN = ("test_", "conftest")
"""How the names of the files begin whose assertions pytest rewrites."""


def compiled(path: Path) -> bool:
    """Write what Python, or pytest, keeps of a file, unless it is there and up to date."""
    if not path.name.startswith(_REWRITTEN):
        return bool(compileall.compile_file(path, quiet=1))
    kept = rewrite.get_cache_dir(path) / f"{path.stem}{rewrite.PYC_TAIL}"
    if rewrite._read_pyc(path, kept) is None:
        digest, code = unchecked(rewrite)._rewrite_test(path, None)
        kept.parent.mkdir(exist_ok=True)
        unchecked(rewrite)._write_pyc(None, code, digest, kept)
    return True


def main() -> None:
    """A process for each processor."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        assert all(pool.map(compiled, [ROOT / each for each in sources()], chunksize=16))


if __name__ == "__main__":
    main()
