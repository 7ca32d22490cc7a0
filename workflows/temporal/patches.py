"""What changed for runs in flight: the names for `workflow.patched`, by which older histories replay as recorded."""

from __future__ import annotations

from typing import Final

LEFT_UNDONE_FAILS: Final = "a-cancelled-run-whose-compensation-failed-fails"
"""Before it, such a run ended as cancelled, and only its status told."""
DRAINS_FOR_A_WHILE: Final = "a-run-drains-for-a-while"
"""Before it, a run that was to continue as new started nothing until all that ran was done, however long it took."""
WEIGHS_WHAT_IS_CARRIED: Final = "a-run-weighs-what-it-carries"
"""Before it, a state that was too large was handed on anyway, and the workflow task failed for ever."""
JUDGES_BY_EFFECTS: Final = "what-may-be-undone-is-judged-by-effects"
"""Before it, a child that failed and left effects behind counted as one that did nothing, and a node that was cancelled
while its join waited for somebody to settle a conflict as one that may have done something."""
KEEPS_WHAT_PEOPLE_SAY: Final = "what-people-and-services-say-is-kept"
"""Before it, a join that asked about another conflict forgot what had been settled, a node started in a paused run when
its conflict was settled, an operator's second edit could get lost, and nobody weighed what came from outside."""
SPREADS_OVER_TASKS: Final = "local-nodes-and-children-are-spread-over-tasks"
"""Before it, all local nodes and children that were ready went into one workflow task, with whatever followed them; the
server ends a run that sends too much at once."""
SKIPS_AS_SUCCEEDED: Final = "a-node-that-an-operator-skips-has-no-error"
"""Before it, `error` still told of the failure in the conditions of its edges and behind its `always` edges."""
