"""Which serving runtime KServe selects for a model, and which runtimes of the platform's own it selects from."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from contract_examples.static import stack
from contract_examples.test_static_validation import laid

from trivet.contracts.rules.rule import Service
from trivet.contracts.rules.runtimes import Format, Runtime, applied, candidates, runtime_of, selected, shipped, wanted
from trivet.model.platform_config import PlatformConfig, indexed
from trivet.model.subjects import Manifest, Resource


def service(
    predictor: Any, under: str = "2024.11", *, namespace: str | None = "shop", beside: Any = (), runtimes: Any = ()
) -> Service:
    """A service with a change laid over its predictor, and what is applied with it."""
    document = yaml.safe_load(laid({"metadata": {"namespace": namespace}, "spec": {"predictor": predictor}}))
    resources = indexed(Resource(file="a.yaml", document=each, line=lambda keys: 1) for each in beside)
    platform = PlatformConfig(default_deployment_mode="Serverless", resources=resources, runtimes=runtimes)
    manifest = Manifest(file="a.yaml", document=document, line=lambda keys: 1)
    return Service(manifest=manifest, stack=stack(under), platform=platform)


def taken(one: Service) -> str | None:
    """The name of the runtime that KServe selects, if any."""
    asked = wanted(one)
    assert asked
    found = selected(one, asked, candidates(one)[0])
    return found.name if found else None


def model(name: str, version: str | None = None, protocol: str | None = None) -> dict[str, Any]:
    return {"model": {"modelFormat": {"name": name, "version": version}, "protocolVersion": protocol}}


def runtime(name: str = "own", kind: str = "ServingRuntime", namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


@pytest.mark.parametrize(
    ("under", "predictor", "name"),
    [
        ("2024.11", model("sklearn"), "kserve-sklearnserver"),
        ("2024.11", model("sklearn", protocol="v2"), "kserve-mlserver"),
        ("2024.11", model("sklearn", "1"), "kserve-sklearnserver"),
        ("2024.11", model("sklearn", "0"), None),
        ("2024.11", model("sklearn", "0", "v2"), "kserve-mlserver"),
        ("2024.11", model("sklearn", protocol="grpc-v2"), None),
        ("2024.11", model("xgboost", "2"), None),
        ("2024.11", model("lightgbm", "3"), "kserve-lgbserver"),
        ("2024.11", model("pytorch"), "kserve-torchserve"),
        ("2024.11", model("pytorch", protocol="grpc-v2"), "kserve-torchserve"),
        ("2024.11", model("tensorflow"), "kserve-tensorflow-serving"),
        ("2024.11", model("tensorflow", protocol="v2"), "kserve-tritonserver"),
        ("2024.11", model("triton"), "kserve-tritonserver"),
        ("2024.11", model("onnx"), None),
        ("2024.11", {"model": None, "onnx": {}}, "kserve-tritonserver"),
        ("2024.11", {"model": None, "huggingface": {}}, "kserve-huggingfaceserver"),
        ("2024.11", {"model": None, "triton": {}}, "kserve-tritonserver"),
        ("2024.11", {"model": None, "pmml": {"runtimeVersion": "a"}}, "kserve-pmmlserver"),
        ("2024.11", {**model("sklearn"), "workerSpec": {}}, "kserve-sklearnserver"),
        ("2024.11", model("onnx", protocol=""), "kserve-tritonserver"),
        ("2024.11", {"model": None, "onnx": {"protocolVersion": ""}}, "kserve-tritonserver"),
        ("2024.08", model("sklearn", "0", ""), "kserve-mlserver"),
        ("2024.11", model("vLLM"), None),
        ("2024.05", model("sklearn", "0", "v2"), "kserve-mlserver"),
        ("2024.05", model("mlflow", "2", "v2"), None),
        ("2024.08", model("mlflow", "1", "v2"), "kserve-mlserver"),
        ("2024.08", model("mlflow", "2", "v2"), None),
        ("2024.08-fixed", model("mlflow", "2", "v2"), "kserve-mlserver"),
        ("2024.08-fixed", model("lightgbm", "4", "v2"), "kserve-mlserver"),
        ("2024.08", model("huggingface"), "kserve-huggingfaceserver"),
        ("current", model("xgboost", "2"), "kserve-xgbserver"),
        ("current", model("vLLM"), "kserve-vllmserver"),
        ("current", model("vLLM", protocol="own"), "kserve-vllmserver"),
        ("current", model("huggingface"), "kserve-huggingfaceserver"),
        ("current", {**model("sklearn"), "workerSpec": {}}, None),
        ("current", {**model("huggingface"), "workerSpec": {}}, "kserve-huggingfaceserver-multinode"),
        ("current", {**model("huggingface", protocol="grpc-v2"), "workerSpec": {}}, None),
    ],
)
def test_the_runtime_that_kserve_selects(under: str, predictor: Any, name: str | None) -> None:
    assert taken(service(predictor, under)) == name


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"supportedModelFormats": [{"name": "own", "autoSelect": True}]}, "own"),
        ({"supportedModelFormats": [{"name": "own", "version": 5, "autoSelect": True}]}, "own"),
        ({"supportedModelFormats": [{"name": "own"}]}, None),
        ({"supportedModelFormats": [{"name": "other", "autoSelect": True}]}, None),
        ({"supportedModelFormats": [{"name": "own", "autoSelect": True}], "disabled": True}, None),
        ({"supportedModelFormats": [{"name": "own", "autoSelect": True}], "multiModel": True}, None),
        ({"supportedModelFormats": [{"name": "own", "autoSelect": True}], "workerSpec": {}}, "own"),
        ({"supportedModelFormats": [{"name": "own", "autoSelect": True}], "protocolVersions": ["v1"]}, "own"),
        ({"supportedModelFormats": [{"name": "own", "autoSelect": True}], "protocolVersions": ["v2"]}, None),
    ],
)
def test_a_runtime_of_the_platform_s_own_that_kserve_selects_or_not(spec: Any, name: str | None) -> None:
    assert taken(service(model("own"), beside=[runtime(**spec)])) == name


@pytest.mark.parametrize(
    ("kind", "namespace", "of_service", "names"),
    [
        ("ServingRuntime", "shop", "shop", ["own"]),
        ("ServingRuntime", "", "shop", ["own"]),
        ("ServingRuntime", "other", "shop", []),
        ("ServingRuntime", "other", None, ["own"]),
        ("ClusterServingRuntime", "other", "shop", ["own"]),
        ("ConfigMap", "shop", "shop", []),
    ],
)
def test_a_runtime_serves_its_namespace_and_that_of_a_cluster_all(
    kind: str, namespace: str, of_service: str | None, names: list[str]
) -> None:
    found = applied(service({}, namespace=of_service, beside=[runtime("own", kind, namespace)]))
    assert [one.name for one in found] == names


def test_what_is_read_of_a_runtime() -> None:
    spec: dict[str, Any] = {
        "supportedModelFormats": [{"name": "a", "version": 1, "autoSelect": True}, {"name": "b", "autoSelect": "yes"}],
        "protocolVersions": ["v2", "grpc-v2"],
        "containers": [
            {"name": "other", "livenessProbe": {"a": "b"}, "resources": {"limits": {"cpu": 9}}},
            {
                "name": "kserve-container",
                "startupProbe": {"a": "b"},
                "resources": {"limits": {"cpu": 1}},
                "securityContext": {"runAsUser": 0},
            },
        ],
        "multiModel": True,
        "disabled": True,
        "workerSpec": {},
    }
    (found,) = applied(service({}, beside=[runtime(**spec)]))
    assert found == Runtime(
        "own",
        ("v2", "grpc-v2"),
        (Format("a", "1", True), Format("b", None, False)),
        multi_node=True,
        multi_model=True,
        disabled=True,
        resources={"requests": {}, "limits": {"cpu": 1}},
        probes=("startupProbe",),
        security={"runAsUser": 0},
    )
    (bare,) = applied(service({}, beside=[runtime()]))
    assert bare == Runtime("own", resources={"requests": {}, "limits": {}})


def test_runtimes_of_the_platform_go_before_those_of_the_release_and_replace_them() -> None:
    own = [runtime("kserve-sklearnserver", supportedModelFormats=[]), runtime("own")]
    found, complete = candidates(service({}, beside=own))
    names = [one.name for one in found]
    assert names[:2] == ["kserve-sklearnserver", "own"]
    assert names.count("kserve-sklearnserver") == 1
    assert "kserve-mlserver" in names
    assert complete


def test_runtimes_of_which_only_the_name_is_known_leave_the_selection_open() -> None:
    named = service(model("own"), beside=[runtime("own")], runtimes=("own", "other"))
    found, complete = candidates(named)
    assert [one.name for one in found].count("own") == 1
    assert "other" not in [one.name for one in found]
    assert not complete
    assert candidates(service(model("own"), beside=[runtime("own")], runtimes=("own",)))[1]


def test_the_runtime_of_a_model_s_container_is_the_named_or_the_selected_one() -> None:
    def of(predictor: Any, **options: Any) -> str | None:
        one = service(predictor, **options)
        found = runtime_of(one, one.pods[0].containers[0])
        return found.name if found else None

    assert of({}) == "kserve-sklearnserver"
    assert of({"model": {"runtime": "kserve-mlserver"}}) == "kserve-mlserver"
    assert of({"model": {"runtime": "own"}}) is None
    assert of({"model": {"runtime": ""}}) is None
    assert of({}, runtimes=("own",)) is None
    assert of({"model": {"runtime": "kserve-mlserver"}}, runtimes=("own",)) == "kserve-mlserver"
    assert of({"model": {"runtime": "kserve-mlserver"}}, runtimes=("kserve-mlserver",)) is None
    applied_too = {"beside": [runtime("kserve-mlserver")], "runtimes": ("kserve-mlserver",)}
    assert of({"model": {"runtime": "kserve-mlserver"}}, **applied_too) == "kserve-mlserver"
    assert of({"model": None, "containers": [{"name": "a"}]}) is None


CLOSED = {"allowPrivilegeEscalation": False}


@pytest.mark.parametrize(
    ("under", "name", "security"),
    [
        ("2024.08", "kserve-sklearnserver", {}),
        ("2024.08-fixed", "kserve-sklearnserver", {}),
        ("2024.08-fixed", "kserve-mlserver", {**CLOSED, "runAsNonRoot": True}),
        ("2024.11", "kserve-sklearnserver", {**CLOSED, "runAsNonRoot": True}),
        ("2024.11", "kserve-torchserve", {**CLOSED, "runAsNonRoot": True, "runAsUser": 1000}),
        ("current", "kserve-autogluonserver", {**CLOSED, "runAsNonRoot": True}),
        ("current", "kserve-huggingfaceserver-multinode", {}),
        ("current", "kserve-vllmserver", CLOSED),
    ],
)
def test_the_users_and_privileges_that_the_runtimes_of_a_release_state(under: str, name: str, security: Any) -> None:
    found = shipped(service({}, under))
    assert found is not None
    assert found[name].security == security
