"""What a strict, typed context costs beside the plain libraries, which check nothing and give no object.

The same context in every format: ours to and from a `DistributedContext` (data only, depth, size, no key twice, no
NaN); msgpack to and from the same positional arrays; json and orjson to and from the same object by name. The
contestants are interleaved round by round, and each one's fastest round counts. Absolute figures vary from hour to
hour; read the ratios.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgpack
import orjson

from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.context.values import Json
from benchmarks import figures
from benchmarks.figures import Figure

BASELINE = "msgpack"
SECONDS_PER_ROUND = 0.005


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to carry a context: how to encode it, and how to decode what that gives."""

    name: str
    encode: Callable[[], bytes]
    decode: Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Result:
    """What one contestant needed: bytes, and the microseconds of each round each way."""

    name: str
    size: int
    encodings: tuple[float, ...]
    decodings: tuple[float, ...]

    @property
    def encode(self) -> float:
        """The fastest round."""
        return min(self.encodings)

    @property
    def decode(self) -> float:
        """The fastest round."""
        return min(self.decodings)


def order(items: int) -> DistributedContext:
    """An order with that many items; with two, it is 186 bytes of MessagePack and 499 of indented JSON."""
    goods: list[Json] = [
        {"price": 1299.99, "qty": 1, "sku": "LAPTOP-001"},
        {"price": 100.0, "qty": 2, "sku": "MOUSE-042"},
    ]
    return DistributedContext(
        "order-12345",
        {"order_total": 1499.99, "customer_id": "CUST-789", "items": goods * (items // 2)},
        ContextMetadata(1763769600000, 1763769600123, 5, "order-service", ("order", "high-value")),
    )


def contestants(context: DistributedContext) -> list[Contestant]:
    """Ours and the plain libraries, on the same context."""
    wire = context.to_wire()
    packb = cast("Callable[[Any], bytes]", msgpack.packb)
    document: dict[str, Any] = json.loads(context.to_json())
    return [
        Contestant("context", context.serialize, DistributedContext.deserialize),
        Contestant(BASELINE, lambda: packb(wire), msgpack.unpackb),
        Contestant("json", lambda: json.dumps(document, separators=(",", ":")).encode(), json.loads),
        Contestant("orjson", lambda: orjson.dumps(document), orjson.loads),
        Contestant("context as JSON", lambda: context.to_json().encode(), DistributedContext.from_json),
    ]


def measure(context: DistributedContext, rounds: int) -> list[Result]:
    """Every contestant's size and times."""
    entrants = [(contestant, contestant.encode()) for contestant in contestants(context)]
    calls: list[tuple[Callable[..., object], tuple[bytes, ...]]] = []
    for contestant, encoded in entrants:
        calls += [(contestant.encode, ()), (contestant.decode, (encoded,))]
    counts = [max(1, int(SECONDS_PER_ROUND / _seconds(*call, count=10))) for call in calls]
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for took, call, count in zip(times, calls, counts, strict=True):
            took.append(_seconds(*call, count=count) * 1e6)
    return [
        Result(contestant.name, len(encoded), tuple(times[2 * index]), tuple(times[2 * index + 1]))
        for index, (contestant, encoded) in enumerate(entrants)
    ]


def report(results: Sequence[Result]) -> str:
    """A table, with each contestant's ratio to plain msgpack."""
    baseline = next(result for result in results if result.name == BASELINE)
    lines = [f"{'':16}{'bytes':>10}{'serialize':>14}{'deserialize':>14}{'of plain msgpack':>20}"]
    for result in results:
        ratios = f"{result.encode / baseline.encode:.2f} / {result.decode / baseline.decode:.2f}"
        lines.append(
            f"{result.name:16}{result.size:>10,}{result.encode:>11.2f} µs{result.decode:>11.2f} µs{ratios:>20}"
        )
    return "\n".join(lines)


def figures_of(items: int, results: Sequence[Result]) -> list[Figure]:
    """Every round, over those of plain msgpack."""
    found = []
    for result in results:
        for way, rounds in (("serialize", result.encodings), ("deserialize", result.decodings)):
            control = None if result.name == BASELINE else f"{items} items/{BASELINE}/{way}"
            found.append(Figure(f"{items} items/{result.name}/{way}", "µs", "lower", rounds, control))
        found.append(Figure(f"{items} items/{result.name}/size", "bytes", "lower", (result.size,)))
    return found


def _seconds(call: Callable[..., object], arguments: tuple[bytes, ...], *, count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        call(*arguments)
    return (time.perf_counter() - started) / count


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one table for each size of context."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[2, 100, 2000], help="order items (even numbers)")
    parser.add_argument("--rounds", type=int, default=50, help="rounds for each size; the fastest counts")
    figures.add_option(parser)
    chosen = parser.parse_args(arguments)
    measured: list[Figure] = []
    for items in chosen.items:
        print(f"An order with {items} items, fastest of {chosen.rounds} rounds", flush=True)
        results = measure(order(items), chosen.rounds)
        print(report(results), end="\n\n", flush=True)
        measured += figures_of(items, results)
    figures.keep(chosen.json, "serialization", measured)


if __name__ == "__main__":
    main()
