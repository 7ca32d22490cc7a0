"""How long an editor waits for the language server at a graph of 500 nodes: completion, hover, definition, problems.

A client of pygls asks over stdio, as an editor does. Before each question a letter is typed, so that the text is new.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks import figures
from benchmarks.figures import Figure
from tests.editor.editing import COMMAND, Editor, editor

NODES = 500


def graph(nodes: int) -> str:
    """A graph of rules in a row, each with a condition and a template."""
    lines = ["name: large", "nodes:"]
    for number in range(nodes):
        before = f"total_{number - 1}" if number else "start"
        lines += [
            f"  step_{number}:",
            "    type: rule",
            f"    description: Step {number}",
            "    rules:",
            f'      - when: {before} > {number} && region == "EU"',
            f'        then: {{total_{number}: "{{{{ {before} + {number} }}}}", stage.s{number}: done}}',
            f"      - otherwise: {{total_{number}: 0}}",
        ]
    edges = [f"  - {{from: step_{number}, to: step_{number + 1}}}" for number in range(nodes - 1)]
    return "\n".join([*lines, "edges:", *edges, ""])


async def measure(rounds: int) -> list[Figure]:
    """The seconds of each question, round by round."""
    text = graph(NODES)
    line = text.split("\n").index(f"  step_{NODES // 2}:") + 4
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.yaml"
        async with editor(*COMMAND) as typing:
            started = time.perf_counter()
            typing.write(path, text)
            await typing.problems(path)
            opened = time.perf_counter() - started
            questions: dict[str, Callable[[], Awaitable[object]]] = {
                "completion in an expression": lambda: typing.complete(path, line, 20),
                "completion of a node": lambda: typing.complete(path, text.count("\n") - 1, 30),
                "hover on a key": lambda: typing.hover(path, line, 20),
                "definition of a key": lambda: typing.define(path, line, 20),
                "symbols": lambda: typing.symbols(path),
            }
            found = [await _figure(name, ask, typing, (path, text), rounds) for name, ask in questions.items()]
            checked = await _figure("problems", lambda: typing.problems(path), typing, (path, text), min(rounds, 5))
    return [Figure("open and check", "seconds", "lower", (opened,)), *found, checked]


async def _figure(
    name: str, ask: Callable[[], Awaitable[object]], typing: Editor, given: tuple[Path, str], rounds: int
) -> Figure:
    path, text = given
    taken: list[float] = []
    for number in range(rounds):
        typing.write(path, text.replace(f"Step {NODES // 2}", f"Step {NODES // 2} {name}{number}"))
        started = time.perf_counter()
        await ask()
        taken.append(time.perf_counter() - started)
        await typing.problems(path)  # the next question meets an idle server, as after a person's pause
    return Figure(name, "seconds", "lower", tuple(taken))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    figures.add_option(parser)
    options = parser.parse_args()
    found = asyncio.run(measure(options.rounds))
    for each in found:
        middle, worst = statistics.median(each.rounds) * 1000, max(each.rounds) * 1000
        print(f"{each.name:<30} {middle:8.1f} ms  (at most {worst:.1f})")
    figures.keep(options.json, "editor", found)


if __name__ == "__main__":
    main()
