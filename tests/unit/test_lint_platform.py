"""What lint learns of a platform from settings and from a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.kubectl_program import kubectl_program

from trivet.engine.lint_platform import configured, of_cluster
from trivet.errors import PlatformError
from trivet.host.kubectl import Kubectl
from trivet.model.platform_config import PlatformConfig
from trivet.model.settings import Lint

Store = Callable[[str, dict[str, Any]], None]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A function that stores an object under a kind, on the cluster that :func:`kubectl` talks to."""
    monkeypatch.setenv("FAKE_CLUSTER", str(tmp_path / "cluster"))

    def put(kind: str, document: dict[str, Any], namespace: str = "") -> None:
        file = tmp_path / "cluster" / namespace / kind / f"{document['metadata']['name']}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))

    return put


@pytest.fixture
def kubectl(tmp_path: Path) -> Kubectl:
    return Kubectl(context="prod", binary=kubectl_program(tmp_path))


def config(**data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": "inferenceservice-config"}, "data": data}


def test_settings_describe_the_platform_and_nothing_else_is_known() -> None:
    assert configured(Lint()) == PlatformConfig()
    lint = Lint(
        default_deployment_mode="RawDeployment", ingress_domain="a.example", kfp_backend="2.5.0", runtimes=("own",)
    )
    assert configured(lint) == PlatformConfig(
        default_deployment_mode="RawDeployment", ingress_domain="a.example", kfp_backend="2.5.0", runtimes=("own",)
    )


@pytest.mark.processes
def test_a_cluster_is_asked_for_its_configuration_and_runtimes(store: Store, kubectl: Kubectl) -> None:
    found = config(deploy='{"defaultDeploymentMode": "RawDeployment"}', ingress='{"ingressDomain": "models.example"}')
    store("configmap", found)
    for kind, name in (("ClusterServingRuntime", "shared"), ("ServingRuntime", "own")):
        runtime = {"kind": kind, "metadata": {"name": name, "namespace": "team"}, "spec": {}}
        store(f"{kind.lower()}s.serving.kserve.io", runtime)
    platform = of_cluster(kubectl)
    assert (platform.default_deployment_mode, platform.ingress_domain) == ("RawDeployment", "models.example")
    assert platform.runtimes == ("shared", "own")
    assert platform.runtimes_are_known
    runtime_found = platform.find("ServingRuntime", "own", "team")
    assert runtime_found is not None
    assert str(runtime_found.at("spec")) == "context prod:1 ServingRuntime/own"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "the cluster of context prod has no ConfigMap inferenceservice-config"),
        ({"deploy": "{"}, "has no JSON object in 'deploy'"),
        ({"deploy": "[]"}, "has no JSON object in 'deploy'"),
    ],
)
def test_a_cluster_without_a_configuration_is_an_error(
    store: Store, kubectl: Kubectl, data: dict[str, str] | None, words: str
) -> None:
    store("configmap", config(**data) if data else {"metadata": {"name": "other"}})
    with pytest.raises(PlatformError, match=words):
        of_cluster(kubectl)


@pytest.mark.processes
def test_what_the_configuration_leaves_out_is_unknown(store: Store, kubectl: Kubectl) -> None:
    store("configmap", config(ingress="{}"))
    assert of_cluster(kubectl) == PlatformConfig(runtimes_are_known=True)
