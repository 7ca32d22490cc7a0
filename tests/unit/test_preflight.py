"""What a worker finds out before it serves, where no server is needed to find it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from anabranch.activities import python
from anabranch.activities.standard import node_activities
from anabranch.cli import leaving
from anabranch.cli.main import app
from anabranch.errors import ConfigurationError
from anabranch.graph.load import load_text
from anabranch.imports import NOTHING
from anabranch.preflight import preflight as module
from anabranch.preflight.finding import Finding
from anabranch.preflight.needs import Need, Sort, needs_of
from anabranch.preflight.preflight import Report, preflight
from anabranch.preflight.services import check_settings
from anabranch.settings import Settings
from anabranch.worker import serve
from tests.json_values import number

GOOD = "name: {name}\nnodes: {{a: {{type: rule, rules: [{{then: {{x: 1}}}}]}}}}\n"
OF_THE_WORKER = ("ANABRANCH_", "TEMPORAL_", "HTTP_SECRET_", "DB_", "POSTGRES_", "OPENAI_", "REDIS_", "STORE_", "CACHE_")
PATIENCE = 30


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:

    for name in [name for name in os.environ if name.startswith(OF_THE_WORKER)]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(python, "_registered", {})
    # The command leaves its event loop to the end of its process, which this one outlives.
    monkeypatch.setattr(leaving, "run_until_over", asyncio.run)


async def looked_at(folder: Path, *, ask: bool = False, graphs_seconds: float = 60, **given: Any) -> Report:
    settings = Settings(graphs=folder, **given)
    activities = node_activities(settings)
    try:
        return await preflight(settings, NOTHING, activities, ask=ask, graphs_seconds=graphs_seconds)
    finally:
        await activities.aclose()


def written(folder: Path, **nodes: str) -> Path:
    """A graph with these nodes, in a file of its own, one a line from the third on."""
    (folder / "g.yaml").write_text("name: g\nnodes:\n" + "".join(f"  {key}: {node}\n" for key, node in nodes.items()))
    return folder


def told(report: Report) -> list[tuple[str, str]]:
    return [(each.code, str(each.place)) for each in report.findings]


async def test_each_broken_graph_is_found_with_its_place_and_the_others_are_served(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD.format(name="good"))
    (tmp_path / "typed.yaml").write_text("name: typed\nnodes: {a: {type: roule}}\n")
    (tmp_path / "torn.yaml").write_text("name: torn\nnodes: {a: [\n")
    (tmp_path / "below").mkdir()
    (tmp_path / "below/again.yaml").write_text(GOOD.format(name="twice"))
    (tmp_path / "twice.yaml").write_text(GOOD.format(name="twice"))
    report = await looked_at(tmp_path)
    assert told(report) == [
        ("YAML_SYNTAX", f"{tmp_path}/torn.yaml:3:1"),
        ("GRAPH_NAME_TAKEN", f"{tmp_path}/twice.yaml:1:7"),
        ("NODE_TYPE_UNKNOWN", f"{tmp_path}/typed.yaml:2:19"),
    ]
    assert report.served["graphs"] == ["good"]
    assert [each.may_pass for each in report.findings] == [False] * 3


LACKING = {
    "connection": (
        "{type: db, connection: DB_SHOP, query: select 1}",
        "this worker has no connection DB_SHOP for graphs",
        {"DB_SHOP": "sqlite:///:memory:"},
    ),
    "connection that is not listed": (
        "{type: db, connection: SHOP, query: select 1}",
        "this worker has no connection SHOP for graphs",
        {"SHOP": "sqlite:///:memory:", "ANABRANCH_CONNECTIONS": "SHOP"},
    ),
    "handler": ("{type: python, handler: weigh}", "this worker has no handler 'weigh'", {}),
    "activity": ("{type: activity, activity: charge}", "this worker has no activity 'charge'", {}),
    "model's key": (
        '{type: ai, model: "openai:gpt-4", prompt: hi}',
        "the environment variable OPENAI_API_KEY is not set, and the model 'openai:gpt-4' needs it",
        {"OPENAI_API_KEY": "k3y"},
    ),
    "model's provider": (
        '{type: ai, model: "opanai:gpt-4", prompt: hi}',
        "'opanai:gpt-4' is not a model that this worker knows how to call",
        {},
    ),
    "model of a variable": (
        '{type: ai, model: "env:ANABRANCH_MODEL", prompt: hi}',
        "the environment variable ANABRANCH_MODEL, which says what model to call, is not set",
        {"ANABRANCH_MODEL": "ollama:llama3.2"},
    ),
    "model of several": (
        '{type: ai, model: ["ollama:llama3.2", "env:ANABRANCH_MODEL"], prompt: hi}',
        "the environment variable ANABRANCH_MODEL, which says what model to call, is not set",
        {"ANABRANCH_MODEL": "ollama:mistral"},
    ),
    "secret": (
        '{type: http, url: "https://bank.example", headers: {Authorization: "env:HTTP_SECRET_BANK"}}',
        "this worker has no secret HTTP_SECRET_BANK for any server",
        {"HTTP_SECRET_BANK": "s3cr3t", "HTTP_SECRET_BANK_HOSTS": "bank.example"},
    ),
    "secret in a body": (
        '{type: http, url: "https://bank.example", method: POST, body: {keys: ["env:HTTP_SECRET_BANK"]}}',
        "this worker has no secret HTTP_SECRET_BANK for any server",
        {"HTTP_SECRET_BANK": "s3cr3t", "HTTP_SECRET_BANK_HOSTS": "bank.example"},
    ),
    "secret of auth": (
        '{type: http, url: "https://bank.example", auth: {bearer: "env:HTTP_SECRET_BANK"}}',
        "this worker has no secret HTTP_SECRET_BANK for any server",
        {"HTTP_SECRET_BANK": "s3cr3t", "HTTP_SECRET_BANK_HOSTS": "bank.example"},
    ),
    "Redis for limits": (
        '{type: http, url: "https://bank.example", rate_limit: {limit: 1}}',
        "the node has a `rate_limit` or a `concurrency`, which this worker cannot keep: it has no REDIS_URL",
        {"REDIS_URL": "redis://127.0.0.1:6379/0"},
    ),
    "certificates": (
        '{type: grpc, target: "prices.example:443", method: shop.Prices/Of, tls: {ca: GRPC_CA_SHOP}}',
        "the environment variable GRPC_CA_SHOP holds no certificates, and names no file of them",
        {"GRPC_CA_SHOP": str(Path(__file__).parents[1] / "fixtures/tls/certificate.pem")},
    ),
}


@pytest.mark.parametrize("lacking", LACKING)
async def test_what_a_node_names_and_the_worker_lacks_is_found_at_the_node(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, message, environ = LACKING[lacking]
    report = await looked_at(written(tmp_path, a=node, b=node))
    (found,) = report.findings
    assert (found.code, found.message) == ("CONFIGURATION_INVALID", f"{message} (also at 1 other place)")
    assert str(found.place).startswith(f"{tmp_path}/g.yaml:3:")
    assert found.may_pass
    assert found.suggestion
    assert report.served["graphs"] == ["g"]
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    if environ:
        assert (await looked_at(tmp_path)).findings == ()


async def test_what_is_there_is_listed_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _, _, environ in LACKING.values():
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
    python.node("weigh")(lambda _: None)
    nodes = {f"n{number}": node for number, (node, _, _) in enumerate(LACKING.values())}
    served = (await looked_at(written(tmp_path, **nodes))).served
    assert served["connections"] == ["SHOP"]
    assert served["handlers"] == ["weigh"]
    assert served["models"] == ["openai:gpt-4", "env:ANABRANCH_MODEL", "ollama:llama3.2"]
    assert served["secrets"] == ["HTTP_SECRET_BANK"]


async def test_a_graph_that_shares_its_context_needs_a_store(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(GOOD.format(name="g") + "share: {}\n")
    assert told(await looked_at(tmp_path)) == [("CONFIGURATION_INVALID", f"{tmp_path}/g.yaml:3:1")]
    assert told(await looked_at(tmp_path, store_url="memory://")) == []


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import not_installed", "ModuleNotFoundError: No module named 'not_installed'"),
    ],
)
async def test_a_handler_whose_module_cannot_be_imported_is_found_and_the_worker_goes_on(
    raised: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_handlers.py").write_text(raised)
    made = tmp_path / "broken-1.0.dist-info"
    made.mkdir()
    (made / "METADATA").write_text("Name: broken\nVersion: 1.0\n")
    (made / "entry_points.txt").write_text("[anabranch.nodes]\nweigh = broken_handlers:weigh\n")
    monkeypatch.syspath_prepend(tmp_path)
    graphs = tmp_path / "graphs"
    graphs.mkdir()
    report = await looked_at(written(graphs, a="{type: python, handler: weigh}"))
    sys.modules.pop("broken_handlers", None)
    assert [each.message for each in report.findings] == [f"the handler 'weigh' cannot be used: {said}"]


EVERYWHERE = """
name: g
nodes:
  own: {type: db, connection: DB_OWN, query: select 1, compensate: {type: db, connection: DB_UNDO, query: select 1}}
  here: {type: db, connection: DB_HERE, query: select 1, task_queue: shop}
  away: {type: db, connection: DB_AWAY, query: select 1, task_queue: elsewhere}
  made: {type: db, connection: DB_MADE, query: select 1, task_queue: "{{ queue }}"}
  each:
    type: foreach
    items: "[1]"
    body: {nodes: {inner: {type: db, connection: DB_BODY, query: select 1}}}
finally:
  nodes: {last: {type: db, connection: DB_LAST, query: select 1}}
"""


def connections(text: str) -> set[str]:
    named = {need for need, _ in needs_of(load_text(text), "shop")}
    return {need.name for need in named if need.sort is Sort.CONNECTION}


def test_what_nodes_need_is_looked_for_in_bodies_compensations_and_finally_but_not_on_other_task_queues() -> None:
    assert connections(EVERYWHERE) == {"DB_OWN", "DB_UNDO", "DB_HERE", "DB_BODY", "DB_LAST"}
    assert connections(f"{EVERYWHERE}defaults: {{task_queue: elsewhere}}\n") == {"DB_HERE"}


def test_a_node_type_is_needed_where_a_handler_runs_it() -> None:
    needed = {need for need, _ in needs_of(load_text(EVERYWHERE), "shop") if need.sort is Sort.NODE_TYPE}
    assert needed == {Need(Sort.NODE_TYPE, "db")}


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"store_url": "foo"}, None),
        ({"store_url": "memory://", "cache_url": "ftp://host"}, None),
        ({"store_url": "memory://", "cache_strategy": "WriteNever"}, "CACHE_STRATEGY"),
        ({"payload_store_url": "memory://"}, None),
    ],
)
def test_settings_that_no_waiting_mends_are_refused_by_name(given: dict[str, Any], place: str | None) -> None:
    with pytest.raises(ConfigurationError) as refused:
        check_settings(Settings(**given))
    variable = list(given)[-1].upper()
    assert variable in refused.value.message or refused.value.place == place


async def test_graphs_that_take_too_long_to_look_at_are_served_unseen(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.yaml").write_text(GOOD.format(name=name))
    report = await looked_at(tmp_path, graphs_seconds=-1)
    assert [(each.code, each.message, each.may_pass) for each in report.findings] == [
        ("UNAVAILABLE", "not all graphs could be looked at within -1 s, only 1", True)
    ]
    assert report.served["graphs"] == ["a", "b", "c"]


def test_what_may_pass_is_logged_as_a_warning_and_the_rest_as_an_error() -> None:
    report = Report(
        {}, (Finding("UNAVAILABLE", "it is down", "REDIS_URL", may_pass=True), Finding("A", "b", None, "c"))
    )
    with capture_logs() as logged:
        report.log()
    assert logged == [
        {
            "event": "preflight finding",
            "log_level": "warning",
            "code": "UNAVAILABLE",
            "reason": "it is down",
            "place": "REDIS_URL",
        },
        {"event": "preflight finding", "log_level": "error", "code": "A", "reason": "b", "suggestion": "c"},
    ]


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@asynccontextmanager
async def redis(answer: Answer) -> AsyncGenerator[str]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{number(server.sockets[0].getsockname()[1])}"


async def test_servers_are_asked_side_by_side(tmp_path: Path) -> None:
    asked = 0
    all_are_asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            all_are_asked.set()
        await all_are_asked.wait()
        while data := await reader.read(1000):
            writer.write(b"+PONG\r\n" if b"PING" in data else b"+OK\r\n" * data.count(b"*"))

    async with redis(answer) as url:
        looking = looked_at(tmp_path, ask=True, redis_url=url, store_url=url, payload_store_url=url)
        report = await asyncio.wait_for(looking, PATIENCE)
    assert report.findings == ()
    assert report.served["services"] == ["REDIS_URL", "STORE_URL", "PAYLOAD_STORE_URL"]


async def test_a_server_that_never_answers_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.1)

    async def never(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with redis(never) as url:
        report = await asyncio.wait_for(looked_at(tmp_path, ask=True, redis_url=url), PATIENCE)
    assert report.findings == (Finding("UNAVAILABLE", "no answer within 0.1 s", "REDIS_URL", may_pass=True),)
    assert report.served["services"] == []


async def test_a_worker_refuses_its_own_wrong_settings_before_it_looks_for_a_server(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="STORE_URL is not the URL of a store"):
        await serve(Settings(graphs=tmp_path, store_url="foo"))


async def test_a_worker_that_is_stopped_while_it_looks_does_not_wait_for_what_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def for_ever(_variable: str, _url: str) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "_ANSWER_SECONDS", 1000)
    monkeypatch.setattr(module, "reach", for_ever)
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(Settings(graphs=tmp_path, redis_url="redis://127.0.0.1:9"), stop=stop))
    await asyncio.wait_for(asked.wait(), PATIENCE)
    stop.set()
    await asyncio.wait_for(serving, PATIENCE)


async def test_what_a_client_library_lets_through_is_a_finding_without_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_variable: str, url: str) -> None:
        raise LookupError(url)

    monkeypatch.setattr(module, "reach", broken)
    report = await looked_at(tmp_path, ask=True, redis_url="redis://:s3cr3t@127.0.0.1")
    assert report.findings == (Finding("UNAVAILABLE", "it cannot be asked: LookupError", "REDIS_URL", may_pass=True),)


def check(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def test_the_command_lists_what_is_there_and_fails_for_what_is_not(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD.format(name="good"))
    done = check("--offline", "--graphs", tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "✔ graphs       good"
    written(tmp_path, a="{type: db, connection: DB_SHOP, query: select 1}")
    done = check("--offline", "--graphs", tmp_path)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[0] == "✔ graphs       g, good"
    message = f"error[CONFIGURATION_INVALID]: {tmp_path}/g.yaml:3:29: this worker has no connection DB_SHOP for graphs"
    assert done.stderr.splitlines()[0] == message
    assert done.stderr.splitlines()[-1] == "1 finding"


def test_the_command_answers_in_json_too(tmp_path: Path) -> None:
    done = check("--offline", "--json", "--graphs", written(tmp_path, a="{type: python, handler: weigh}"))
    assert done.exit_code == 1
    answer = json.loads(done.stdout)
    assert answer["served"]["graphs"] == ["g"]
    assert answer["findings"] == [
        {
            "code": "CONFIGURATION_INVALID",
            "place": f"{tmp_path}/g.yaml:3:30",
            "message": "this worker has no handler 'weigh'",
            "suggestion": 'register it with @node("weigh")',
            "may_pass": True,
        }
    ]


def test_the_command_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    done = check("--offline", "--graphs", tmp_path / "nowhere")
    assert done.exit_code == 1
    assert done.stderr.startswith("error[CONFIGURATION_INVALID]: ANABRANCH_GRAPHS: the folder")


def test_the_command_says_that_the_temporal_server_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:9")
    done = check("--graphs", tmp_path)
    assert done.exit_code == 1
    assert done.stderr.startswith("error[UNAVAILABLE]: 127.0.0.1:9: no Temporal server answers")
