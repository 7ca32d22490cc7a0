"""Each command that looks at runs, on the order of the examples, a failed saga, a conflict, a `foreach`, a long loop.

They are played once on a server; then no worker is left, and no run may be asked.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from rich.cells import cell_len
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from typer.testing import CliRunner, Result

from anabranch.cli.main import app
from anabranch.dev.devserver import FAST, DevServer
from tests import servers
from tests.asking import connect_to
from tests.inspection.test_live_commands import never_asked
from tests.inspection.test_on_server import order, played
from tests.integration.graph_kit import PATIENCE, chain, diamond, edge, until_status, worker_for

ITEMS = 60
"""More than are shown."""
HOSTILE = "\x1b[31mred\x1b[0m\r\nnext \u202eturned\u202c [bold]no markup[/bold] " + "long" * 2500


def rule(**then: Any) -> dict[str, Any]:
    return {"type": "rule", "rules": [{"then": then}]}


def failed_saga() -> dict[str, Any]:
    steps = {name: rule(**{f"{name}ed": True}) | {"compensate": rule(undone=name)} for name in ("book", "charge")}
    stop = {"type": "fail", "code": "NO_STOCK", "message": "{{ text }}"}
    return {"saga": {}, **chain(**steps, ship=stop)}


def torn() -> dict[str, Any]:
    policy = {"conflict_resolution": "fail_on_conflict"}
    return diamond(rule(price="{{ price + 10 }}"), rule(price="{{ price - 20 }}"), context=policy)


def items(count: int) -> dict[str, Any]:
    bad = {"type": "fail", "code": "BAD", "message": "{{ item }} is bad"}
    step = rule(square="{{ item * item }}") | {"compensate": rule(undone="{{ item }}")}
    body = {
        "nodes": {"look": rule(seen=True), "bad": bad, "step": step},
        "edges": [edge("look", "bad", when="item % 25 == 3"), edge("look", "step", otherwise=True)],
    }
    each: dict[str, Any] = {"type": "foreach", "items": f"lists.range({count})", "body": body, "failed": "lost"}
    each |= {"on_item_failure": "collect", "collect": {"into": "squares", "value": "square"}}
    return {"saga": {}, **chain(each=each, ask={"type": "approval", "prompt": "Go on?"})}


def loop() -> dict[str, Any]:
    return chain(
        loop={"type": "while", "while": "n < 12", "body": {"nodes": {"up": rule(n="{{ n + 1 }}") | {"local": False}}}}
    )


@dataclass(frozen=True)
class Stage:
    """A server that has the runs, by what they show."""

    address: str
    ids: dict[str, str]

    def run(self, command: str, of: str, *args: object, **environ: str) -> Result:
        """A command about a run, which is sent no query."""
        words = [command, self.ids[of], *map(str, args)]
        with patch.object(WorkflowHandle, "query", never_asked):
            done = CliRunner().invoke(app, words, env={"TEMPORAL_ADDRESS": self.address, **environ})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    def told(self, command: str, of: str, *args: object) -> Any:
        """What it tells programs."""
        done = self.run(command, of, *args, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def lines(self, command: str, of: str, *args: object) -> list[str]:
        """What people see of it on a terminal of 80 columns, without blanks at the ends."""
        done = self.run(command, of, *args, COLUMNS="80", FORCE_COLOR="1")
        assert done.exit_code == 0, done.output
        bare = re.sub(r"\x1b\[[\d;]*m", "", done.stdout)
        assert {"\x1b", "\r", "\u202e"} & {*bare} == set()
        lines = [line.rstrip() for line in bare.split("\n")]
        assert [line for line in lines if cell_len(line) > 80] == []
        return lines

    def text(self, command: str, of: str, *args: object) -> str:
        """The same with single blanks, whatever was wrapped, and without the lines of a tree."""
        return " ".join(re.sub("[│├└─]", " ", " ".join(self.lines(command, of, *args))).split())


async def play(server: DevServer, folder: Path) -> dict[str, str]:
    client = await connect_to(server)
    (declined,) = await played(client, "every-command-order", {"declined": await asyncio.to_thread(order)})
    async with worker_for(client, "every-command", folder) as served:
        saga = await served.start(failed_saga(), {"text": HOSTILE})
        conflict = await served.start(torn(), {"price": 100, "text": HOSTILE})
        each = await served.start(items(ITEMS))
        with pytest.raises(WorkflowFailureError):
            await asyncio.wait_for(saga.result(), PATIENCE)
        await until_status(conflict, "join", "conflict")
        await until_status(each, "ask", "waiting")
    foreign = await client.start_workflow("Another", {"x": 1}, id="every-command-foreign", task_queue="nobody")
    handles = {"saga": saga, "conflict": conflict, "each": each, "foreign": foreign}
    return {"declined": declined, **{name: handle.id for name, handle in handles.items()}}


@pytest.fixture(scope="module")
def stage(dev_server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    ids = asyncio.run(play(dev_server, tmp_path_factory.mktemp("graphs")))
    yield Stage(dev_server.address, ids)
    asyncio.run(end(dev_server, [ids["conflict"], ids["each"], ids["foreign"]]))


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server that suggests to continue as new after a few events."""

    async def play_long(server: DevServer) -> str:
        async with worker_for(
            await connect_to(server), "every-command-long", tmp_path_factory.mktemp("long")
        ) as served:
            handle = await served.start(loop(), {"n": 0})
            await asyncio.wait_for(handle.result(), PATIENCE)
            return handle.id

    with servers.temporal(dynamic_config={**FAST, "limit.historyCount.suggestContinueAsNew": "24"}) as server:
        yield Stage(server.address, {"long": asyncio.run(play_long(server))})


async def end(server: DevServer, ids: list[str]) -> None:
    client: Client = await connect_to(server)
    for each in ids:
        await client.get_workflow_handle(each).terminate()


def of(causes: Any, by: str) -> Any:
    return next(each for each in causes if each["by"] == by)


def test_the_declined_order_is_explained_by_its_rule_its_score_the_model_and_the_input(stage: Stage) -> None:
    causes = stage.told("why", "declined", "order_status")["causes"]
    judged = of(causes, "process_payment")
    assert of(causes, "decide_order")["did"][0] == "rule 3: otherwise"
    assert (judged["set"]["fraud_score"], judged["did"][0]) == (97, "model openai:gpt-4")
    assert of(causes, "input")["set"]["order_total"] == 48999.0
    drawn = stage.text("why", "declined", "order_status")
    for said in (
        'order_status = "declined"',
        'rule 1: when payment_valid && action == "APPROVE" did not hold',
        "fraud_score = 97",
        "model openai:gpt-4",
        "prompt Customer CUST-103",
        "read order_total = 48999.0",
    ):
        assert said in drawn, said


def test_a_node_that_was_skipped_or_began_is_explained(stage: Stage) -> None:
    skipped = stage.lines("why", "declined", "--node", "mark_out_of_stock")
    assert skipped[:3] == [
        "mark_out_of_stock skipped",
        "├── ✘ check_inventory succeeded → when !in_stock",
        "│   └── in_stock = true",
    ]
    assert "no edge leads to it: it starts with the run" in stage.text("why", "declined", "--node", "validate_order")
    assert "it starts with each[4]" in stage.text("why", "each", "--node", "each[4]/look")


def test_the_declined_order_is_shown_with_its_versions_and_who_wrote_them(stage: Stage) -> None:
    tree = stage.lines("show", "declined")
    assert tree[0].endswith("completed")
    assert any(line.split()[1:] == ["·", "mark_out_of_stock", "rule", "skipped"] for line in tree)
    assert stage.told("show", "declined")["context"]["order_status"] == "declined"
    before = stage.told("show", "declined", "--at", 2)
    assert (before["version"], "order_status" in before["context"]) == (2, False)
    versions = stage.told("history", "declined")
    assert [each["by"] for each in versions[:2]] == ["input", "validate_order"]
    assert 'order_status = "declined"' in stage.text("history", "declined", "order_status")
    blamed = {each["path"]: each["by"] for each in stage.told("blame", "declined")}
    assert (blamed["order_status"], blamed["order_total"]) == ("decide_order", "input")
    wide = stage.lines("blame", "declined", "order_status")
    assert wide[1].split()[:4] == ["order_status", '"declined"', str(len(versions) - 1), "decide_order"]
    last = len(versions)
    assert stage.told("diff", "declined", 1, last)["set"]["order_status"] == "declined"
    assert 'order_status absent "declined"' in stage.text("diff", "declined", 1, last)
    assert stage.text("undo-plan", "declined").startswith("The run is over")


def test_a_failed_saga_shows_what_it_undid_and_what_a_cancel_would_have(stage: Stage) -> None:
    shown = stage.text("show", "saga")
    assert "compensated: charge, book" in shown
    assert f"… {len(HOSTILE) - 300:,} more characters" in shown
    assert stage.told("show", "saga")["context"]["text"] == HOSTILE
    kinds = [each["kind"] for each in stage.told("history", "saga")]
    assert kinds[-3:] == ["compensation", "compensation", "rollback"]
    assert "undo charge" in stage.text("history", "saga")
    plan = stage.told("undo-plan", "saga", "--at", 3)
    assert [step["node"] for step in plan["undo"]] == ["charge", "book"]
    assert "A cancel would undo 2 steps, one after the other:" in stage.text("undo-plan", "saga", "--at", 3)
    assert of(stage.told("why", "saga", "undone")["causes"], "undo book")["kind"] == "compensation"
    assert stage.text("why", "saga", "--node", "ship").startswith("ship failed ✔ charge succeeded → on success")
    watched = stage.run("watch", "saga", "--json")
    assert (watched.exit_code, json.loads(watched.stdout.splitlines()[-1])["status"]) == (1, "failed")


def test_a_conflict_is_shown_once_with_the_command_that_settles_it(stage: Stage) -> None:
    run = stage.ids["conflict"]
    lines = stage.lines("show", "conflict")
    assert "join must know what price is: left: 110 | right: 80" in lines
    assert f"  anabranch resolve {run} join price --choose left" in lines
    assert "waits for" not in lines
    assert stage.told("show", "conflict")["conflicts"]["join"][0]["path"] == "price"
    assert {each["by"] for each in stage.told("blame", "conflict", "price")} < {"left", "right"}  # who was last
    undecided = stage.run("why", "conflict", "--node", "join")
    assert (undecided.exit_code, undecided.stdout) == (1, "")
    assert "the node 'join' is in conflict: nothing has decided about it yet" in undecided.stderr
    assert stage.text("undo-plan", "conflict") == "A cancel would undo nothing. stays: start"
    refused = stage.run("resolve", "conflict")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert f"anabranch resolve {run} join price --choose left" in refused.stderr
    assert "no paused node waits" in stage.run("retry", "conflict").stderr
    assert stage.told("pause", "conflict") == {"workflow_id": run, "paused": True}
    assert stage.run("resume", "conflict").stdout == f"{run} goes on\n"


def check_items(stage: Stage, run: str, count: int) -> None:
    lost = len(range(3, count, 25))
    done = count - lost
    shown = stage.lines("show", run)
    assert len(shown) < 60
    assert any(f"{done} of {count} done" in line and f"{lost} failed" in line for line in shown)
    assert f"    … {done - 10:,} more" in shown
    assert any(line.endswith("abridged: --json has all") for line in shown)
    assert len(stage.told("show", run)["context"]["squares"]) == done
    versions = stage.told("history", run)
    assert len(versions) == 2 + count + done
    table = stage.lines("history", run)
    assert len(table) < 20
    assert any(f"… {count + done - 4:,} more in each: --json has all" in line for line in table)
    plan = stage.told("undo-plan", run)
    assert len(plan["undo"]) == done
    drawn = stage.lines("undo-plan", run)
    assert drawn[0] == f"A cancel would undo {done} steps, one after the other:"
    assert (len(drawn) < 12, any(f"… {done - 4:,} more in each" in line for line in drawn)) == (True, True)
    squares = stage.text("why", run, "squares")
    assert "by each (foreach)" in squares
    assert "more" in squares
    assert stage.told("why", run, "squares")["value"][3] == 16
    assert stage.lines("why", run, "--node", "each[4]/step")[1].startswith("└── ✔ each[4]/look succeeded → otherwise")
    assert "the node 'each[3]/step' did not run" in stage.run("why", run, "--node", "each[3]/step").stderr
    assert {each["path"]: each["by"] for each in stage.told("blame", run)} == {"lost": "each", "squares": "each"}


def test_a_foreach_is_readable_and_its_json_has_all(stage: Stage) -> None:
    check_items(stage, "each", ITEMS)


@pytest.mark.slow
def test_a_foreach_of_a_thousand_is_as_readable(dev_server: DevServer, tmp_path: Path) -> None:
    async def play_many() -> str:
        client = await connect_to(dev_server)
        async with worker_for(client, "every-command-many", tmp_path) as served:
            handle = await served.start(items(1000))
            await until_status(handle, "ask", "waiting")
            return handle.id

    run = asyncio.run(play_many())
    check_items(Stage(dev_server.address, {"many": run}), "many", 1000)
    asyncio.run(end(dev_server, [run]))


def test_a_run_that_continued_as_new_is_shown_with_all_of_its_versions(impatient: Stage) -> None:
    stage = impatient
    shown = stage.told("show", "long")
    assert (shown["status"], shown["context"]) == ("completed", {"n": 12})
    versions = stage.told("history", "long")
    assert [each["number"] for each in versions] == [*range(1, len(versions) + 1)]
    assert "loop[0]/up" in {each["by"] for each in versions}
    first, last = 1, len(versions)
    assert stage.told("diff", "long", first, last)["set"] == {"n": 12}
    assert stage.told("blame", "long", "n")[0]["value"] == 12
    assert {"input", "loop[0]/up"} <= {each["by"] for each in stage.told("why", "long", "n")["causes"]}
    assert stage.text("why", "long", "n").startswith("n = 12")
    older = stage.run("show", "long", "--run-id", shown["previous_run_id"])
    assert "it goes on as the run" in older.stdout
    assert stage.lines("show", "long", "--run-id", shown["previous_run_id"])[0].endswith("continued")
    assert stage.text("undo-plan", "long").startswith("The run is over")
    assert json.loads(stage.run("watch", "long", "--json").stdout.splitlines()[-1])["status"] == "completed"


@pytest.mark.parametrize("command", ["answer", "resolve", "retry", "skip", "fail", "pause", "resume", "cancel"])
def test_a_run_that_is_over_is_told_nothing(stage: Stage, command: str) -> None:
    words = {"answer": ["--approve"], "resolve": ["--remove"], "cancel": ["--yes"]}.get(command, [])
    done = stage.run(command, "saga", *words, "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "error[INPUT_INVALID]" in done.stderr


@pytest.mark.parametrize("run", ["declined", "saga", "conflict", "each"])
def test_each_run_is_listed_in_eighty_columns(stage: Stage, run: str) -> None:
    words = ["runs", "--query", f"WorkflowId = '{stage.ids[run]}'"]
    environ = {"TEMPORAL_ADDRESS": stage.address, "COLUMNS": "80", "FORCE_COLOR": "1"}
    done = CliRunner().invoke(app, words, env=environ)
    lines = re.sub(r"\x1b\[[\d;]*m", "", done.stdout).splitlines()
    assert (done.exit_code, [line for line in lines if cell_len(line) > 80]) == (0, [])
    assert lines[0].split() == ["run", "graph", "state", "waits", "for", "started", "took"]
    assert re.search(r"\d\d-\d\d \d\d:\d\d  +(\d+\.\d s|\d:\d\d:\d\d)$", lines[1].rstrip())


def test_what_no_worker_has_begun_says_so(stage: Stage) -> None:
    assert stage.text("show", "foreign").endswith("no worker has loaded its graph")
    assert stage.told("show", "foreign")["status"] == "loading"
    refused = [stage.run(*words) for words in (("undo-plan", "foreign"), ("why", "foreign", "x"))]
    assert [(done.exit_code, done.stdout) for done in refused] == [(1, ""), (1, "")]


def test_what_the_run_has_not_is_refused_with_what_to_do(stage: Stage) -> None:
    said = stage.run("why", "saga", "nothing").stderr
    assert "nothing was ever written at 'nothing'" in said
    assert "anabranch blame" in said
    assert "the context has 6 versions, not 0" in stage.run("show", "saga", "--at", 0).stderr
    nobody = Stage(stage.address, {"nobody": "nobody"}).run("show", "nobody")
    assert (nobody.exit_code, "look at `anabranch runs`" in nobody.stderr) == (1, True)
