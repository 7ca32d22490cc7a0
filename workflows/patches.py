"""What changed for runs in flight: the names for `workflow.patched`, by which older histories replay as recorded."""

from __future__ import annotations

from typing import Final

LEFT_UNDONE_FAILS: Final = "a-cancelled-run-whose-compensation-failed-fails"
"""Before it, such a run ended as cancelled, and only its status told."""
DRAINS_FOR_A_WHILE: Final = "a-run-drains-for-a-while"
"""Before it, a run that was to continue as new started nothing until all that ran was done, however long it took."""
WEIGHS_WHAT_IS_CARRIED: Final = "a-run-weighs-what-it-carries"
"""Before it, a state that was too large was handed on anyway, and the workflow task failed for ever."""
