"""What the steps of the KFP components do with what KFP passes: the same as the commands, with clear errors. The platform is a stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import jsonschema
import pytest
from fakes.canary import ScriptedMetrics
from fakes.kserve_controller import KserveController
from fakes.kubernetes_api import StoredObjects
from fakes.registered_versions import RegisteredVersions

from trivet.errors import PlatformError, UsageError
from trivet.integration import kubernetes_api
from trivet.integration.inference_service import MODEL_VERSION
from trivet.integration.kubernetes_api import INFERENCE_SERVICES
from trivet.model.operation import Decision, OperationReport
from trivet.operations import canary_metrics, deploying, report_json, steps, training
from trivet.operations.arguments import arguments_of
from trivet.operations.training import TrainingResult, train_and_register, training_function
from trivet.render import operation_json

if TYPE_CHECKING:
    from decimal import Decimal

NOT_A_FUNCTION = 3


def train(dataset: str, depth: int = 3) -> None:
    """A training function's signature."""


def asks(
    dataset: str,
    whole: int,
    part: float,
    maybe: int | None = None,
    rate: Optional[float] = None,  # noqa: UP045
    either: int | float = 2,
    union: Union[int, float, None] = None,  # noqa: UP007
    free: Any = None,
    number: Decimal = 1,  # type: ignore[assignment]
    exact: Decimal | None = None,
    sizes: list[int] | None = None,
    shares: list[float] = [],  # noqa: B006
    pair: tuple[int, float] = (1, 1.0),
    layers: tuple[int, ...] = (),
    weights: dict[str, float] = {},  # noqa: B006
    nested: dict[str, list[int]] = {},  # noqa: B006
    full: bool = False,
    **more: Any,
) -> None:
    """Parameters whose kind the signature says, and others."""


def unannotated(dataset, depth=3, rate=0.5, verbose=False, sizes=(10,), seed=None, **more):  # type: ignore[no-untyped-def]
    """Parameters whose kind is that of their default."""


def forest(dataset: str, **parameters: float) -> None:
    """Parameters of one kind."""


class Trainer:
    """A training function that is an object."""

    def __call__(self, dataset: str, depth: int = 3, rate: float = 0.5) -> None:
        """Train."""


def logged(function: Callable[..., None]) -> Callable[..., None]:
    @wraps(function)
    def called(*arguments: Any, **named: Any) -> None:
        function(*arguments, **named)

    return called


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


def deploy(
    version: int, report: Path, *, dry_run: bool = False, production: str = "production", canary: str = "canary"
) -> dict[str, Any]:
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
        production_alias=production,
        canary_alias=canary,
        dry_run=dry_run,
        report=str(report),
    )
    service: dict[str, Any] = json.loads(written)
    return service


def judge(
    monkeypatch: pytest.MonkeyPatch,
    report: Path,
    *,
    errors: int,
    production: str = "production",
    canary: str = "canary",
) -> str:
    """The decision about a canary of whose requests ``errors`` of 100 fail, by a clock that never waits."""
    hours = iter(range(1000))
    metrics = ScriptedMetrics(lambda: 1_800_000_000.0 + 3600 * next(hours), errors=errors)
    monkeypatch.setattr(canary_metrics, "PrometheusMetrics", lambda **settings: metrics)
    return steps.judge(
        "rec",
        prometheus="http://127.0.0.1:9",
        mlflow="",
        namespace="ml",
        production_alias=production,
        canary_alias=canary,
        interval=60.0,
        patience=600.0,
        report=str(report),
    )


def gate(model: str, report: Path) -> str:
    return steps.gate(
        model, mlflow="", metric="f1", minimum=0.8, tolerance=0.02, production_alias="production", report=str(report)
    )


def register(registered_name: str = "rec", parameters: dict[str, Any] | None = None) -> None:
    train_and_register(
        f"{__name__}:train",
        "d",
        tracking=RegisteredVersions(1),
        experiment="e",
        registered_name=registered_name,
        parameters=parameters or {},
    )


def read(file: Path) -> dict[str, Any]:
    """A report, which must be as its schema says."""
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(operation_json.schema()).validate(report)
    return report


def test_a_report_has_what_the_commands_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evidence = {"f1": float("nan"), "gaps": (1.5, float("inf")), "traffic": {"a": 20}}
    report = OperationReport(command="trivet gate", decision=Decision.FAILED, reason="ü", evidence=evidence)
    assert steps._finish(report, str(tmp_path / "report")) == "FAILED"
    assert (tmp_path / "report").read_text(encoding="utf-8") == report_json.write(report)
    written = read(tmp_path / "report")
    assert list(written)[:5] == ["apiVersion", "kind", "exitCode", "command", "decision"]
    assert (written["exitCode"], written["reason"]) == (1, "ü")
    assert written["evidence"] == {"f1": None, "gaps": [1.5, None], "traffic": {"a": 20}}
    assert capsys.readouterr().out == "FAILED: ü\n"


def test_a_report_with_text_that_is_no_utf8_can_be_written() -> None:
    report = OperationReport(command="trivet gate", decision=Decision.FAILED, reason="b\udcff")
    assert json.loads(report_json.write(report).encode())["reason"] == "b?"


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

    decision = judge(monkeypatch, tmp_path / "judged", errors=30)
    assert (decision, read(tmp_path / "judged")["acted"]) == ("ROLL_BACK", True)
    assert registry.aliases["production"] == "1"


def test_the_aliases_of_a_deployment_and_of_its_judge_have_the_names_that_are_given(
    registry: Registry, cluster: StoredObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.aliases.clear()
    for version in (1, 2):
        deploy(version, tmp_path / "report", production="champion", canary="challenger")
    assert registry.aliases == {"champion": "1", "challenger": "2"}

    decision = judge(monkeypatch, tmp_path / "judged", errors=0, production="champion", canary="challenger")
    assert decision == "PROMOTE"
    assert registry.aliases == {"champion": "2"}


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


@pytest.mark.parametrize(
    ("function", "name", "passed", "given"),
    [
        (asks, "whole", 20.0, 20),
        (asks, "whole", 20, 20),
        (asks, "whole", "20", "20"),
        (asks, "part", 1, 1.0),
        (asks, "maybe", 20.0, 20),
        (asks, "maybe", None, None),
        (asks, "rate", 2, 2.0),
        (asks, "either", 1.0, 1.0),
        (asks, "either", 1, 1),
        (asks, "union", 1.0, 1.0),
        (asks, "free", 1.0, 1.0),
        (asks, "number", 1.0, 1),
        (asks, "exact", 1.0, 1.0),
        (asks, "sizes", [100.0, 50], [100, 50]),
        (asks, "shares", [1, 0.5], [1.0, 0.5]),
        (asks, "pair", [1.0, 1], [1, 1.0]),
        (asks, "pair", [1.0], [1.0]),
        (asks, "layers", [1.0, 2.0], [1, 2]),
        (asks, "weights", {"a": 1, "b": None}, {"a": 1.0, "b": None}),
        (asks, "nested", {"a": [1.0]}, {"a": [1]}),
        (asks, "full", True, True),
        (asks, "depth", 1.0, 1.0),
        (asks, "depths", [1.0, {"a": 2.0}], [1.0, {"a": 2.0}]),
        (unannotated, "depth", 4.0, 4),
        (unannotated, "rate", 1, 1.0),
        (unannotated, "verbose", 1.0, 1.0),
        (unannotated, "sizes", [1.0], [1.0]),
        (unannotated, "seed", 1.0, 1.0),
        (unannotated, "features", 1.0, 1.0),
        (forest, "rate", 1, 1.0),
        (Trainer(), "depth", 4.0, 4),
        (Trainer(), "rate", 1, 1.0),
        (partial(asks, part=0.5), "whole", 4.0, 4),
        (logged(asks), "whole", 4.0, 4),
        (logged(asks), "exact", 1.0, 1.0),
    ],
)
def test_a_number_becomes_what_the_signature_says_and_is_otherwise_what_kfp_passes(
    function: Callable[..., None], name: str, passed: Any, given: Any
) -> None:
    assert repr(arguments_of(function, {name: passed})) == repr({name: given})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("whole", 2.5, "the parameter whole is 2.5, and the training function takes an int"),
        ("whole", float("inf"), "the parameter whole is inf, "),
        ("maybe", 2.5, "the parameter maybe is 2.5, "),
        ("sizes", [1, 2.5], "the parameter sizes[1] is 2.5, "),
        ("nested", {"a": [0.5]}, "the parameter nested['a'][0] is 0.5, "),
    ],
)
def test_a_part_of_a_number_is_no_int(name: str, value: Any, said: str) -> None:
    with pytest.raises(UsageError) as failure:
        arguments_of(asks, {name: value})
    assert failure.value.message.startswith(said)
    assert failure.value.remedy == "pass a whole number, or annotate it as a float in the function"


def test_a_training_is_refused_before_it_starts_without_mlflow() -> None:
    with pytest.raises(UsageError, match=r"MLflow cannot log a model .*: No module named 'mlflow'") as failure:
        register()
    assert "pip install mlflow" in failure.value.remedy


def test_a_number_of_another_kind_is_refused_before_the_training() -> None:
    with pytest.raises(UsageError, match=r"the parameter depth is 2\.5, and the training function takes an int"):
        register(parameters={"depth": 2.5})


@pytest.mark.parametrize("name", ["", "a/b", "rec@1"])
def test_a_name_that_no_uri_can_have_is_refused_before_the_training(name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a registered model"):
        register(registered_name=name)


def test_a_run_whose_version_the_registry_does_not_have_is_named() -> None:
    assert training._version(Registry(3), "rec", "run3") == 3
    with pytest.raises(PlatformError, match="run run3 has no version of 'other' in the registry"):
        training._version(Registry(3), "other", "run3")


@pytest.mark.parametrize(
    ("flavor", "packages", "said"),
    [("pyfunc", ["mlflow"], "takes no trained model"), ("xgboost", [], "'xgboost' needs packages, and none are named")],
)
def test_a_result_that_could_not_be_loaded_is_refused_where_it_is_made(
    flavor: str, packages: list[str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        TrainingResult(model=0, inputs=[], outputs=[], metrics={}, flavor=flavor, packages=packages)


SOUND = TrainingResult(model=0, inputs=[[1.0]], outputs=[0], metrics={"f1": 1})


@pytest.mark.parametrize(
    ("inputs", "kind"), [({"age": [1]}, "dict"), ({1.0}, "set"), (iter([1]), "list_iterator"), (None, "NoneType")]
)
def test_inputs_without_rows_are_refused_where_the_result_is_made(inputs: Any, kind: str) -> None:
    with pytest.raises(UsageError, match=f"the inputs .* have no first rows: they are of the type {kind}"):
        replace(SOUND, inputs=inputs)


@pytest.mark.parametrize("value", ["0.9", None, [0.9, 0.8], 1j])
def test_a_metric_that_is_no_number_is_refused_where_the_result_is_made(value: Any) -> None:
    with pytest.raises(UsageError) as failure:
        replace(SOUND, metrics={"accuracy": 1.0, "f1": value})
    kind = type(value).__name__
    assert failure.value.message == f"the metric 'f1' of the TrainingResult is {value!r}, of the type {kind}"


def test_a_metric_without_a_name_is_refused() -> None:
    with pytest.raises(UsageError, match="the metric 1 of the TrainingResult"):
        replace(SOUND, metrics={1: 0.9})  # type: ignore[dict-item]
