"""A chunk as a process of its own: that it dies is a finding like any other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile

from tests.attack.attack import Attack
from tests.attack.chunk import MARK
from tests.attack.journal import Found

PATIENCE = 1800
"""Seconds after which a chunk counts as hanging; it needs a small part of them."""
_TAIL = 400


async def try_chunk(attack: Attack, seed: str, numbers: range) -> Found:
    """Run the chunk; what it tried and what got through."""
    command = [sys.executable, "-m", "tests.attack.chunk", attack.name, seed, str(numbers.start), str(numbers.stop)]
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=log, start_new_session=True
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        except TimeoutError:
            return _died(attack, numbers, f"the chunk does not end within {PATIENCE} s")
        finally:
            _end(process)
        *_, last = output.decode(errors="replace").splitlines() or [""]
        if process.returncode != 0 or not last.startswith(MARK):
            log.seek(0)
            tail = log.read()[-_TAIL:].decode(errors="replace")
            return _died(attack, numbers, f"the process ended with status {process.returncode}: {tail}")
        return read_tally(attack, numbers, json.loads(last.removeprefix(MARK)))


def read_tally(attack: Attack, numbers: range, fields: dict[str, object]) -> Found:
    through, controls = fields["through"], fields["controls"]
    assert isinstance(through, list)
    assert isinstance(controls, dict)
    blind = [f"the judge does not see the control {name!r}" for name, seen in controls.items() if not seen]
    if not controls:
        blind = ["the class has no control"]
    tried, refused = fields["tried"], fields["refused"]
    assert isinstance(tried, int)
    assert isinstance(refused, int)
    return Found(attack.name, numbers.start, tried, refused, [*through, *blind], len(controls))


def _died(attack: Attack, numbers: range, why: str) -> Found:
    return Found(attack.name, numbers.start, 0, 0, [why])


def _end(process: asyncio.subprocess.Process) -> None:
    """End whatever the chunk has started and left behind: it leads a session of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
