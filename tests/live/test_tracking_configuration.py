"""TrackingApi beside MLflow's own client: under one configuration both send the same credentials and the same workspace."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from fakes.http_server import serving
from integration_servers import in_trainer

from trivet.stacks.read import load_stack

pytestmark = pytest.mark.processes

ASK_TWICE = """
import json, os
from pathlib import Path
import mlflow
from trivet.integration import TrackingApi

home, uri = Path.home(), os.environ["SERVER"]
for case in json.loads(os.environ["CASES"]):
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        del os.environ[name]
    os.environ.update(case["environment"])
    (home / ".netrc").write_text("machine 127.0.0.1 login netrc password secret" if case.get("netrc") else "")
    (home / ".mlflow").mkdir(exist_ok=True)
    (home / ".mlflow" / "credentials").write_text(case.get("credentials", ""))
    mlflow.MlflowClient(tracking_uri=uri).get_experiment_by_name("theirs")
    TrackingApi(uri).get_experiment_by_name("ours")
"""
USER = {"MLFLOW_TRACKING_USERNAME": "user", "MLFLOW_TRACKING_PASSWORD": "pass"}
TOKEN = {"MLFLOW_TRACKING_TOKEN": "token"}
FILE = "[mlflow]\nmlflow_tracking_username = file\nmlflow_tracking_password = pass\n"
CASES = [
    {"environment": {}},
    {"environment": {}, "netrc": True},
    {"environment": TOKEN},
    {"environment": USER},
    {"environment": {**USER, **TOKEN}},
    {"environment": {"MLFLOW_TRACKING_USERNAME": "user", **TOKEN}},
    {"environment": {}, "credentials": FILE},
    {"environment": USER, "credentials": FILE},
    {"environment": TOKEN, "credentials": FILE},
    {"environment": {"MLFLOW_WORKSPACE": " team "}},
]


@pytest.mark.parametrize("name", ["2024.11-fixed", "current"])
def test_both_clients_send_the_same(name: str, tmp_path: Path) -> None:
    seen: list[tuple[str | None, str | None]] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "get-by-name" in self.path:  # rather than MLflow 3's question whether the server has workspaces
                seen.append((self.headers.get("Authorization"), self.headers.get("X-MLFLOW-WORKSPACE")))
            experiment = {"experiment_id": "1", "name": "x", "artifact_location": "s3://b/1"}
            answer = json.dumps(
                {"experiment": experiment} if "get-by-name" in self.path else {"workspaces_enabled": True}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            pass

    with serving(Server) as server:
        uri = f"http://127.0.0.1:{server.server_port}"
        in_trainer(load_stack(name), ASK_TWICE, tmp_path, SERVER=uri, CASES=json.dumps(CASES))

    theirs, ours = seen[::2], seen[1::2]
    assert len(seen) == 2 * len(CASES)
    if name == "2024.11-fixed":  # MLflow 2 knows no workspaces
        ours = [(credentials, None) for credentials, _ in ours]
    assert ours == theirs
