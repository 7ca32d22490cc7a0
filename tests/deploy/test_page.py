"""The commands of docs/deployment.md, which need a cluster or a builder, name what is there."""

from __future__ import annotations

import re

from tests.deploy.files import ROOT, VERSIONS, of_kind
from tests.docs.pages import blocks_of, pages

PAGE = "docs/deployment.md"
SHELL = "\n".join(block.text for block in blocks_of(PAGE) if block.language == "bash")


def test_the_files_that_commands_name_exist() -> None:
    named = set(re.findall(r"deploy/[\w./-]+", SHELL))
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert "deploy/helm/anabranch" in named


def test_the_config_map_and_the_namespace_are_those_of_the_manifests() -> None:
    (config,), (namespace,) = of_kind("ConfigMap"), of_kind("Namespace")
    assert f"configmap {config['metadata']['name']} --namespace {namespace['metadata']['name']}" in SHELL


def test_the_versions_of_kubernetes_are_those_that_are_checked() -> None:
    assert f"Kubernetes {', '.join(VERSIONS[:-1])} and {VERSIONS[-1]}" in pages()[PAGE]
