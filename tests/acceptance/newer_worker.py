"""A worker of a later release, which knows one more revision of the interpreter."""

import runpy
from pathlib import Path

from anabranch.graph import revision

revision.REVISION += 1  # type: ignore[misc]  # before anybody imports it
runpy.run_path(str(Path(__file__).parents[2] / "worker.py"), run_name="__main__")
