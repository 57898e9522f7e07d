"""What the steps of the KFP components do with what KFP passes: the same as the commands, with clear errors. The platform is a stand-in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fakes.canary import ScriptedMetrics
from fakes.kserve_controller import KserveController
from fakes.kubernetes_api import StoredObjects
from fakes.registered_versions import RegisteredVersions

from trivet.errors import UsageError
from trivet.integration import kubernetes_api
from trivet.integration.inference_service import MODEL_VERSION
from trivet.integration.kubernetes_api import INFERENCE_SERVICES
from trivet.model.operation import Decision, OperationReport
from trivet.operations import canary_metrics, deploying, steps
from trivet.operations.training import TrainingResult, arguments_of, train_and_register, training_function
from trivet.render import operation_json

NOT_A_FUNCTION = 3


def train(dataset: str, depth: int = 3) -> None:
    """A training function's signature."""


def forest(
    dataset: str, features: float = 1.0, *, rate: float | None = None, either: int | float = 2, **more: Any
) -> None:
    """Parameters of scikit-learn's, where 1.0 is all and 1 is one."""


class Registry(RegisteredVersions):
    """The models' names too, and a metric of each run: f1 of version 1 is 0.9, that of version 2 is not a number."""

    def get_model_version(self, name: str, version: str) -> dict[str, Any]:
        return {"name": "rec", **super().get_model_version(name, version)}

    def get_model_version_by_alias(self, name: str, alias: str) -> dict[str, Any]:
        return self.get_model_version(name, self.aliases[alias])

    def metrics(self, run_id: str) -> dict[str, float]:
        return {"f1": {"run1": 0.9, "run2": float("nan")}[run_id]}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    found = Registry(2)
    found.aliases["production"] = "1"
    monkeypatch.setattr(steps, "_tracking", lambda server, artifact_root="": found)
    monkeypatch.setattr(deploying, "resolve_storage_uri", lambda model, tracking: f"s3://models/{model[-1]}/")
    return found


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> StoredObjects:
    found = StoredObjects()
    KserveController(found)
    monkeypatch.setattr(kubernetes_api, "connect", lambda: found)
    return found


def deploy(version: int, report: Path, *, dry_run: bool = False) -> dict[str, Any]:
    written = steps.deploy(
        f"models:/rec/{version}",
        "rec",
        mlflow="",
        namespace="ml",
        pipeline="p",
        artifact_root="",
        canary_percent=20,
        mode="Serverless",
        min_replicas=1,
        cpu_target=0,
        service_account="",
        dry_run=dry_run,
        report=str(report),
    )
    service: dict[str, Any] = json.loads(written)
    return service


def gate(model: str, report: Path) -> str:
    return steps.gate(
        model, mlflow="", metric="f1", minimum=0.8, tolerance=0.02, production_alias="production", report=str(report)
    )


def read(file: Path) -> dict[str, Any]:
    """A report, which must be as its schema says."""
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(operation_json.schema()).validate(report)
    return report


def test_a_report_has_what_the_commands_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = OperationReport(
        command="trivet gate", decision=Decision.FAILED, reason="ü", evidence={"f1": float("nan"), "traffic": {"a": 20}}
    )
    assert steps._finish(report, str(tmp_path / "report")) == "FAILED"
    assert read(tmp_path / "report") == json.loads(operation_json.write(report))
    assert capsys.readouterr().out == "FAILED: ü\n"


@pytest.mark.parametrize(("version", "decision"), [("1", "PASSED"), ("2", "FAILED")])
def test_the_gate_returns_its_decision(registry: Registry, tmp_path: Path, version: str, decision: str) -> None:
    assert gate(f"models:/rec/{version}", tmp_path / "report") == decision
    assert read(tmp_path / "report")["decision"] == decision


def test_a_deployment_is_applied_and_then_judged(
    registry: Registry, cluster: StoredObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in (1, 2):
        asked = deploy(version, tmp_path / "deployed")
        stored = cluster.get(INFERENCE_SERVICES, "ml", "rec")
        assert stored is not None
        assert asked["metadata"]["labels"][MODEL_VERSION] == stored["metadata"]["labels"][MODEL_VERSION] == str(version)
        assert read(tmp_path / "deployed")["decision"] == "DEPLOYED"
    assert registry.aliases == {"production": "1", "canary": "2"}

    hours = iter(range(1000))
    metrics = ScriptedMetrics(lambda: 1_800_000_000.0 + 3600 * next(hours), errors=30)
    monkeypatch.setattr(canary_metrics, "PrometheusMetrics", lambda **settings: metrics)
    decision = steps.judge(
        "rec",
        prometheus="http://127.0.0.1:9",
        mlflow="",
        namespace="ml",
        interval=60.0,
        patience=600.0,
        report=str(tmp_path / "judged"),
    )
    assert (decision, read(tmp_path / "judged")["acted"]) == ("ROLL_BACK", True)
    assert registry.aliases["production"] == "1"


def test_a_dry_run_is_the_service_alone(registry: Registry, cluster: StoredObjects, tmp_path: Path) -> None:
    planned = deploy(2, tmp_path / "report", dry_run=True)
    assert planned["spec"]["predictor"]["model"]["storageUri"] == "s3://models/2/"
    assert (tmp_path / "report").read_text(encoding="utf-8") == ""
    assert cluster.get(INFERENCE_SERVICES, "ml", "rec") is None
    assert (registry.aliases, registry.tags["2"]) == ({"production": "1"}, {})


def test_a_step_without_a_tracking_server_names_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UsageError, match="the step has no tracking server") as failure:
        gate("models:/rec/1", tmp_path / "report")
    assert "MLFLOW_TRACKING_URI" in failure.value.remedy


def test_the_variable_of_the_platform_names_the_tracking_server_and_an_argument_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://platform:5000")
    assert steps._tracking("").uri == "http://platform:5000"
    assert steps._tracking("http://other:5000").uri == "http://other:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(UsageError):
        steps._tracking("")


@pytest.mark.parametrize(
    ("function", "parameters", "words"),
    [
        ("acme.training", {}, "write MODULE:FUNCTION"),
        (":train", {}, "write MODULE:FUNCTION"),
        ("acme_nowhere.training:train", {}, "is not installed: No module named 'acme_nowhere'"),
        (f"{__name__}:trian", {}, f"did you mean '{__name__}:train'?"),
        (f"{__name__}:NOT_A_FUNCTION", {}, "unknown training function"),
        (f"{__name__}:train", {"dept": 3}, "got an unexpected keyword argument 'dept'"),
        (f"{__name__}:train", {"dataset": "x"}, "multiple values for argument 'dataset'"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused(function: str, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as failure:
        training_function(function, parameters)
    assert words in str(failure.value)


def test_a_module_that_lacks_what_it_imports_says_so_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme_broken.py").write_text("import acme_missing\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="acme_missing"):
        training_function("acme_broken:train", {})


def test_a_function_that_takes_the_parameters_is_found() -> None:
    found: object = training_function(f"{__name__}:train", {"depth": 5})
    assert found is train


def test_numbers_are_of_the_kind_that_the_function_asks_for() -> None:
    given = arguments_of(
        forest, {"features": 1, "rate": 2, "either": 3.0, "depths": [1.0, {"a": 2.0, "b": 0.5}], "full": True}
    )
    assert repr(given) == repr(
        {"features": 1.0, "rate": 2.0, "either": 3, "depths": [1, {"a": 2, "b": 0.5}], "full": True}
    )


@pytest.mark.parametrize("name", ["", "a/b", "rec@1"])
def test_a_name_that_no_uri_can_have_is_refused_before_the_training(name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a registered model"):
        train_and_register(
            f"{__name__}:train",
            "d",
            tracking=RegisteredVersions(1),
            experiment="e",
            registered_name=name,
            parameters={},
        )


@pytest.mark.parametrize(
    ("flavor", "packages", "said"),
    [("pyfunc", ["mlflow"], "takes no trained model"), ("xgboost", [], "'xgboost' needs packages, and none are named")],
)
def test_a_result_that_could_not_be_loaded_is_refused_where_it_is_made(
    flavor: str, packages: list[str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        TrainingResult(model=0, inputs=[], outputs=[], metrics={}, flavor=flavor, packages=packages)
