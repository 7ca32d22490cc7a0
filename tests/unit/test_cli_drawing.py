"""What the command draws of a run: the indented list, the live tree, the table of versions."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from anabranch.cli.live import LiveRun
from anabranch.cli.versions import versions_table
from anabranch.display import plain
from anabranch.graph.drawing.rows import rows
from anabranch.graph.model import Graph

DIAMOND = ["check", "stock", "price", "pack", "ship", "notify"]
ARROWS = [
    ("check", "stock"),
    ("check", "price"),
    ("stock", "pack"),
    ("pack", "ship"),
    ("price", "ship"),
    ("ship", "notify"),
]


def listed(nodes: list[str], edges: list[tuple[str, str]]) -> list[str]:
    return [row.rails + row.node for row in rows(nodes, edges)]


def rendered(renderable: Any, width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def live_run() -> LiveRun:
    arrows = [{"from": source, "to": target} for source, target in ARROWS]
    rule = {"type": "rule", "rules": [{"then": {"x": 1}}]}
    graph = Graph.model_validate({"name": "g", "nodes": dict.fromkeys(DIAMOND, rule), "edges": arrows})
    return LiveRun(graph, "order-1")


def test_branches_are_indented_and_their_join_stands_in_line_again() -> None:
    assert listed(DIAMOND, ARROWS) == ["check", "├─ stock", "│  pack", "╰─ price", "ship", "notify"]


def test_a_chain_is_not_indented() -> None:
    assert listed(["a", "b", "c"], [("a", "b"), ("b", "c")]) == ["a", "b", "c"]


def test_roots_stand_side_by_side_and_their_join_below_them() -> None:
    assert listed(["a", "b", "c"], [("a", "c"), ("b", "c")]) == ["a", "b", "c"]


def test_two_edges_between_the_same_nodes_make_no_join() -> None:
    assert listed(["a", "b", "c"], [("a", "b"), ("a", "b"), ("a", "c")]) == ["a", "├─ b", "╰─ c"]


def test_every_node_of_a_large_graph_is_listed_once_and_after_its_predecessors() -> None:
    nodes = [f"n{index}" for index in range(2000)]
    edges = [(f"n{index}", f"n{other}") for index in range(2000) for other in (index + 1, index + 7) if other < 2000]
    order = {row.node: place for place, row in enumerate(rows(nodes, edges))}
    assert sorted(order) == sorted(nodes)
    assert all(order[source] < order[target] for source, target in edges)


def test_the_tree_shows_state_time_and_what_was_written() -> None:
    live = live_run()
    live.show(
        {
            "status": "failed",
            "nodes": {
                "check": {"status": "succeeded", "started": 1000, "ended": 1012},
                "stock": {
                    "status": "failed",
                    "started": 1012,
                    "ended": 4512,
                    "error": {"type": "E", "message": "no\nx"},
                },
                "price": {"status": "skipped"},
            },
            "compensated": ["check"],
        }
    )
    live.show_history([{"kind": "node", "by": "check", "set": {"a": 1, "b.c": 2}, "removed": ["old"]}])
    assert rendered(live.renderable()) == [
        "g · order-1  failed",
        "✔ check     rule  12 ms  compensated  a, b.c, old removed",
        "├─ ✘ stock  rule  3.5 s  failed  E: no",
        "│  ○ pack   rule",
        "╰─ · price  rule         skipped",
        "○ ship      rule",
        "○ notify    rule",
    ]


def test_the_tree_says_how_far_items_and_attempts_are() -> None:
    live = live_run()
    items = {"all": 30, "done": 12, "failed": 2, "passed_over": 1, "running": 4}
    ended = {"status": "succeeded", "started": 0, "ended": 5000}
    nodes: dict[str, Any] = {
        "check": {**ended, "items": {"all": 2, "done": 2, "failed": 0, "running": 0}},
        "stock": {**ended, "status": "failed", "items": items},
        "price": {**ended, "attempt": 2, "max_attempts": 3},
        "pack": {"status": "pending", "attempt": 1, "next_attempt": 7000},
        "stock[3]/weigh": {"status": "running"},
        "stock[4]/weigh": {"status": "running"},
    }
    live.show({"status": "running", "nodes": nodes})
    assert rendered(live.renderable()) == [
        "g · order-1  running",
        "✔ check     rule  5.0 s  2 of 2 done",
        "├─ ✘ stock  rule  5.0 s  failed  12 of 30 done  2 failed  1 passed over  4 running  2 under way",
        "│  ○ pack   rule         attempt 1",
        "╰─ ✔ price  rule  5.0 s  attempt 2 of 3",
        "○ ship      rule",
        "○ notify    rule",
    ]


def test_without_a_worker_the_tree_says_what_it_waits_for() -> None:
    live = live_run()
    live.cannot_see("no poller\x1b[2J")
    assert rendered(live.renderable())[-1] == "waiting for a worker that answers (no poller\\x1b[2J)"


def test_on_a_narrow_screen_names_states_and_times_stay_and_the_rest_is_cut() -> None:
    live = live_run()
    live.show({"status": "running", "nodes": {"check": {"status": "succeeded", "started": 0, "ended": 7}}})
    live.show_history([{"kind": "node", "by": "check", "set": {"a_rather_long_key": 1, "another": 2}, "removed": []}])
    assert rendered(live.renderable(), width=36)[1:3] == [
        "✔ check     rule  7 ms  a_rather_lo…",
        "├─ ○ stock  rule",
    ]


def test_a_line_may_be_kept_below_the_tree() -> None:
    live = live_run()
    live.say("cancelling")
    live.show({"status": "running", "nodes": {}})
    assert rendered(live.renderable())[-1] == "cancelling"


def test_versions_are_listed_with_writer_changes_and_conflicts() -> None:
    conflict = {
        "path": "tags",
        "strategy": "merge_all",
        "candidates": [{"by": "a", "value": 1}, {"by": "b"}],
        "settled": True,
        "choice": [1],
    }
    history = [
        {
            "version": 1,
            "kind": "input",
            "by": "input",
            "set": {f"k{index}": index for index in range(8)},
            "removed": [],
        },
        {"version": 4, "kind": "merge", "by": "j", "set": {}, "removed": ["gone"], "conflicts": [conflict]},
    ]
    assert rendered(versions_table(history)) == [
        "  version  by     changes",
        "        1  input  k0 = 0, k1 = 1, k2 = 2, k3 = 3, k4 = 4, k5 = 5, and 2 more",
        "        4  j      gone removed",
        "                  conflict at tags: a: 1 | b: removed → [1] (merge_all)",
    ]


def test_text_of_others_keeps_its_letters_and_loses_its_commands() -> None:
    assert plain("Größe 寸法 \x1b[2J\x9b\u202e\ud800 tab\t") == "Größe 寸法 \\x1b[2J\\x9b\\u202e\\ud800 tab\t"
