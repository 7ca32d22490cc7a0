"""Hostile graph files, and what their nodes name beside them: read as what they say, or refused with place and code.

No file outside of the graph's folder is read, nothing hangs, and nothing costs more than a large graph does.
"""

from __future__ import annotations

import json
import os
import random
import socket
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import yaml

from anabranch.errors import GraphError
from anabranch.graph.load import LoadedGraph, canonical, find_graph, load_graph, load_library, load_text
from tests.attack.attack import Attack, Tally
from tests.attack.forked import Outcome, forked
from tests.cost import Limit
from tests.hostile.test_hostile_yaml import BOMB, DIALECT, FIELDS, HOSTILE_NODES, NODE, ORDER, REFUSED

CANARY = "canary-outside-the-folder"
_LONGEST_MESSAGE = 20_000
_LIMIT = Limit(seconds=6.0)
"""For a file of 256 KiB: what takes longest is SQL, which is read as three dialects."""
_SIGNS = [
    "",
    "x",
    "[",
    "}",
    ": ",
    "- ",
    "'",
    '"',
    "{{",
    "5",
    "null",
    "\n",
    "  ",
    "!",
    "&a ",
    "*a",
    "🦀",
    "\t",
    "\0",
    "? ",
]
_JUNK: list[object] = [
    None,
    True,
    -1,
    2**70,
    1e308,
    "",
    "a",
    "{{ a }}",
    "a >",
    "1s",
    "rule",
    "x" * 5000,
    [],
    {},
    [[1]],
    {"a": {}},
]
_ESCAPES = [
    "../outside{0}",
    "../../../../../../../../{1}/outside{0}",
    "{1}/outside{0}",
    "./../inside/../outside{0}",
    "..//outside{0}",
    "link{0}",
    "links/outside{0}",
    "loop{0}",
    "chain1{0}",
    "outside{0}",
    "..\\outside{0}",
    "%2e%2e/outside{0}",
    "\u2025/outside{0}",
    "inside{0}/../../outside{0}",
    "file://{1}/outside{0}",
    "~/outside{0}",
    "$PWD/../outside{0}",
    "/proc/self/cwd/outside{0}",
    "/proc/self/root{1}/outside{0}",
    "/dev/fd/0{0}",
    "zero{0}",
    "kernel{0}",
    "pipe{0}",
    "socket{0}",
    "folder{0}",
    "huge{0}",
    "latin{0}",
    "nul\0{0}",
    "x" * 5000 + "{0}",
    "a/" * 2000 + "{0}",
    "absent{0}",
    "",
    "{0}",
]

Load = Callable[[], LoadedGraph]


async def run(tally: Tally, numbers: range) -> None:
    """Load the files with these numbers."""
    with tempfile.TemporaryDirectory(prefix="anabranch-attack-") as place:
        cases = list(_cases(Path(place)))
        for number in numbers:
            name, load = cases[number] if number < len(cases) else _generated(tally.rng)
            outcome = forked(partial(said, load), _LIMIT)
            tally.judge(f"{number} {name}", wrong(outcome), refused=outcome.said.startswith("refused"))
        _controls(tally, Path(place))


def said(load: Load) -> str:
    """What came of loading: the graph, or the refusal."""
    try:
        return f"read {canonical(load().graph)}"
    except GraphError as error:
        if not error.problems or any(not problem.code for problem in error.problems):
            return "untyped refusal"
        return f"refused {error}"


def wrong(outcome: Outcome) -> str | None:
    """What the load did that it must not."""
    if outcome.wrong is not None:
        return outcome.wrong
    if CANARY in outcome.said:
        return "a file outside of the folder was read"
    if not outcome.said.startswith(("read ", "refused ")):
        return outcome.said
    if outcome.said.startswith("refused ") and len(outcome.said) > _LONGEST_MESSAGE:
        return f"the refusal has {len(outcome.said)} characters"
    return None


def _cases(place: Path) -> Iterator[tuple[str, Load]]:
    for name, text in REFUSED.items():
        yield name, partial(load_text, text, "hostile.yaml")
    for name, fields in HOSTILE_NODES.items():
        yield name, partial(load_text, NODE.format(fields), "hostile.yaml")
    inside = _folder(place)
    for escape in _ESCAPES:
        for field, suffix in (("grl", ".grl"), ("decision_table", ".json")):
            named = escape.format(suffix, str(place).lstrip("/"))
            graph = {"name": "attack", "nodes": {"a": {"type": "rule", field: named}}}
            yield f"{field}: {named[:80]!r}", partial(_written, inside, graph)
    yield from _graph_files(place)


def _graph_files(place: Path) -> Iterator[tuple[str, Load]]:
    """Graph files that are none, alone and in a folder that is searched."""
    for kind in ("pipe", "socket", "folder", "zero", "kernel", "loop", "huge", "latin", "absent"):
        folder = place / f"with-{kind}"
        folder.mkdir()
        (folder / "good.yaml").write_text("name: good\nnodes:\n  a: {type: rule, rules: [{then: {x: 1}}]}\n")
        _special(folder, kind, ".yaml")
        yield f"the file {kind}", partial(load_graph, folder / f"{kind}.yaml")
        yield f"a folder with {kind}", partial(find_graph, folder, "good")
        yield f"a library with {kind}", partial(_first_of, folder)


def _first_of(folder: Path) -> LoadedGraph:
    return next(iter(load_library(folder).values()))


def _folder(place: Path) -> Path:
    inside = place / "inside"
    inside.mkdir()
    table = {"nodes": [], "edges": [], CANARY: 1}
    (place / "outside.grl").write_text(
        f'rule {CANARY.replace("-", "_")} "{CANARY}" {{ when true then x = "{CANARY}"; }}'
    )
    (place / "outside.json").write_text(json.dumps(table))
    (inside / "links").symlink_to(place)
    for suffix in (".grl", ".json"):
        (inside / f"link{suffix}").symlink_to(place / f"outside{suffix}")
        (inside / f"chain1{suffix}").symlink_to(f"chain2{suffix}")
        (inside / f"chain2{suffix}").symlink_to(f"links/outside{suffix}")
        for kind in ("pipe", "socket", "folder", "zero", "kernel", "loop", "huge", "latin"):
            _special(inside, kind, suffix)
    return inside


def _special(folder: Path, kind: str, suffix: str) -> None:
    """A file that is more, or less, than a file."""
    path = folder / f"{kind}{suffix}"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
        case "folder":
            path.mkdir()
        case "zero":
            path.symlink_to("/dev/zero")
        case "kernel":
            path.symlink_to("/proc/kmsg")
        case "loop":
            path.symlink_to(path.name)
        case "huge":
            with path.open("wb") as file:
                file.truncate(64 * 2**30)  # a hole: it takes no room
        case "latin":
            path.write_bytes("name: ä\n".encode("latin-1"))


def _written(folder: Path, graph: object) -> LoadedGraph:
    path = folder / "graph.yaml"
    path.write_text(json.dumps(graph))
    return load_graph(path)


def _generated(rng: random.Random) -> tuple[str, Load]:
    text = rng.choice([_damaged, _junk, _deep])(rng)
    return repr(text[:160]), partial(load_text, text, "generated.yaml")


def _damaged(rng: random.Random) -> str:
    text = rng.choice([ORDER, DIALECT])
    for _ in range(rng.randint(1, 6)):
        start, length = rng.randint(0, len(text)), rng.randint(0, 40)
        text = text[:start] + rng.choice(_SIGNS) * rng.choice((1, 1, 1, 50, 2000)) + text[start + length :]
    return text


def _junk(rng: random.Random) -> str:
    return json.dumps({"name": "x", **{part: _tree(rng, 5) for part in ("nodes", "edges", "context")}})


def _tree(rng: random.Random, depth: int) -> object:
    if depth == 0 or rng.random() < 0.2:
        return rng.choice(_JUNK)
    if rng.random() < 0.3:
        return [_tree(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice(FIELDS): _tree(rng, depth - 1) for _ in range(rng.randint(1, 5))}


def _deep(rng: random.Random) -> str:
    """Something legitimate in a great number, or in great depth."""
    count = rng.choice((100, 1000, 5000))
    node = "{type: rule, rules: [{then: {x: 1}}]}"
    return rng.choice(
        [
            "name: x\nnodes:\n" + "".join(f"  n{index}: {node}\n" for index in range(count)),
            f"name: x\nnodes:\n  a: {node}\nedges:\n" + "  - {from: a, to: a}\n" * count,
            "name: x\nnodes:\n  a: {type: rule, rules: [" + "{then: {x: 1}}, " * count + "]}\n",
            "name: x\nnodes: {a: {type: foreach, items: b, body: {nodes: " * (count // 10),
            "name: x\nnodes:\n  a: {type: wait, until: '" + "a && " * count + "a'}\n",
            "name: x\nnodes:\n  a: {type: rule, rules: [{then: {x: '" + "{{ a }}" * count + "'}}]}\n",
            "name: " + "x" * count * 10 + f"\nnodes:\n  a: {node}\n",
            "name: x\nnodes:\n  a: {type: approval, prompt: p, schema: " + "{not: " * count + "}" * count + "}\n",
        ]
    )


def _controls(tally: Tally, place: Path) -> None:
    """Loaders that are not ours, and do what ours must not."""

    def outside() -> str:
        return "read " + (place / "outside.grl").read_text()

    def hangs_not_but_dies() -> str:
        os.kill(os.getpid(), 9)
        return ""

    def expands() -> str:
        return "read " + str(len(json.dumps(yaml.safe_load(BOMB))))

    careless = {"reads outside": outside, "dies": hangs_not_but_dies, "expands aliases": expands}
    for name, load in careless.items():
        tally.control(name, seen=wrong(forked(load)) is not None)


YAML = Attack("yaml", run, small=240, release=1_200, chunk=300)
