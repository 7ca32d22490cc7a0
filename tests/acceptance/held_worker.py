"""A worker that goes no further than to begin to read what a rerun takes over, and says so in a file."""

import asyncio
import os
import runpy
from pathlib import Path
from unittest.mock import patch

held = Path(os.environ["HELD_FILE"])


async def _never(*_: object) -> None:
    await asyncio.to_thread(held.touch)
    await asyncio.Event().wait()


with patch("anabranch.rerun.activity.past_of", _never):
    runpy.run_path(str(Path(__file__).parents[2] / "worker.py"), run_name="__main__")
