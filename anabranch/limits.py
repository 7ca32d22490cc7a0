"""Limits that several rooms share, or that a test sets lower. Each constructor is handed those that it enforces.

What is not here is bounded where it is read: the size of a YAML file (`graph/source/yaml_source.py`), say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self

MAX_CONTEXT_SIZE_BYTES: Final = 1_048_576
"""Bytes of one context as MessagePack, or JSON where it is written so: in a store, a cache, an event, a wire format.

This is the default of the setting of that name. It bounds what one node writes too. A *run* may hold more, up to
`RunLimits.context_bytes`: it never sends its context as one such value.
"""

PAYLOAD_BYTES: Final = 2 * 1024 * 1024
"""The largest payload that a Temporal server takes."""

PAYLOAD_HEADROOM_BYTES: Final = 64 * 1024
"""Of a payload, for what it holds beside what is weighed."""

STORED_CONTEXT_BYTES: Final = 16 * 1024 * 1024
"""Bytes of a run's context as MessagePack, where the workers keep large payloads in a store.

So the server sets no limit; a workflow task has to get through it within the two seconds that the SDK gives it.
"""

SERVER_NAME_BYTES: Final = 1000
"""Bytes of a name or id that a Temporal server takes: of an activity, a task queue, a workflow.

What is longer fails the workflow task that sends it, for ever. So `validate` refuses it, and a run where it is made.
"""

ADDRESS_BYTES: Final = 960
"""Bytes of a node's address. It is the id of its activity, and that of its compensation is longer."""

TALK_BYTES: Final = 512 * 1024
"""Bytes of what a model with tools has said and was told, as MessagePack: each of its questions holds all of it."""

TOOL_RESULT_BYTES: Final = 64 * 1024
"""Bytes of what one call of a tool tells the model, as MessagePack. Of a larger result it is told that it is one."""

CALLS_AT_ONCE: Final = 16
"""How many tools a model may call at once. Of others it is told that they were too many."""

FAIRNESS_KEY_BYTES: Final = 64
"""Bytes of a fairness key that a Temporal server takes."""

MAX_ATTEMPTS: Final = 2**31 - 1
"""The largest number of attempts that a retry policy holds."""

MAX_PER_TIME: Final = 10_000
"""The largest number of a limit of rate or concurrency. Redis keeps an entry for each that has begun within it."""

LEASE_SECONDS: Final[float] = 30
"""How long a node that is under way counts for its limit of concurrency after its worker was last heard of."""

ELSEWHERE_SECONDS: Final[float] = 120
"""How long a run looks for another worker where one lacks what a node needs: longer than a rollout takes to go on."""

GRAPH_ELSEWHERE_SECONDS: Final[float] = 10
"""The same where one lacks the run's graph. It is short because a mistyped name takes as long to fail."""

KEY_SECONDS: Final[float] = 7 * 86_400
"""How long a run looks for a worker that has the key of what a node is given: until somebody has found the key."""

SEGMENT_SECONDS: Final = 1.0
"""How long a segment goes on starting nodes. What it did is done again where its worker dies before it ends."""

SEGMENT_BYTES: Final = 32 * 1024
"""Bytes of what the nodes of a segment write, as MessagePack, behind which it starts no other node."""

SEGMENT_NODES: Final = 100
"""Nodes of a segment, one behind the other or beside each other."""

DECODED_BYTES: Final = 4 * STORED_CONTEXT_BYTES
"""The total size to which the compressed payloads of one call may unfold.

A context of `STORED_CONTEXT_BYTES` is up to four times as large as JSON, but for control characters (see `size.py`).
"""


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """What one attempt of a node may do."""

    written_bytes: int = MAX_CONTEXT_SIZE_BYTES
    """Bytes of all that it writes, as MessagePack."""
    response_bytes: int = 1024 * 1024
    """Bytes of what answers an `http` or `grpc` node."""
    rows: int = 10_000
    """Rows of a `db` statement with `result: all`."""


@dataclass(frozen=True, slots=True)
class RunLimits:
    """How much one run sends at once, and when it continues as new.

    Workflow code decides by them, so they are pinned with the graph: another default never touches a run in flight.
    """

    context_bytes: int = PAYLOAD_BYTES
    """Bytes of the context as JSON, which is one payload in the run's result, and of a graph's `result`.

    It is no setting: `STORED_CONTEXT_BYTES` where the worker that starts the run has a payload store.
    """
    pending_activities: int = 500
    """Activities that are scheduled and not done. The server refuses 2,000."""
    task_bytes: int = PAYLOAD_BYTES
    """Bytes of the payloads of activities and children in one workflow task. The server ends a run that sends 4 MiB."""
    task_local_bytes: int = 1024 * 1024
    """Bytes of the results of local activities in one workflow task, before compression: they leave together."""
    task_nodes: int = 2_000
    """Nodes that one workflow task starts, skips, cancels or compensates. The SDK gives up on a task after two seconds;
    in that time a usual machine gets through 60,000."""
    step_units: int = 1_000_000
    """Units of cost of the expressions that a workflow evaluates when one node starts or ends. About 0.1 seconds."""
    drain_seconds: float = 10.0
    """How long nothing new starts before a run continues as new, unless its history is near its end."""
    history_events: int = 25_600
    """Events of a history that is near its end: half of what the server ends a run at."""
    history_bytes: int = 25 * 1024 * 1024
    """Bytes of such a history."""
    light_bytes: int = 1024 * 1024
    """Bytes of JSON up to which a run's state is never too large to be passed on, compressed or not."""
    decoded_bytes: int = DECODED_BYTES
    """Bytes that a state may have before compression."""
    mailbox_events: int = 500
    """Events that were sent to the run, and that no node has received yet."""
    mailbox_bytes: int = 256 * 1024
    """Bytes of their data as MessagePack."""
    event_ids: int = 1_000
    """The newest ids of events that a run remembers: one of them is not taken again."""

    def to_wire(self) -> dict[str, float]:
        """The limits by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_wire(cls, limits: Mapping[str, Any]) -> Self:
        """The limits that a run is held to. Raises ValueError for what is not a number above zero.

        A name that this worker does not know is one of a newer revision, whose runs it leaves to others.
        """
        known = {field.name: limits[field.name] for field in fields(cls) if field.name in limits}
        for name, value in known.items():
            if type(value) not in (int, float) or not 0 < value < math.inf:
                raise ValueError(f"the limit {name} is not a number above zero")
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server of this machine waits for its clients, in seconds, and for how many of them at once."""

    head: float = 10.0
    """For the head of a request, from the connection or the first byte of the head on."""
    reading: float = 30.0
    """For a client that does not read its answer."""
    connections: int = 256


NODE_LIMITS: Final = NodeLimits()
RUN_LIMITS: Final = RunLimits()
PATIENCE: Final = Patience()
