"""What 1,000 evaluations of each kind take: conditions, templates, rules; and beside another tree, as ratios.

`--against FOLDER` names a checkout of this project at another commit. Each tree has a process of its own, which
compiles once; they take turns round by round, and each one's fastest round counts. Absolute figures vary from hour to
hour; read the ratios.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from anabranch.activities.rules.handler import evaluate_rules
from anabranch.graph.expressions.expressions import compile_expression, evaluate_condition
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.model import RuleNode
from benchmarks import figures
from benchmarks.figures import Figure

EVALUATIONS = 1_000
ROOT = Path(__file__).resolve().parent.parent
DATA: dict[str, Any] = {
    "total": 120,
    "weight": 2.5,
    "country": "DE",
    "vip": True,
    "order": {"id": "o-1", "customer": {"name": "Ada", "since": "2024-05-01T08:00:00Z"}},
    "lines": [{"sku": f"s{i}", "price": 1.5 * i, "pieces": i % 4} for i in range(20)],
}
CONDITIONS = {
    "compare": "total > 100",
    "decide": 'total > 100 && country in ["DE", "AT"] && (vip || weight < 3)',
    "ask a field": 'has(order.customer) && order.customer.name.startsWith("A")',
    "loop": "lines.exists(line, line.price > 25)",
    "ask the clock": 'timestamp(order.customer.since).getHours("Europe/Berlin") >= 9',
}
TEMPLATES: dict[str, Any] = {
    "one hole": "{{ total }}",
    "calculate": "{{ total * weight + 5 }}",
    "text": "Dear {{ order.customer.name }}, {{ total }} EUR are due for {{ order.id }}.",
    "object": {"id": "{{ order.id }}", "sum": "{{ total * 2 }}", "to": {"name": "{{ order.customer.name }}"}},
    "build": "{{ {'n': total, 'c': country} }}",
    "map and sum": "{{ lines.map(line, line.price * line.pieces).sum() }}",
}
RULES: dict[str, Any] = {
    "one rule": [{"when": "total > 100", "then": {"discount": 10}}],
    "ten rules": [
        {"when": f"total > {100 + n} && country == 'DE'", "then": {f"k{n}": "{{ total - " + str(n) + " }}"}}
        for n in range(10)
    ],
    "a loop in a rule": [{"then": {"heavy": "{{ lines.filter(line, line.pieces > 2).map(line, line.sku) }}"}}],
}


def kinds() -> dict[str, Callable[[], object]]:
    """What is evaluated, by kind."""
    found: dict[str, Callable[[], object]] = {}
    for name, source in CONDITIONS.items():
        found[f"condition: {name}"] = partial(evaluate_condition, compile_expression(source), DATA, {})
    for name, text in TEMPLATES.items():
        found[f"template: {name}"] = partial(compile_template(text).render, DATA, {})
    for name, rules in RULES.items():
        node = RuleNode.model_validate({"type": "rule", "rules": rules})
        found[f"rules: {name}"] = partial(evaluate_rules, node, DATA, {})
    return found


def seconds(evaluate: Callable[[], object]) -> float:
    """The processor time of 1,000 evaluations."""
    started = time.process_time()
    for _ in range(EVALUATIONS):
        evaluate()
    return time.process_time() - started


def serve() -> None:
    """Measure each kind that a line of the input names, until there are no more."""
    found = kinds()
    for line in sys.stdin:
        print(seconds(found[line.rstrip("\n")]), flush=True)


@contextmanager
def contestant(tree: Path) -> Generator[Callable[[str], float]]:
    """What measures a kind in a process that runs a tree."""
    # What the tree lacks, as an older one may lack modules of this folder, is taken from here.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), str(ROOT)])}
    command = [sys.executable, str(Path(__file__).resolve()), "--serve"]
    with subprocess.Popen(
        command, cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        write, read = process.stdin, process.stdout

        def measure(kind: str) -> float:
            write.write(f"{kind}\n")
            write.flush()
            return float(read.readline())

        yield measure
        write.close()


Rounds = dict[str, list[list[float]]]
"""Seconds of each round, by kind, then by tree."""


def measured(trees: Sequence[Path], rounds: int) -> Rounds:
    """The rounds of each kind in each tree, in turns."""
    found: Rounds = {kind: [[] for _ in trees] for kind in kinds()}
    with ExitStack() as running:
        contestants = [running.enter_context(contestant(tree)) for tree in trees]
        for number in range(rounds):
            for kind, times in found.items():
                for at in range(len(trees)) if number % 2 else reversed(range(len(trees))):
                    times[at].append(contestants[at](kind))
    return found


def report(found: Rounds) -> str:
    """A table of milliseconds of the fastest rounds, with the ratio to the other tree if there is one."""
    lines = []
    for kind, rounds in found.items():
        ours, *others = map(min, rounds)
        ratio = f"{ours / others[0]:>8.2f}" if others else ""
        lines.append(f"{kind:28}{ours * 1e3:>9.2f} ms" + "".join(f"{other * 1e3:>9.2f} ms" for other in others) + ratio)
    return "\n".join(lines)


def figures_of(found: Rounds, tree: int) -> list[Figure]:
    """The rounds of one of the trees."""
    return [Figure(kind, "s", "lower", tuple(rounds[tree])) for kind, rounds in found.items()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of all kinds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="a checkout of another commit")
    parser.add_argument("--rounds", type=int, default=20, help="rounds; the fastest counts")
    figures.add_option(parser)
    parser.add_argument("--json-there", type=Path, metavar="FILE", help="where to keep those of the other tree")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.serve:
        serve()
        return
    trees = [ROOT] if chosen.against is None else [ROOT, chosen.against.resolve()]
    names = "here" if chosen.against is None else "here, there, ratio"
    print(f"{EVALUATIONS:,} evaluations, fastest of {chosen.rounds} rounds: {names}", flush=True)
    found = measured(trees, chosen.rounds)
    print(report(found))
    session = uuid.uuid4().hex
    for path, number in ((chosen.json, 0), (chosen.json_there, 1)):
        if path is not None and number < len(trees):
            kept = figures_of(found, number)
            figures.record("expressions", kept, tree=trees[number], session=session).write(path)


if __name__ == "__main__":
    main()
