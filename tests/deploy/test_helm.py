"""The chart renders what Kubernetes takes; with its own values, what `deploy/kubernetes/` has."""

from __future__ import annotations

import importlib.util
import json
import os
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.files import DEPLOY, VERSIONS, Manifest, manifests, unknown_variables

if importlib.util.find_spec("helm_python") is None and not os.environ.get("CI"):
    pytest.skip("helm-python-sdk has no wheel for this machine", allow_module_level=True)
import helm_python

ADDED = ("app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart")
VARIATIONS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "with mTLS": {"temporal": {"tls": {"secret": "temporal-tls", "withAuthority": True}}},
    "with a Secret and a ConfigMap of others": {"graphs": {"create": False}, "connections": {"create": False}},
    "without an autoscaler and a policy": {"autoscaling": {"enabled": False}, "networkPolicy": {"enabled": False}},
    "with variables": {"env": {"ANABRANCH_ELSEWHERE_SECONDS": 30, "HTTP_ALLOW_PRIVATE": True}},
    "from a private registry": {"image": {"tag": "1", "pullSecrets": [{"name": "registry"}]}},
}


def rendered(name: str = "anabranch", **values: Any) -> dict[str, Manifest]:
    """What the chart makes of these values, by kind: it makes one of each."""
    with helm_python.Chart.load(DEPLOY / "helm" / "anabranch") as chart:
        texts = chart.render(values, name=name, namespace="anabranch")
    found = [manifest for text in texts.values() for manifest in yaml.safe_load_all(text) if manifest]
    by_kind = {manifest["kind"]: manifest for manifest in found}
    assert len(by_kind) == len(found)
    return by_kind


def variables(manifest: Manifest) -> dict[str, str]:
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"]}


def plain(manifest: Manifest) -> Manifest:
    """Without what Helm's conventions add."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "labels"}
    pod = manifest["spec"]["template"]["spec"] if manifest["kind"] == "Deployment" else {"containers": []}
    for container in pod["containers"]:
        container.pop("imagePullPolicy", None)
    return {**manifest, "metadata": metadata}


@pytest.fixture(scope="module")
def variations() -> list[Manifest]:
    """What the chart makes in all variations; what several have in common once."""
    made = [manifest for values in VARIATIONS.values() for manifest in rendered(**values).values()]
    different = {json.dumps(manifest, sort_keys=True): manifest for manifest in made}
    return list(different.values())


@pytest.mark.parametrize("version", VERSIONS)
def test_three_versions_of_kubernetes_take_what_the_chart_makes(version: str, variations: list[Manifest]) -> None:
    for manifest in variations:
        kubernetes_validate.validate(manifest, version, strict=True)
    assert [manifest["kind"] for manifest in variations].count("Deployment") == len(VARIATIONS) - 1


def test_with_its_own_values_the_chart_makes_the_plain_manifests() -> None:
    wanted = {manifest["kind"]: plain(manifest) for manifest in manifests() if manifest["kind"] != "Namespace"}
    found = rendered()
    assert {kind: plain(manifest) for kind, manifest in found.items()} == wanted
    assert [kind for kind, manifest in found.items() if not manifest["metadata"]["labels"].keys() >= set(ADDED)] == []


def test_two_releases_in_one_namespace_do_not_select_each_other_s_pods() -> None:
    first, second = rendered("one"), rendered("two")
    labels = second["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for kind, path in (
        ("Deployment", "selector"),
        ("PodDisruptionBudget", "selector"),
        ("NetworkPolicy", "podSelector"),
    ):
        assert not first[kind]["spec"][path]["matchLabels"].items() <= labels.items()
        assert second[kind]["spec"][path]["matchLabels"].items() <= labels.items()


def test_mtls_is_read_from_the_mounted_secret() -> None:
    worker = rendered(**VARIATIONS["with mTLS"])["Deployment"]
    assert {name: value for name, value in variables(worker).items() if "TLS" in name} == {
        "TEMPORAL_TLS": "true",
        "TEMPORAL_TLS_CLIENT_CERT_PATH": "/tls/tls.crt",
        "TEMPORAL_TLS_CLIENT_KEY_PATH": "/tls/tls.key",
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": "/tls/ca.crt",
    }
    volumes = worker["spec"]["template"]["spec"]["volumes"]
    assert {"name": "tls", "secret": {"secretName": "temporal-tls"}} in volumes


@pytest.mark.parametrize("variation", VARIATIONS)
def test_workers_of_the_chart_are_given_variables_that_they_know(variation: str) -> None:
    given = variables(rendered(**VARIATIONS[variation])["Deployment"])
    assert unknown_variables(set(given)) == set()
    assert {type(value) for value in given.values()} == {str}


def test_a_worker_deployment_leaves_server_and_version_to_the_controller() -> None:
    made = rendered(workerDeployment={"enabled": True}, temporal={"namespace": "orders", "tls": {"secret": "unused"}})
    spec = made["WorkerDeployment"]["spec"]
    assert (made["WorkerDeployment"]["apiVersion"], sorted(spec)) == (
        "temporal.io/v1alpha1",
        ["replicas", "rollout", "sunset", "template", "workerOptions"],
    )
    assert spec["workerOptions"] == {"connectionRef": {"name": "temporal"}, "temporalNamespace": "orders"}
    assert [name for name in variables(made["WorkerDeployment"]) if name.startswith("TEMPORAL_")] == []
    assert {"Deployment", "HorizontalPodAutoscaler"} & made.keys() == set()
    # Its pods are those of the Deployment, which Kubernetes' schema knows.
    as_deployment = rendered()["Deployment"]
    as_deployment["spec"]["template"] = spec["template"]
    kubernetes_validate.validate(as_deployment, VERSIONS[-1], strict=True)


@pytest.mark.parametrize(
    "wrong", [{"graph": {}}, {"env": {"lower": "x"}}, {"networkPolicy": {"to": [{"namespace": "a", "port": 1}]}}]
)
def test_a_value_that_the_chart_does_not_know_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(helm_python.HelmError, match="schema"):
        rendered(**wrong)
