"""Changed payloads on every wire, in this process: the codec, the converter and what checks the value then.

Each is refused by an error of the project, or is a value that its wire may carry, for little time and memory.
"""

from __future__ import annotations

from collections.abc import Callable

from temporalio.api.common.v1 import Payload

from tests.attack.attack import Attack, Tally
from tests.attack.mutation import mutated, shown
from tests.attack.wires import Wire, received, wires
from tests.cost import USUAL, Limit, attempts, spend

_MIB = 2**20


async def run(tally: Tally, numbers: range) -> None:
    """Try the payloads with these numbers."""
    known = wires()
    everything = [payload for wire in known for payload in wire.genuine]
    for number in numbers:
        wire = known[number % len(known)]
        source = tally.rng.choice(wire.genuine if tally.rng.random() < 0.9 else everything)
        payload = mutated(source, tally.rng.choice(everything), tally.rng)
        accepted, wrong = await judged(wire, payload)
        tally.judge(f"{number} {wire.name} {shown(payload)}", wrong, refused=not accepted)
    await _controls(tally, known)


async def judged(wire: Wire, payload: Payload, limit: Limit = USUAL) -> tuple[bool, str | None]:
    """Whether the wire takes the payload, and what was wrong with that."""
    accepted, wrong, excess = False, None, None
    for attempt in attempts(limit):
        try:
            with attempt:
                accepted = await received(wire, payload)
        except BaseException as error:  # whatever else is raised is what is looked for
            wrong = f"{type(error).__name__}: {str(error)[:200]}"
        excess = limit.excess(attempt.cost)
    return accepted, wrong or excess


async def _controls(tally: Tally, known: list[Wire]) -> None:
    """Genuine payloads are taken; what a careless reader does is seen."""
    genuine = [await judged(wire, payload) for wire in known if wire.name != "query" for payload in wire.genuine]
    tally.control("genuine payloads are taken", seen=all(verdict == (True, None) for verdict in genuine))
    (payload, *_) = known[0].genuine
    careless: dict[str, Callable[[Payload], object]] = {
        "an untyped error": lambda _: dict[str, object]()["nothing"],
        "a recursion": _endless,
        "half a gigabyte": lambda _: len(b"x" * (512 * _MIB)),
        "too much time": lambda _: spend(0.4),
    }
    for name, receive in careless.items():
        _, wrong = await judged(Wire("control", [], receive), payload, Limit(seconds=0.2))
        tally.control(name, seen=wrong is not None)


def _endless(payload: Payload) -> object:
    return _endless(payload)


PAYLOADS = Attack("payloads", run, small=60_000, release=2_000_000, chunk=50_000)
