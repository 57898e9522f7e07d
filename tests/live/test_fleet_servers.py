"""``trivet fleet`` on real tracking servers of MLflow 2 and 3: model files on this machine, and behind the server's artifact proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from commandline import call
from fakes.http_server import serving
from integration_servers import in_trainer, tracking_server

from trivet.model.fleet import FleetReport, ModelVerdict
from trivet.render import fleet_json
from trivet.stacks.read import load_stack

pytestmark = pytest.mark.processes

LOG_MODELS = """
import mlflow
from mlflow.models import infer_signature
import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingClassifier

client = mlflow.MlflowClient()
mlflow.set_experiment("fleet")
x, y = np.arange(20.0).reshape(10, 2), [0, 1] * 5
for name, model, form in (
    ("dummy", DummyClassifier(), "cloudpickle"),
    ("boosting", GradientBoostingClassifier(n_estimators=2), "cloudpickle"),
    ("skops", DummyClassifier(), "skops"),
):
    if form == "skops" and mlflow.__version__.startswith("2."):
        continue
    model.fit(x, y)
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            model, "model", registered_model_name=name, signature=infer_signature(x, model.predict(x)),
            pip_requirements=["scikit-learn"], serialization_format=form,
        )
client.set_registered_model_alias("dummy", "production", "1")
"""


@pytest.fixture(
    scope="module",
    params=[(stack, way) for stack in ("2024.11-fixed", "current") for way in ("direct", "proxied")],
    ids="-".join,
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    name, way = request.param
    stack = load_stack(name)
    folder = tmp_path_factory.mktemp("fleet")
    option = ["--artifacts-destination"] if way == "proxied" else ["--no-serve-artifacts", "--default-artifact-root"]
    with tracking_server(stack, folder / "server", *option, str(folder / "store")) as uri:
        in_trainer(stack, LOG_MODELS, folder, MLFLOW_TRACKING_URI=uri)
        yield uri


def fleet(uri: str, folder: Path, *arguments: str) -> tuple[int, FleetReport, str]:
    called = call("fleet", "--mlflow", uri, "--stack", "2024.11", "--report", str(folder), *arguments)
    return called.code, fleet_json.read((folder / "fleet.json").read_text(encoding="utf-8")), called.out + called.err


def test_every_registered_version_is_judged_by_the_files_that_the_trainer_wrote(server: str, tmp_path: Path) -> None:
    code, report, output = fleet(server, tmp_path)
    newer = "skops" in {model.name for model in report.models}
    verdicts = {model.name: model.verdict for model in report.models}
    fixed = {"dummy": ModelVerdict.FINE, "boosting": ModelVerdict.FINE}
    current = {"dummy": ModelVerdict.UNSUPPORTED, "boosting": ModelVerdict.BREAKS, "skops": ModelVerdict.BREAKS}
    assert verdicts == (current if newer else fixed), output
    assert code == (1 if newer else 0)
    assert report.total == len(report.models)
    (dummy,) = (model for model in report.models if model.name == "dummy")
    assert dummy.aliases == ("production",)
    assert dummy.flavors == ("python_function", "sklearn")


def test_an_alias_chooses_its_version_alone(server: str, tmp_path: Path) -> None:
    _, report, _ = fleet(server, tmp_path, "--alias", "production")
    assert [model.uri for model in report.models] == ["models:/dummy/1"]
    assert report.total > 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "dumy"), "did you mean 'dummy'"),
        (("--alias", "productoin"), "did you mean 'production'"),
        (("--tag", "team"), "--tag 'team' is not KEY=VALUE"),
    ],
)
def test_a_selection_that_the_server_does_not_have_is_refused(
    server: str, arguments: tuple[str, str], words: str
) -> None:
    called = call("fleet", "--mlflow", server, *arguments)
    assert called.code == 3
    assert words in called.err


def test_what_was_listed_before_the_server_failed_is_judged_and_the_failure_is_reported(
    server: str, tmp_path: Path
) -> None:
    class FailingLater(BaseHTTPRequestHandler):
        """The real server, behind what answers one page with a version and the next with 500."""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            answer = requests.get(f"{server}{self.path}", timeout=10)
            status, body = answer.status_code, answer.content
            if parts.path.endswith("model-versions/search"):
                if "page_token" in parts.query:
                    status, body = 500, b"{}"
                else:
                    body = json.dumps({**answer.json(), "next_page_token": "more"}).encode()
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(FailingLater) as before:
        code, report, output = fleet(f"http://127.0.0.1:{before.server_port}", tmp_path, "--alias", "production")
    assert code == 2
    assert [model.name for model in report.models] == ["dummy"]
    assert "versions and then failed" in report.errors[0].message
    assert "HTTP 500" in output
