"""The KFP components of trivet's operations: compiled by the KFP SDK of each shipped stack and judged by trivet's own contracts, and run
by the SDK's local runner against real tracking servers of MLflow 2 and 3."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
import yaml
from click.testing import CliRunner
from components_code import stage_components
from integration_servers import tracking_server

from trivet.cli import main
from trivet.integration import TrackingApi
from trivet.integration.inference_service import MODEL_VERSION, RUN_ID
from trivet.model.stack import Stack
from trivet.render import operation_json
from trivet.stacks.environments import build_environment
from trivet.stacks.read import load_stack, shipped_stacks

pytestmark = pytest.mark.processes
PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
IMAGE = "registry.example/ml/python-trivet:1"
METRIC = "f1_weighted_mean"

RUN = """
import json, pathlib, sys

from trivet.fixtures.jobs.pipeline import run

done = run(json.loads(sys.argv[1]), sys.argv[2], {}, sys.argv[3])
pathlib.Path(sys.argv[2], "done.json").write_text(json.dumps(done))
"""

COMPILE = """
import sys

from kfp import compiler

import training_pipeline

compiler.Compiler().compile(training_pipeline.pipeline, sys.argv[1])
compiler.Compiler().compile(training_pipeline.canary, sys.argv[2])
"""

REGISTER = """
import json, sys

import acme_training
from trivet.errors import TrivetError
from trivet.integration import TrackingApi
from trivet.operations.training import train_and_register

answers = {}
for name, case in json.loads(sys.argv[2]).items():
    asked = {"function": f"acme_training:{name}", "dataset": "", "registered_name": name, "experiment": "acme", "parameters": {}}
    try:
        answers[name] = train_and_register(**{**asked, **case}, tracking=TrackingApi(sys.argv[1])).model
    except Exception as error:
        answers[name] = f"{type(error).__name__}: {error}"
print(json.dumps(answers))
"""


def in_sdk(stack: Stack, folder: Path, program: str, *arguments: str, **environment: str) -> str:
    """What ``program`` prints in the trainer's environment, with trivet, the sample pipeline and its training function installed."""
    code = folder / "python"
    if not code.exists():
        stage_components(code)
    python = build_environment(stack.roles["trainer"]).python
    done = subprocess.run(
        [python, "-c", program, *arguments],
        cwd=folder,
        env={
            "PYTHONPATH": str(code),
            "PATH": f"{python.parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "IMAGE": IMAGE,
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.fixture(scope="module", params=[name for name in shipped_stacks() if load_stack(name).platform])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Path]]:
    """The name of a stack, and the pipelines of the sample as its SDK compiles them: of training, and of a canary that is judged."""
    folder = tmp_path_factory.mktemp("compiled")
    files = [folder / "pipeline.yaml", folder / "canary.yaml"]
    in_sdk(load_stack(request.param), folder, COMPILE, *map(str, files))
    return request.param, files


def test_each_sdk_compiles_them_and_lint_has_no_objection(compiled: tuple[str, list[Path]]) -> None:
    stack, files = compiled
    done = CliRunner().invoke(main, ["lint", "--stack", stack, *map(str, files)], catch_exceptions=False)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(("index", "steps"), [(0, ("train", "gate", "deploy")), (1, ("deploy", "judge"))])
def test_a_step_runs_in_the_image_installs_nothing_and_imports_trivet_there(
    compiled: tuple[str, list[Path]], index: int, steps: tuple[str, ...]
) -> None:
    spec = _spec(compiled[1][index])
    containers = {name: one["container"] for name, one in spec["deploymentSpec"]["executors"].items()}
    assert set(containers) - {"exec-prepare"} == {f"exec-trivet-{name}" for name in steps}
    for name in steps:
        container = containers[f"exec-trivet-{name}"]
        words = "\n".join([*container["command"], *container["args"]])
        assert container["image"] == IMAGE
        assert "kfp.dsl.executor_main" in words
        assert "pip install" not in words
        assert "trivet.operations.steps" in words
    tasks = [task for one in _dags(spec) for name, task in one.items() if name.startswith("trivet-")]
    assert [task["cachingOptions"] for task in tasks] == [{}] * len(steps)


def test_the_components_have_the_outputs_and_aliases_that_are_documented(compiled: tuple[str, list[Path]]) -> None:
    training, canary = map(_spec, compiled[1])
    components = {**training["components"], **canary["components"]}
    outputs = {name: one.get("outputDefinitions", {}) for name, one in components.items()}
    assert set(outputs["comp-trivet-train"]["parameters"]) == {"model", "run_id"}
    assert set(outputs["comp-trivet-train"]["artifacts"]) == {"trained_model", "metrics"}
    for name in ("gate", "deploy", "judge"):
        assert set(outputs[f"comp-trivet-{name}"]["parameters"]) == {"Output", "report"}
        asked = components[f"comp-trivet-{name}"]["inputDefinitions"]["parameters"]
        assert asked["production_alias"]["defaultValue"] == "production"
    for task in ("trivet-deploy", "trivet-judge"):
        given = canary["root"]["dag"]["tasks"][task]["inputs"]["parameters"]
        assert given["production_alias"]["runtimeValue"]["constant"] == "champion"
        assert given["canary_alias"]["runtimeValue"]["constant"] == "challenger"


def _spec(file: Path) -> dict[str, Any]:
    spec: dict[str, Any] = next(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    return spec


def _dags(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tasks of the pipeline, and those of each of its conditions."""
    return [one["dag"]["tasks"] for one in (spec["root"], *spec["components"].values()) if "dag" in one]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a run left behind; ``root`` is the folder with the outputs of its tasks."""

    root: Path
    log: str
    succeeded: bool
    error: str
    refused: str
    outputs: Mapping[str, Mapping[str, Any]]

    def report(self, task: str) -> dict[str, Any]:
        (file,) = self.root.glob(f"*/{task}/report")
        report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return report


@dataclass(frozen=True)
class Platform:
    """A stack, its tracking server, and a folder for its pipelines."""

    stack: Stack
    tracking: TrackingApi
    folder: Path
    experiment: str

    def run(self, name: str, *, environment: Mapping[str, str] | None = None, **arguments: Any) -> Ran:
        """A run of the sample pipeline by the SDK's local runner, which registers its model as ``name``."""
        root = self.folder / name
        root.mkdir()
        given = json.dumps({"registered_name": name, **arguments})
        file = self.folder / "python" / "training_pipeline.py"
        variables = {"MLFLOW_TRACKING_URI": self.tracking.uri, **(environment or {})}
        log = in_sdk(self.stack, self.folder, RUN, given, str(root), str(file), **variables)
        return Ran(root=root, log=log, **json.loads((root / "done.json").read_text(encoding="utf-8")))

    def version(self, name: str) -> Mapping[str, Any]:
        (version,) = self.tracking.search_model_versions(f"name = '{name}'")
        return version

    def runs(self) -> dict[str, str]:
        """The runs of the pipelines' experiment, each with its status."""
        return {one["info"]["run_id"]: one["info"]["status"] for one in self.tracking.search_runs(self.experiment)}

    def register(self, **cases: Mapping[str, Any]) -> dict[str, str]:
        """What comes of training by functions of acme_training, each with the arguments of its own, and of registering what they return."""
        log = in_sdk(self.stack, self.folder, REGISTER, self.tracking.uri, json.dumps(cases))
        answers: dict[str, str] = json.loads(log.splitlines()[-1])
        return answers

    def post(self, endpoint: str, **body: Any) -> Any:
        """What MLflow makes."""
        answer = requests.post(f"{self.tracking.uri}/api/2.0/mlflow/{endpoint}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture(scope="module", params=["2024.11-fixed", "current"])
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    stack, folder = load_stack(request.param), tmp_path_factory.mktemp("local")
    store = folder / "store"
    options = ("--no-serve-artifacts", "--default-artifact-root", store.as_uri())
    with tracking_server(stack, folder / "server", *options) as uri:
        found = Platform(stack=stack, tracking=TrackingApi(uri), folder=folder, experiment="")
        yield replace(found, experiment=found.post("experiments/create", name="acme")["experiment_id"])


def test_a_version_that_passes_the_gate_is_planned_by_the_local_runner(platform: Platform) -> None:
    run = platform.run("good", parameters={"n_estimators": 10, "learning_rate": 0.5})
    assert run.succeeded, run.log[-3000:]
    trained = run.outputs["trivet-train"]
    version = platform.version("good")
    assert trained["model"] == f"models:/good/{version['version']}"
    assert trained["run_id"] == version["run_id"] == trained["trained_model"]["metadata"]["mlflow_run_id"]

    recorded = platform.tracking.get_run(version["run_id"])
    assert recorded["info"]["status"] == "FINISHED"
    parameters = {one["key"]: one["value"] for one in recorded["data"]["params"]}
    assert parameters == {"n_estimators": "10", "learning_rate": "0.5"}
    assert {"key": "pipeline", "value": "acme-training"} in recorded["data"]["tags"]

    assert run.outputs["trivet-gate"]["Output"] == "PASSED"
    report = run.report("trivet-gate")
    jsonschema.validate(report, operation_json.schema())
    assert report["evidence"]["candidate"] == platform.tracking.metrics(version["run_id"])[METRIC]

    service = json.loads(run.outputs["trivet-deploy"]["Output"])
    labels = service["metadata"]["labels"]
    assert (labels[MODEL_VERSION], labels[RUN_ID]) == (version["version"], version["run_id"])
    uri = service["spec"]["predictor"]["model"]["storageUri"]
    assert (Path(uri.removeprefix("file://")) / "MLmodel").is_file()


def test_a_version_below_the_gate_is_not_deployed(platform: Platform) -> None:
    run = platform.run("bad", parameters={"n_estimators": 1}, minimum=1.01)
    assert run.succeeded, run.log[-3000:]
    assert run.outputs["trivet-gate"]["Output"] == "FAILED"
    assert "trivet-deploy" not in run.outputs
    assert "is below the minimum 1.01" in run.report("trivet-gate")["reason"]
    assert platform.version("bad")["run_id"] == run.outputs["trivet-train"]["run_id"]


def test_a_parameter_that_the_function_does_not_take_fails_the_step_before_a_run_is_made(platform: Platform) -> None:
    before = platform.runs()
    run = platform.run("unknown", parameters={"n_estimator": 10})
    assert not run.succeeded
    assert "trivet-train" in run.error
    assert "cannot be called with a path and n_estimator: " in run.log
    assert "name the parameters as the function does" in run.log
    assert platform.runs() == before


def test_a_metric_that_is_no_number_reaches_the_gate_which_fails(platform: Platform) -> None:
    run = platform.run("undefined", parameters={"learning_rate": 1}, function="acme_training:train_undefined")
    assert run.succeeded, run.log[-3000:]
    assert "not among the metrics that KFP shows, which takes finite numbers only: f1_weighted_mean" in run.log
    assert run.outputs["trivet-gate"]["Output"] == "FAILED"
    assert "trivet-deploy" not in run.outputs
    recorded = platform.tracking.get_run(platform.version("undefined")["run_id"])
    assert recorded["data"]["params"] == [{"key": "learning_rate", "value": "1.0"}]


def test_a_training_that_fails_or_cannot_be_recorded_has_a_failed_run(platform: Platform) -> None:
    before = platform.runs()
    answers = platform.register(train_raises={}, train_by_hand={}, train_without_library={}, train_unknown_flavor={})
    assert answers["train_raises"] == "ValueError: no rows are left"
    assert "acme_training:train_by_hand returned dict" in answers["train_by_hand"]
    assert answers["train_without_library"].startswith(
        "UsageError: logging a model of the flavor 'xgboost' needs xgboost, which is not installed"
    )
    assert re.search(r"UsageError: MLflow \S+ has no flavor 'sklaern'", answers["train_unknown_flavor"])
    new = {run: status for run, status in platform.runs().items() if run not in before}
    assert list(new.values()) == ["FAILED"] * 4
    assert not platform.tracking.search_model_versions("name = 'train_without_library'")


def test_the_version_is_that_of_the_result_where_the_function_registers_its_own_too(platform: Platform) -> None:
    assert platform.register(train_registers={}) == {"train_registers": "models:/train_registers/2"}
    first, second = sorted(
        platform.tracking.search_model_versions("name = 'train_registers'"), key=lambda one: int(one["version"])
    )
    assert first["run_id"] == second["run_id"]


def test_an_experiment_that_takes_no_runs_is_refused_before_the_training(platform: Platform) -> None:
    deleted = platform.post("experiments/create", name="deleted")["experiment_id"]
    platform.post("experiments/delete", experiment_id=deleted)
    before = platform.runs()
    answers = platform.register(train={"experiment": " "}, train_raises={"experiment": "deleted"})
    assert answers["train"].startswith("UsageError: ' ' is no name of an experiment")
    assert answers["train_raises"].startswith("PlatformError: MLflow takes no runs in the experiment 'deleted': ")
    assert "restore this one if it was deleted" in answers["train_raises"]
    assert platform.runs() == before


@pytest.mark.parametrize("experiment", ["acme", "of the plugin"])
def test_the_run_of_the_environment_is_left_to_whom_it_belongs(platform: Platform, experiment: str) -> None:
    identifier = platform.experiment
    if experiment != "acme":
        identifier = platform.post("experiments/create", name=experiment)["experiment_id"]
    theirs = platform.post("runs/create", experiment_id=identifier)["run"]["info"]["run_id"]
    run = platform.run(f"own-{identifier}", environment={"MLFLOW_RUN_ID": theirs})
    assert run.succeeded, run.log[-3000:]
    assert run.outputs["trivet-train"]["run_id"] != theirs
    assert platform.tracking.get_run(theirs)["info"]["status"] == "RUNNING"


def test_the_documented_pipeline_runs_as_it_stands_where_the_local_runner_has_conditions(platform: Platform) -> None:
    folder = platform.folder / "documented"
    text = PAGE.read_text(encoding="utf-8")
    files = re.findall(r"^```python\n# (\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in files] == ["acme/training.py", "pipeline.py", "run.py"]
    for name, program in files:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(program, encoding="utf-8")
    program = f"""
import sys
sys.path.insert(0, {str(folder)!r})
try:
    import run
except NotImplementedError as error:
    print(error)
"""
    environment = {"PYTHONPATH": f"{platform.folder / 'python'}:{folder}"}
    log = in_sdk(platform.stack, platform.folder, program, MLFLOW_TRACKING_URI=platform.tracking.uri, **environment)
    assert platform.version("recommendation")["run_id"] in log
    assert "PASSED: f1_weighted_mean of version 1 of 'recommendation'" in log
    has_conditions = platform.stack.name == "current"
    assert ('"kind": "InferenceService"' in log) == has_conditions, log[-3000:]
    assert ("'dsl.Condition' is not supported" in log) != has_conditions, log[-3000:]
