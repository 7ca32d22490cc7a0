"""What `deploy/kubernetes/` gives to Kubernetes is what Kubernetes and Anabranch take."""

from __future__ import annotations

import kubernetes_validate
import pytest

from anabranch.graph.load import load_text
from anabranch.worker import GRACE
from tests.deploy.files import VERSIONS, manifests, of_kind, unknown_variables

KINDS = {
    "ConfigMap",
    "Deployment",
    "HorizontalPodAutoscaler",
    "Namespace",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Secret",
}
GONE_WITHIN = 30
"""Seconds after SIGTERM, as docs/operations.md has it."""


@pytest.mark.parametrize("version", VERSIONS)
def test_three_versions_of_kubernetes_take_every_manifest(version: str) -> None:
    found = list(manifests())
    for manifest in found:
        kubernetes_validate.validate(manifest, version, strict=True)
    assert {manifest["kind"] for manifest in found} == KINDS


def test_a_manifest_with_a_mistake_is_found() -> None:
    (worker,) = of_kind("Deployment")
    worker["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(worker, VERSIONS[-1], strict=True)


def test_every_graph_in_the_config_map_is_one_without_warnings() -> None:
    (config,) = of_kind("ConfigMap")
    loaded = [load_text(text, name) for name, text in config["data"].items()]
    assert [each.graph.name for each in loaded] == ["greeting"]
    assert [warning for each in loaded for warning in each.warnings] == []


def test_workers_are_given_variables_that_they_know() -> None:
    (secret,), (worker,) = of_kind("Secret"), of_kind("Deployment")
    (container,) = worker["spec"]["template"]["spec"]["containers"]
    given = set(secret["stringData"]) | {variable["name"] for variable in container["env"]}
    assert given >= {"TEMPORAL_ADDRESS", "ANABRANCH_GRAPHS", "REDIS_URL"}
    assert unknown_variables(given) == set()
    assert unknown_variables({"ANABRANCH_GRAPH", "REDIS"}) == {"ANABRANCH_GRAPH", "REDIS"}


def test_a_pod_runs_without_rights_and_writes_nothing_to_its_root() -> None:
    (worker,) = of_kind("Deployment")
    pod = worker["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (pod["securityContext"]["runAsNonRoot"], pod["automountServiceAccountToken"]) == (True, False)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_pod_is_given_longer_to_stop_than_a_worker_takes() -> None:
    (worker,) = of_kind("Deployment")
    assert worker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > GONE_WITHIN > GRACE.total_seconds()


def test_the_graphs_are_mounted_so_that_an_update_of_the_config_map_reaches_the_worker() -> None:
    (worker,), (config,) = of_kind("Deployment"), of_kind("ConfigMap")
    pod = worker["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["graphs"] == {"name": "graphs", "configMap": {"name": config["metadata"]["name"]}}
    # A subPath would be mounted once, and never again.
    assert mounts["graphs"] == {"name": "graphs", "mountPath": variables["ANABRANCH_GRAPHS"], "readOnly": True}
