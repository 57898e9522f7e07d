"""The fields of KServe's API in each shipped stack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trivet.errors import UsageError
from trivet.stacks.kserve_api import ROOT, load_api
from trivet.stacks.read import load_stack, shipped_stacks
from trivet.stacks.sdk_fields import normalised_type


def test_the_fields_come_from_the_sdk_that_the_stack_is_locked_to() -> None:
    for name in shipped_stacks():
        stack = load_stack(name)
        pins = stack.roles["sdk"].pins
        assert load_api(stack.kserve_api).source == {package: pins[package] for package in ("kserve", "kubernetes")}


@pytest.mark.parametrize("name", shipped_stacks())
def test_the_predictor_holds_kserves_own_fields_and_the_pods(name: str) -> None:
    api = load_api(load_stack(name).kserve_api)
    root = api.fields(ROOT)
    assert root is not None
    assert root["metadata"] == "V1ObjectMeta"
    spec = api.fields(root["spec"])
    assert spec is not None
    predictor = api.fields(spec["predictor"])
    assert predictor is not None
    assert predictor["canaryTrafficPercent"] == "int"
    assert predictor["model"] == "V1beta1ModelSpec"
    assert predictor["containers"] == "list[V1Container]"
    assert predictor["deploymentStrategy"] == "V1DeploymentStrategy"
    assert predictor["annotations"] == "dict(str, str)"
    assert predictor["workerSpec"] == "V1beta1WorkerSpec"
    assert "containerSpec" not in predictor
    model = api.fields("V1beta1ModelSpec")
    assert model is not None
    assert model["readinessProbe"] == "V1Probe"
    for needed in ("V1Probe", "V1Container", "V1ResourceRequirements", "V1ObjectMeta", "V1DeploymentStrategy"):
        assert api.fields(needed)


def test_newer_fields_are_known_in_the_newer_stack_only() -> None:
    old, new = (load_api(load_stack(name).kserve_api).fields("V1beta1PredictorSpec") for name in ("2024.11", "current"))
    assert old is not None
    assert new is not None
    assert "autoScaling" in new
    assert "autoScaling" not in old


def test_a_type_without_known_fields_has_none() -> None:
    assert load_api(load_stack("current").kserve_api).fields("ResourceQuantity") is None


@pytest.mark.parametrize(
    ("declared", "described"),
    [
        ("str", "str"),
        ("List[V1EnvVar]", "list[V1EnvVar]"),
        ("Dict[str, str]", "dict(str, str)"),
        ("dict(str, list[str])", "dict(str, list[str])"),
        ("Dict[str, List[str]]", "dict(str, list[str])"),
        ("List[Dict[str, str]]", "list[dict(str, str)]"),
        ("K8sIoApiAppsV1DeploymentStrategy", "V1DeploymentStrategy"),
        ("K8sIoApiAutoscalingV2HorizontalPodAutoscalerBehavior", "V2HorizontalPodAutoscalerBehavior"),
    ],
)
def test_type_strings_of_all_sdks_are_written_in_one_way(declared: str, described: str) -> None:
    assert normalised_type(declared) == described


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", json.dumps({"source": {}, "types": {}}), '{"source": {}, "types": 3}']
)
def test_an_invalid_api_file_is_an_error_with_the_command(tmp_path: Path, content: str) -> None:
    file = tmp_path / "kserve_api.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=f"trivet stack lock {tmp_path}"):
        load_api(file)
