"""How many tasks a worker takes at a time, and how many requests for tasks it has open."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, PollerBehaviorSimpleMaximum, WorkerTuner

from anabranch.activities.standard import node_activities
from anabranch.settings import Settings
from anabranch.worker import build_worker

GRAPH = "{name: tuned, nodes: {a: {type: rule, rules: [{then: {n: '{{ n + 1 }}'}}]}}}"


async def test_slots_follow_resources_and_pollers_the_load_where_settings_say_so(
    client: Client, task_queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tuned.yaml").write_text(GRAPH)
    monkeypatch.setenv("ANABRANCH_SLOTS", "resources")
    monkeypatch.setenv("ANABRANCH_POLLERS", "autoscaling")
    # A machine that is busier still gives each kind of task its least number of slots.
    monkeypatch.setenv("ANABRANCH_TARGET_CPU", "0.01")
    settings = Settings(graphs=tmp_path, task_queue=task_queue)
    activities = node_activities(settings)
    worker = build_worker(client, settings, activities)
    config = worker.config(active_config=True)
    assert isinstance(config.get("tuner"), WorkerTuner)
    assert config.get("max_concurrent_activities") is None
    assert config.get("activity_task_poller_behavior") == PollerBehaviorAutoscaling()
    assert config.get("workflow_task_poller_behavior") == PollerBehaviorAutoscaling()
    async with worker:
        result = await client.execute_workflow("tuned", {"n": 1}, id=task_queue, task_queue=task_queue)
    assert result["data"] == {"n": 2}
    await activities.aclose()


async def test_slots_and_pollers_are_fixed_where_settings_say_nothing(
    client: Client, task_queue: str, tmp_path: Path
) -> None:
    settings = Settings(graphs=tmp_path, task_queue=task_queue, max_concurrent_activities=7)
    activities = node_activities(settings)
    config = build_worker(client, settings, activities).config(active_config=True)
    assert config.get("tuner") is None
    assert config.get("max_concurrent_activities") == 7
    assert config.get("activity_task_poller_behavior") == PollerBehaviorSimpleMaximum()
    await activities.aclose()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANABRANCH_SLOTS", "many"),
        ("ANABRANCH_POLLERS", "5"),
        ("ANABRANCH_TARGET_CPU", "80"),
        ("ANABRANCH_TARGET_MEMORY", "0"),
    ],
)
def test_other_values_are_refused_by_the_variable_s_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=name):
        Settings()
