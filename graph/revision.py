"""The revision of the interpreter: of how graphs are planned, run and their expressions evaluated.

A run keeps the revision that it began with, over children and continue-as-new, whatever worker it comes to. A change
that would make a run in flight decide differently raises `REVISION`, and keeps the old way for earlier runs.
"""

from __future__ import annotations

from typing import Final

REVISION: Final = 1
"""The newest revision that this worker knows. It knows all before it, too."""
