"""``trivet fleet --serve`` on a real tracking server: what is predicted beside what is measured, a sample, and a kill in the middle."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from commandline import PROGRAM, call, environment
from integration_servers import in_trainer, tracking_server

from trivet.host.journal import MARK, runs_directory
from trivet.model.fleet import FleetReport, Measured, ModelVerdict
from trivet.render import fleet_json
from trivet.stacks.read import load_stack

pytestmark = pytest.mark.processes

REGISTER_MODELS = """
import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

x = pd.DataFrame(np.random.default_rng(0).random((200, 3)), columns=list("abc"))
y = [0, 1] * 100
for name, model in {"linear": LogisticRegression(), "boosting": GradientBoostingClassifier(n_estimators=5)}.items():
    model.fit(x, y)
    with mlflow.start_run() as run:
        mlflow.sklearn.log_model(
            model, "model", registered_model_name=name, signature=infer_signature(x, model.predict(x)),
            input_example=x.head(2), serialization_format="cloudpickle",
        )
mlflow.MlflowClient().copy_model_version("models:/linear/1", "copied")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with two models, and a copy of one of them under another name."""
    folder = tmp_path_factory.mktemp("served")
    stack = load_stack("current")
    with tracking_server(stack, folder / "server", "--artifacts-destination", str(folder / "store")) as uri:
        in_trainer(stack, REGISTER_MODELS, folder, MLFLOW_TRACKING_URI=uri)
        yield uri


def arguments(uri: str, folder: Path, *further: str) -> list[str]:
    given = ("fleet", "--mlflow", uri, "--stack", "2024.11-fixed", "--results", str(folder / "results"))
    return [*given, "--report", str(folder / "report"), *further]


def fleet(uri: str, folder: Path, *further: str) -> tuple[int, FleetReport, str]:
    called = call(*arguments(uri, folder, *further))
    report = fleet_json.read((folder / "report" / "fleet.json").read_text(encoding="utf-8"))
    return called.code, report, called.out + called.err


def kept(folder: Path) -> dict[str, Any]:
    """The kept results by their files: when each was judged."""
    files = (folder / "results").glob("??/*.json")
    return {file.name: json.loads(file.read_text(encoding="utf-8"))["judged"]["at"] for file in files}


def test_what_serving_measures_stands_beside_what_files_predict_and_is_judged_once(server: str, tmp_path: Path) -> None:
    code, report, output = fleet(server, tmp_path, "--serve")
    found = {one.name: (one.verdict, one.measured) for one in report.models}
    assert {name: one and one.outcome for name, (_, one) in found.items()} == {
        "boosting": Measured.BREAKS,
        "copied": Measured.WORKS,
        "linear": Measured.WORKS,
    }
    assert found["boosting"][0] is ModelVerdict.BREAKS
    assert found["linear"][0] is not ModelVerdict.BREAKS
    assert code == report.exit_code == 1
    assert "models:/boosting/1: predicted breaks, measured breaks" in output
    assert "served: 3 of 3 models" in output
    boosting = found["boosting"][1]
    assert boosting
    assert "serving.model_becomes_ready" in {one.contract for one in boosting.reasons}
    assert (tmp_path / "report" / boosting.report / "report.html").is_file()
    both = sorted(bool(one.measured and one.measured.seconds) for one in report.models if one.name != "boosting")
    assert both == [False, True], "a model under two names is served once"
    assert {one.source for one in report.models if one.name != "boosting"} == {report.models[-1].source}
    before = kept(tmp_path)
    _, again, _ = fleet(server, tmp_path, "--serve")
    assert kept(tmp_path) == before
    assert [one.measured and one.measured.outcome for one in again.models] == [
        one.measured and one.measured.outcome for one in report.models
    ]
    assert {one.measured.seconds for one in again.models if one.measured} == {0.0}
    page = (tmp_path / "report" / "fleet.html").read_text(encoding="utf-8")
    assert f'href="{boosting.report}/report.html"' in page


@pytest.mark.catalogue
def test_a_sample_is_drawn_by_its_seed_which_is_printed(server: str, tmp_path: Path) -> None:
    code, report, output = fleet(server, tmp_path, "--serve", "1", "--seed", "7", "--model", "[cl]*")
    assert code == report.exit_code
    assert report.served
    assert (report.served.chosen, report.served.of, report.served.seed) == (1, 2, 7)
    (one,) = (one for one in report.models if one.measured)
    assert one.measured
    assert one.measured.outcome is Measured.WORKS
    assert one.blocks is ModelVerdict.FINE, "what was measured settles what its files left open"
    assert "serving 1 of 2 models (--serve 1 --seed 7) in the runtime of 2024.11-fixed" in output


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGKILL, id="SIGKILL"),
        pytest.param(signal.SIGTERM, id="SIGTERM", marks=pytest.mark.catalogue),
    ],
)
def test_a_killed_fleet_continues_where_it_was_and_leaves_nothing(
    server: str, tmp_path: Path, number: signal.Signals
) -> None:
    # One after the other, so that the second is never served by the call that is killed.
    asked = ("--serve", "--jobs", "1", "--model", "boosting", "--model", "linear")
    first = subprocess.Popen(
        [str(PROGRAM), *arguments(server, tmp_path, *asked)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not kept(tmp_path):
        assert time.monotonic() < deadline
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(number)
    assert first.wait(90) in (-signal.SIGKILL, 128 + number)
    before = kept(tmp_path)
    code, report, _ = fleet(server, tmp_path, *asked)
    assert code == 1
    assert [one.name for one in report.models if one.measured] == ["boosting", "linear"]
    after = kept(tmp_path)
    assert {name: after.get(name) for name in before} == before, "what was kept is neither lost nor judged again"
    assert len(after) > len(before)
    assert of_run(first.pid) == []
    assert list(runs_directory().glob(f"*-{first.pid}-*")) == []


def of_run(owner: int) -> list[psutil.Process]:
    """The processes of the run whose process has, or had, this pid."""
    found = psutil.process_iter(["cmdline", "environ"])
    return [one for one in found if f"-{owner}-" in (one.info["environ"] or {}).get(MARK, "")]
