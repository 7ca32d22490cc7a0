"""`load_graph`: by name from a folder, or inline; checked, pinned, read again when edited."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from anabranch.activities import load_graph
from anabranch.activities.load_graph import GraphLoader
from anabranch.context.merge.resolution import ConflictResolution
from anabranch.errors import GraphError, InputError
from anabranch.graph import load
from anabranch.graph.load import digests, find_graph
from anabranch.graph.model import Graph
from anabranch.graph.revision import REVISION
from anabranch.graph.source import attachments, index, yaml_source
from anabranch.graph.source.attachments import Attachments
from anabranch.graph.source.yaml_source import Source
from anabranch.limits import RunLimits
from anabranch.transport.node_protocol import GraphRequest

GREET = """
name: greet
nodes:
  hello:
    type: rule
    rules: [{then: {greeting: "Hello {{ who }}"}}]
"""
OUTER = """
name: outer
nodes:
  inner: {type: graph, graph: greet, input: {who: "{{ who }}"}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "greet.yaml").write_text(GREET)
    (tmp_path / "outer.yaml").write_text(OUTER)
    return tmp_path


def test_a_graph_is_found_by_its_name_and_pinned_with_the_digest_of_its_definition(folder: Path) -> None:
    pinned = GraphLoader(folder).load(GraphRequest(name="greet"))
    assert pinned.name == "greet"
    assert pinned.digest == hashlib.sha256(pinned.definition.encode()).hexdigest()
    assert list(Graph.model_validate_json(pinned.definition).nodes) == ["hello"]


def test_the_graphs_that_it_names_are_pinned_with_it(folder: Path) -> None:
    loader = GraphLoader(folder)
    pinned = loader.load(GraphRequest(name="outer"))
    assert pinned.graphs == {"greet": loader.load(GraphRequest(name="greet")).definition}


def test_what_a_run_is_held_to_is_pinned_with_it(folder: Path) -> None:
    (folder / "chain.yaml").write_text("name: chain\nnodes: {o: {type: graph, graph: outer}}\n")
    pinned = GraphLoader(folder).load(GraphRequest(name="chain"))
    assert pinned.revision == REVISION
    assert pinned.inputs == {"chain": ("who",), "outer": ("who",), "greet": ("who",)}
    assert '"max_attempts":5' in pinned.definition
    assert '"max_attempts":5' in pinned.graphs["greet"]


def test_a_child_is_held_to_the_same(folder: Path) -> None:
    pinned = GraphLoader(folder, revision=1).load(GraphRequest(name="outer"))
    limits = RunLimits(pending_activities=3)
    child = replace(pinned, revision=7, capabilities=("found",), limits=limits).child("greet", ())
    assert (child.name, child.revision, child.capabilities, child.limits) == ("greet", 7, ("found",), limits)
    assert (child.inputs, child.graphs) == ({"greet": ("who",)}, {})
    assert child.digest == hashlib.sha256(child.definition.encode()).hexdigest()


def test_a_worker_pins_its_limits(folder: Path) -> None:
    limits = RunLimits(drain_seconds=0.5)
    assert GraphLoader(folder, limits=limits).load(GraphRequest(name="greet")).limits == limits
    assert GraphLoader(folder).load(GraphRequest(name="greet")).limits == RunLimits()


@pytest.mark.parametrize(("wanted", "pinned"), [(1, 1), (REVISION, REVISION), (REVISION + 5, REVISION)])
def test_a_worker_pins_the_lesser_of_its_own_revision_and_the_one_it_is_told(
    folder: Path, wanted: int, pinned: int
) -> None:
    assert GraphLoader(folder, revision=wanted).load(GraphRequest(name="greet")).revision == pinned


@pytest.mark.parametrize("as_object", [False, True])
def test_an_inline_definition_has_the_same_digest_as_its_file(folder: Path, *, as_object: bool) -> None:
    loader = GraphLoader(folder, inline=True)
    by_name = loader.load(GraphRequest(name="outer"))
    inline = json.loads(by_name.definition) if as_object else OUTER
    assert loader.load(GraphRequest(inline=inline)) == by_name


async def test_a_worker_takes_no_graph_of_a_starter_unless_it_is_told_to(folder: Path) -> None:
    loader = GraphLoader(folder)
    for request in (GraphRequest(inline=OUTER), GraphRequest(name="outer", inline=OUTER), GraphRequest(inline={})):
        with pytest.raises(ApplicationError, match="the run brings its own graph") as caught:
            await ActivityEnvironment().run(loader.load_graph, request)
        assert (caught.value.type, caught.value.non_retryable) == ("INLINE_GRAPHS_OFF", True)


async def test_a_run_that_was_started_for_another_definition_is_refused_and_told_which_graphs_differ(
    folder: Path,
) -> None:
    loader, mine = GraphLoader(folder), digests(find_graph(folder, "outer"))
    assert mine.keys() == {"outer", "greet"}
    run = ActivityEnvironment().run
    asked = await run(loader.load_graph, GraphRequest(name="outer", digests=mine))
    assert asked == await run(loader.load_graph, GraphRequest(name="outer"))
    for other, differs in (
        ({**mine, "greet": "0" * 64}, "greet"),
        ({"outer": mine["outer"]}, "greet"),
        ({**mine, "outer": "", "more": "0" * 64}, "outer, more"),
    ):
        with pytest.raises(ApplicationError, match=f"what differs is {differs}\n") as caught:
            await run(loader.load_graph, GraphRequest(name="outer", digests=other))
        assert (caught.value.type, caught.value.non_retryable) == ("GRAPH_MISMATCH", True)


def test_digests_are_the_same_for_each_spelling_of_a_graph_and_whatever_the_worker_s_defaults(folder: Path) -> None:
    before = digests(find_graph(folder, "greet"))
    text = (folder / "greet.yaml").read_text()
    (folder / "greet.yaml").write_text(f"# a comment\n{text}\ndefaults: {{timeout: 30s}}\n")
    assert digests(find_graph(folder, "greet")) == before
    loader = GraphLoader(folder, ConflictResolution.MERGE_ALL)
    assert loader.load(GraphRequest(name="greet", digests=before)).name == "greet"


def mounted(volume: Path, version: str, **files: str) -> None:
    """A ConfigMap as the kubelet mounts it: files are links through `..data`, which one rename leads elsewhere."""
    (volume / f"..{version}").mkdir(parents=True)
    for name, text in files.items():
        (volume / f"..{version}" / name.replace("_", ".")).write_text(text)
        (link := volume / name.replace("_", ".")).unlink(missing_ok=True)
        link.symlink_to(f"..data/{link.name}")
    (volume / "..new").symlink_to(f"..{version}")
    (volume / "..new").rename(volume / "..data")


RULED = "name: ruled\nnodes: {r: {type: rule, grl: rules.grl}}\n"
GRL = "rule R { when total > 0 then rate = %d; }"


def test_graphs_of_a_config_map_are_served_once_and_anew_after_its_update(tmp_path: Path) -> None:
    mounted(tmp_path / "of_orders", "1", ruled_yaml=RULED, rules_grl=GRL % 1)
    loader = GraphLoader(tmp_path)
    first = loader.load(GraphRequest(name="ruled"))
    mounted(tmp_path / "of_orders", "2", ruled_yaml=RULED, rules_grl=GRL % 2)
    second = loader.load(GraphRequest(name="ruled"))
    assert ("rate = 1" in first.definition, "rate = 2" in second.definition) == (True, True)


def test_files_that_are_replaced_together_are_never_read_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(tmp_path, "1", ruled_yaml=RULED, rules_grl=GRL % 1)
    loader = GraphLoader(tmp_path)
    updates = iter([lambda: mounted(tmp_path, "2", ruled_yaml=RULED + "version: '2'\n", rules_grl=GRL % 2)])

    class Updated(Attachments):
        """An update of the volume comes after the graph's file was read, before those that it names."""

        def inlined(self) -> Source:
            next(updates, lambda: None)()
            return super().inlined()

    monkeypatch.setattr("anabranch.graph.load.Attachments", Updated)
    pinned = loader.load(GraphRequest(name="ruled"))
    assert ('"version":"2"' in pinned.definition, "rate = 2" in pinned.definition) == (True, True)


def test_an_edited_file_is_picked_up_by_the_next_run(folder: Path) -> None:
    loader = GraphLoader(folder)
    before = loader.load(GraphRequest(name="outer"))
    assert loader.load(GraphRequest(name="outer")) is before
    (folder / "greet.yaml").write_text(GREET.replace("Hello", "Good day"))
    after = loader.load(GraphRequest(name="outer"))
    assert "Good day" in after.graphs["greet"]
    assert after.digest == before.digest


async def test_the_files_are_looked_at_four_times_a_second_at_most(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, request = GraphLoader(folder), GraphRequest(name="outer")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    before = await ActivityEnvironment().run(loader.load_graph, request)
    (folder / "greet.yaml").write_text(GREET.replace("Hello", "Good day"))
    now += 0.24
    assert await ActivityEnvironment().run(loader.load_graph, request) is before
    now += 0.02
    assert "Good day" in (await ActivityEnvironment().run(loader.load_graph, request)).graphs["greet"]


def test_a_table_beside_the_graph_that_changed_is_picked_up_too(folder: Path) -> None:
    (folder / "rules.grl").write_text('rule "A" { when order.total > 1 then order.big = true; }')
    (folder / "table.yaml").write_text("name: table\nnodes:\n  judge: {type: rule, grl: rules.grl}\n")
    loader = GraphLoader(folder)
    before = loader.load(GraphRequest(name="table"))
    (folder / "rules.grl").write_text('rule "A" { when order.total > 2 then order.big = true; }')
    os.utime(folder / "rules.grl", ns=(1, 1))
    assert loader.load(GraphRequest(name="table")).digest != before.digest


@pytest.mark.parametrize("inline", [False, True])
def test_a_file_that_a_named_graph_s_nodes_name_is_picked_up_wherever_it_stands(folder: Path, *, inline: bool) -> None:
    outer = "name: judge_all\nnodes:\n  inner: {type: graph, graph: table}\n"
    (folder / "judge_all.yaml").write_text(outer)
    (folder / "table.yaml").write_text("name: table\nnodes:\n  judge: {type: rule, grl: rules/a.grl}\n")
    (folder / "rules").mkdir()
    (folder / "rules" / "a.grl").write_text('rule "A" { when order.total > 1 then order.big = true; }')
    loader, request = (
        GraphLoader(folder, inline=True),
        GraphRequest(inline=outer) if inline else GraphRequest(name="judge_all"),
    )
    before = loader.load(request)
    assert loader.load(request) is before
    (folder / "rules" / "a.grl").write_text('rule "A" { when order.total > 22 then order.big = true; }')
    assert "22" in loader.load(request).graphs["table"]


def test_what_is_hidden_or_no_graph_is_not_looked_at(folder: Path) -> None:
    loader = GraphLoader(folder)
    before = loader.load(GraphRequest(name="outer"))
    (folder / "loop.yaml").symlink_to("loop.yaml")
    (folder / ".below").mkdir()
    (folder / ".below" / "other.yaml").write_text(GREET)
    (folder / "loop.json").symlink_to("loop.json")
    assert loader.load(GraphRequest(name="outer")) is before


@pytest.mark.parametrize("name", ["../greet", "/etc/passwd", "greet.yaml/..", "", "a\nb", "x" * 200, "..\\greet"])
def test_a_name_is_never_a_path(folder: Path, name: str) -> None:
    with pytest.raises(GraphError, match="GRAPH_UNKNOWN"):
        GraphLoader(folder / "nothing").load(GraphRequest(name=name))


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("a.yaml", b"name: big\nnodes: {}\n#" + b"x" * 300_000, "a.yaml' is larger than 256 KiB"),
        ("big.yaml", b"nodes: {}\n#" + b"x" * 300_000, "big.yaml' is larger than 256 KiB"),
        ("a.yaml", b"name: big\nnodes: {}\n# \xff", "a.yaml' is not UTF-8"),
    ],
)
def test_a_graph_whose_file_cannot_be_read_is_not_unknown(folder: Path, file: str, content: bytes, said: str) -> None:
    (folder / file).write_bytes(content)
    (folder / "data.yaml").write_bytes(b"name: no_graph\n#" + b"x" * 300_000)
    with pytest.raises(GraphError, match=said) as caught:
        GraphLoader(folder).load(GraphRequest(name="big"))
    assert (caught.value.code, caught.value.problems[0].code) == ("GRAPH_INVALID", "FILE_UNREADABLE")
    with pytest.raises(GraphError, match="GRAPH_UNKNOWN"):
        GraphLoader(folder).load(GraphRequest(name="no_graph"))


def test_an_unknown_name_is_told_the_near_one(folder: Path) -> None:
    with pytest.raises(GraphError, match=r"(?s)no file .* has the graph 'gret'.*greet"):
        GraphLoader(folder).load(GraphRequest(name="gret"))


def test_a_request_without_a_graph_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="names no graph"):
        GraphLoader(folder).load(GraphRequest())


async def test_every_problem_of_a_graph_reaches_the_starter_and_is_not_tried_again(folder: Path) -> None:
    bad = "name: bad\nnodes:\n  a: {type: rule, rules: [{when: 1 +, then: {x: 1}}]}\n  b: {type: dbb}\n"
    loader = GraphLoader(folder, inline=True)
    with pytest.raises(ApplicationError) as caught:
        await ActivityEnvironment().run(loader.load_graph, GraphRequest(inline=bad))
    failure = caught.value
    assert (failure.type, failure.non_retryable) == ("GRAPH_INVALID", True)
    assert len(failure.details[0]["problems"]) >= 1
    assert "dbb" in failure.message


async def test_the_activity_answers_as_the_loader_does(folder: Path) -> None:
    loader = GraphLoader(folder)
    pinned = await ActivityEnvironment().run(loader.load_graph, GraphRequest(name="greet"))
    assert pinned == loader.load(GraphRequest(name="greet"))


def test_the_worker_s_default_strategy_is_pinned_with_a_graph_that_names_none(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text("name: g\nnodes: {a: {type: rule, rules: [{then: {x: 1}}]}}\n")
    loader = GraphLoader(tmp_path, ConflictResolution.MERGE_ALL)
    assert '"conflict_resolution":"merge_all"' in loader.load(GraphRequest(name="g")).definition


GRAPHS = 600


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A folder of very many graphs, each with a name that has to be found."""
    for number in range(GRAPHS):
        (tmp_path / f"file{number}.yaml").write_text(GREET.replace("greet\n", f"greet_{number}\n"))
    return tmp_path


class Reads:
    """Counts what is read of files, and what is parsed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read: list[str] = []
        self.parsed = 0
        self._read, self._parse = attachments.read_text, yaml_source.read_yaml
        for module in (index, load):
            monkeypatch.setattr(module, "read_text", self._reading)
        monkeypatch.setattr(load, "read_yaml", self._parsing)

    def _reading(self, path: Path, name: str) -> str:
        self.read.append(path.name)
        return self._read(path, name)

    def _parsing(self, text: str, file: str) -> Any:
        self.parsed += 1
        return self._parse(text, file)

    def since(self) -> tuple[int, int]:
        found = (len(self.read), self.parsed)
        self.read.clear()
        self.parsed = 0
        return found


def test_of_many_graphs_each_file_is_read_once_for_its_name_and_parsed_when_it_is_started(
    crowded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, reads = GraphLoader(crowded), Reads(monkeypatch)
    assert loader.load(GraphRequest(name="greet_7")).name == "greet_7"
    assert reads.since() == (GRAPHS + 1, 1)
    for number in range(20):
        loader.load(GraphRequest(name=f"greet_{number}"))
    assert reads.since() == (19, 19)
    assert loader.load(GraphRequest(name="greet_7")).name == "greet_7"
    assert reads.since() == (0, 0)


def test_of_many_graphs_only_the_one_that_was_edited_is_read_again(
    crowded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, reads = GraphLoader(crowded), Reads(monkeypatch)
    names = ["greet_1", "greet_2", "greet_3"]
    before = [loader.load(GraphRequest(name=name)) for name in names]
    reads.since()
    (crowded / "file2.yaml").write_text(GREET.replace("greet\n", "greet_2\n").replace("Hello", "Good day"))
    after = [loader.load(GraphRequest(name=name)) for name in names]
    assert [left is right for left, right in zip(before, after, strict=True)] == [True, False, True]
    assert reads.since() == (2, 1)  # for its name, and for itself
    (crowded / "file3.yaml").rename(crowded / "file3.yml")
    assert loader.load(GraphRequest(name="greet_3")) == before[2]
    (crowded / "twice.yaml").write_text(GREET.replace("greet\n", "greet_1\n"))
    with pytest.raises(GraphError, match="two files have the graph 'greet_1'"):
        loader.load(GraphRequest(name="greet_1"))


async def test_graphs_of_the_folder_start_while_inline_graphs_are_parsed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, begun, parse = threading.Event(), threading.Semaphore(0), load.load_text
    most, now = 0, 0

    def slow(text: str, **more: Any) -> Any:
        nonlocal most, now
        now += 1
        most = max(most, now)
        begun.release()
        go_on.wait(60)
        now -= 1
        return parse(text, **more)

    monkeypatch.setattr(load_graph, "load_text", slow)
    loader, run = GraphLoader(folder, inline=True), ActivityEnvironment().run
    texts = [GREET.replace("Hello", f"Hello {number}") for number in range(20)]
    inline = [asyncio.create_task(run(loader.load_graph, GraphRequest(inline=text))) for text in texts]
    try:
        await asyncio.to_thread(begun.acquire, timeout=60)
        assert (await run(loader.load_graph, GraphRequest(name="greet"))).name == "greet"
        assert (await run(loader.load_graph, GraphRequest(name="outer"))).name == "outer"
        assert not any(task.done() for task in inline)
    finally:
        go_on.set()
    assert len({pinned.digest for pinned in await asyncio.gather(*inline)}) == 20
    assert most == 1
