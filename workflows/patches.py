"""What changed for runs in flight: the names for `workflow.patched`, by which older histories replay as recorded."""

from __future__ import annotations

from typing import Final

LEFT_UNDONE_FAILS: Final = "a-cancelled-run-whose-compensation-failed-fails"
"""Before it, such a run ended as cancelled, and only its status told."""
DRAINS_FOR_A_WHILE: Final = "a-run-drains-for-a-while"
"""Before it, a run that was to continue as new started nothing until all that ran was done, however long it took."""
WEIGHS_WHAT_IS_CARRIED: Final = "a-run-weighs-what-it-carries"
"""Before it, a state that was too large was handed on anyway, and the workflow task failed for ever."""
SPREADS_OVER_TASKS: Final = "local-nodes-and-children-are-spread-over-tasks"
"""Before it, all local nodes and children that were ready went into one workflow task, with whatever followed them; the
server ends a run that sends too much at once."""
