"""What changed for runs in flight: the names for `workflow.patched`, by which older histories replay as recorded."""

from __future__ import annotations

from typing import Final

LEFT_UNDONE_FAILS: Final = "a-cancelled-run-whose-compensation-failed-fails"
"""Before it, such a run ended as cancelled, and only its status told."""
