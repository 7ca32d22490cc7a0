"""The dashboard, the alert rules and the guide name the metrics that there are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from anabranch.observe.metrics import CATALOGUE
from tests import servers
from tests.conftest import or_skipped
from tests.docs.pages import ROOT, pages
from tests.metrics_kit import SDK

RULES = ROOT / "deploy/prometheus/rules.yaml"
DASHBOARD = ROOT / "deploy/grafana/anabranch.json"
_NAME = re.compile(r"\b(?:anabranch|temporal)_[a-z_]+\b")
_LABELS = re.compile(r"(anabranch_[a-z_]+)\{([^}]*)\}")


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def queries() -> Iterator[str]:
    """Every expression of the dashboard and of the rules."""
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in document["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (variable["query"] for variable in document["templating"]["list"] if variable["type"] == "query")
    yield from (rule["expr"] for rule in rules())


def metric_of(name: str) -> str:
    """The metric that a name of a sample belongs to."""
    return re.sub(r"_(bucket|sum|count)$", "", name) if name not in CATALOGUE else name


def test_every_metric_that_the_dashboard_and_the_rules_name_exists() -> None:
    named = {metric_of(name) for query in queries() for name in _NAME.findall(query)}
    assert {name for name in named if name.startswith("anabranch_")} - CATALOGUE.keys() == set()
    assert {name for name in named if name.startswith("temporal_")} == SDK


def test_every_metric_is_on_the_dashboard() -> None:
    shown = DASHBOARD.read_text(encoding="utf-8")
    assert [name for name in CATALOGUE if name not in shown] == []


def test_every_label_by_which_the_dashboard_and_the_rules_choose_is_one_of_its_metric() -> None:
    for query in queries():
        for name, chosen in _LABELS.findall(query):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", chosen))
            assert labels <= {*CATALOGUE[metric_of(name)].labels, "le"}, query


def test_the_guide_has_every_metric_with_its_kind_unit_labels_and_meaning() -> None:
    rows = [line for line in pages()["docs/observability.md"].splitlines() if line.startswith("| `anabranch_")]
    assert rows == [
        f"| `{metric.name}` | {metric.kind} | {metric.unit} | {', '.join(f'`{label}`' for label in metric.labels)} |"
        f" {metric.meaning.rstrip('.')} |"
        for metric in CATALOGUE.values()
    ]


def test_the_guide_says_what_each_label_is_and_what_to_do_about_each_alert() -> None:
    page = pages()["docs/observability.md"]
    for label in {label for metric in CATALOGUE.values() for label in metric.labels} - {"type"}:
        assert f"\n| `{label}` |" in page, label
    for rule in rules():
        assert f"\n| `{rule['alert']}` |" in page


def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    with or_skipped():
        promtool = servers.program("promtool")
    subprocess.run([promtool, "check", "rules", "--lint-fatal", RULES], check=True, capture_output=True)
    asked = [query for query in queries() if not query.startswith("label_values")]
    written = {
        "groups": [
            {
                "name": "queries",
                "rules": [
                    {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
                    for number, query in enumerate(asked)
                ],
            }
        ]
    }
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump(written))
    checked = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert f"{len(asked)} rules found" in checked.stdout
