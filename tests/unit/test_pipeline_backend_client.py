"""The client of KFP's API server: what it asks, what it makes of the answers, and what it puts into a compiled pipeline."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from trivet.engine import doctor
from trivet.errors import CannotTell
from trivet.fixtures.pipelines import IMAGE
from trivet.integration.pipeline_api import PipelineApi, PipelineApiError
from trivet.model.clients import Refused
from trivet.model.pipeline_runs import BackendTask
from trivet.model.settings import Existing
from trivet.targets.cluster.pipeline_backend import PipelineBackend, reported_outputs
from trivet.targets.cluster.pipeline_steps import MOUNT, prepared, step_secret

Requests = list[tuple[str, str, bytes]]

ANSWERS = {
    "POST /apis/v2beta1/pipelines/upload": (200, {"pipeline_id": "p"}),
    "GET /apis/v2beta1/pipelines/p/versions": (
        200,
        {"pipeline_versions": [{"pipeline_id": "p", "pipeline_version_id": "v"}]},
    ),
    "POST /apis/v2beta1/runs": (200, {"run_id": "r"}),
    "GET /apis/v2beta1/runs/r": (200, {"state": "RUNNING"}),
    "POST /apis/v2beta1/runs/r:terminate": (200, {}),
    "POST /apis/v2beta1/runs/away:terminate": (503, {"message": "connection refused"}),
    "POST /apis/v2beta1/runs/none:terminate": (404, {"error": "x", "code": 5, "message": "run none not found"}),
    "GET /apis/v2beta1/healthz": (200, {"multi_user": False, "tag_name": "2.0.5"}),
    "POST /apis/v2beta1/experiments": (200, {"experiment_id": "e"}),
    "DELETE /apis/v2beta1/experiments/e": (200, {}),
    "DELETE /apis/v2beta1/runs/r": (200, {}),
    "DELETE /apis/v2beta1/pipelines/p/versions/v": (200, {}),
    "DELETE /apis/v2beta1/pipelines/p": (200, {}),
    "GET /apis/v2beta1/runs/none": (404, {"error": "Failed to fetch run", "code": 5, "message": "run none not found"}),
}


@pytest.fixture
def asked() -> Requests:
    return []


@pytest.fixture
def api(asked: Requests) -> Iterator[PipelineApi]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            path = self.path.partition("?")[0]
            asked.append((self.command, self.path, self.rfile.read(int(self.headers.get("Content-Length") or 0))))
            status, answer = ANSWERS[f"{self.command} {path}"]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_GET = do_DELETE = do_POST  # noqa: N815 - the names are http.server's

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield PipelineApi(lambda: f"http://127.0.0.1:{server.server_port}", retries=0)
        server.shutdown()


def test_a_pipeline_is_uploaded_and_its_version_is_run(api: PipelineApi, asked: Requests) -> None:
    pipeline, version = api.upload("a", "root: {}")
    assert (pipeline, version["pipeline_version_id"]) == ("p", "v")
    assert api.start("mine", version, {"number": 3}, service_account="trainer") == "r"
    assert asked[0][1] == "/apis/v2beta1/pipelines/upload?name=a"
    assert b"root: {}" in asked[0][2]
    assert json.loads(asked[-1][2]) == {
        "display_name": "mine",
        "pipeline_version_reference": {"pipeline_id": "p", "pipeline_version_id": "v"},
        "runtime_config": {"parameters": {"number": 3}},
        "service_account": "trainer",
    }


def test_a_run_is_described_and_terminated(api: PipelineApi, asked: Requests) -> None:
    assert api.run("r") == {"state": "RUNNING"}
    api.terminate("r")
    assert asked[-1][:2] == ("POST", "/apis/v2beta1/runs/r:terminate")


def backend(api: PipelineApi) -> PipelineBackend:
    """A backend whose runs have no pods."""
    return PipelineBackend(
        api,
        reader=NoPods(),  # type: ignore[arg-type]
        namespace="team",
        step_image="step:1",
        experiment="trivet-1",
        compile=lambda pipeline: "root: {}",
        environment={},
        started=lambda run_id: None,
        stop=threading.Event(),
    )


class NoPods:
    def objects(self, kind: str, *, namespace: str, selector: str) -> list[dict[str, Any]]:
        return []


def test_an_error_of_the_api_server_is_refused_with_its_words(api: PipelineApi) -> None:
    with pytest.raises(PipelineApiError, match=r"GET /apis/v2beta1/runs/none at .*: HTTP 404: run none not found"):
        api.run("none")
    with pytest.raises(Refused, match=r"HTTP 404: run none not found"):
        backend(api).terminate("none")


def test_an_api_server_that_its_proxy_does_not_reach_cannot_be_judged(api: PipelineApi) -> None:
    with pytest.raises(CannotTell, match=r"HTTP 503: connection refused"):
        backend(api).terminate("away")


def test_an_api_server_that_does_not_answer_cannot_be_judged() -> None:
    with pytest.raises(CannotTell, match=r"POST /apis/v2beta1/runs/r:terminate at http://127.0.0.1:9: .*refused"):
        backend(PipelineApi("http://127.0.0.1:9", retries=0)).terminate("r")


def test_runs_of_a_multi_user_installation_are_in_an_experiment_of_their_namespace(
    api: PipelineApi, asked: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ANSWERS, "GET /apis/v2beta1/healthz", (200, {"multi_user": True}))
    runs = backend(api)
    assert [runs.start("greeting"), runs.start("failing")] == ["r", "r"]
    runs.remove()
    bodies = [json.loads(body) for method, path, body in asked if (method, path) == ("POST", "/apis/v2beta1/runs")]
    assert [body["experiment_id"] for body in bodies] == ["e", "e"]
    created = [json.loads(body) for method, path, body in asked if path == "/apis/v2beta1/experiments"]
    assert [body["namespace"] for body in created] == ["team"]
    assert next(path for method, path, body in asked if "upload" in path).endswith("&namespace=team")
    assert ("DELETE", "/apis/v2beta1/experiments/e") in [(method, path) for method, path, body in asked]


def test_runs_of_an_installation_for_one_user_need_no_experiment(api: PipelineApi, asked: Requests) -> None:
    backend(api).start("greeting")
    assert not any("experiments" in path or "namespace" in path for method, path, body in asked)


def test_steps_get_the_platform_s_image_and_the_variables_of_the_run() -> None:
    executors = {
        "exec-a": {
            "container": {"image": IMAGE, "env": [{"name": "A", "value": "1"}, {"name": "URI", "value": "old"}]}
        },
        "exec-b": {"container": {"image": "other"}},
        "exec-c": {"importer": {}},
    }
    compiled = yaml.safe_dump_all([{"deploymentSpec": {"executors": executors}}, {"platforms": {}}])
    spec, platform = yaml.safe_load_all(prepared(compiled, "step:1", {"URI": "new"}))
    assert platform == {"platforms": {}}
    assert spec["deploymentSpec"]["executors"] == {
        "exec-a": {
            "container": {"image": "step:1", "env": [{"name": "A", "value": "1"}, {"name": "URI", "value": "new"}]}
        },
        "exec-b": {"container": {"image": "other", "env": [{"name": "URI", "value": "new"}]}},
        "exec-c": {"importer": {}},
    }
    assert yaml.safe_load(prepared(yaml.safe_dump({"root": {}}), "step:1", {"A": "b"})) == {"root": {}}


def test_a_secret_reaches_every_step_with_its_files_and_variables(tmp_path: Path) -> None:
    package = tmp_path / "code" / "trivet_example"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("VALUE = 7\n", encoding="utf-8")
    (tmp_path / "data.csv").write_text("a,b\n", encoding="utf-8")
    secret = step_secret(
        "steps-1",
        code=tmp_path / "code",
        files={"data.csv": tmp_path / "data.csv"},
        variables={"AWS_ACCESS_KEY_ID": "hidden"},
    )
    executors = {"exec-a": {"container": {"image": IMAGE}}, "exec-b": {"importer": {}}}
    spec, platform = yaml.safe_load_all(
        prepared(yaml.safe_dump({"deploymentSpec": {"executors": executors}}), "step:1", {}, secret=secret)
    )
    (variable,) = spec["deploymentSpec"]["executors"]["exec-a"]["container"]["env"]
    assert variable["name"] == "PYTHONPATH"
    assert platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"] == {
        "exec-a": {
            "secretAsVolume": [{"secretName": "steps-1", "mountPath": MOUNT}],
            "secretAsEnv": [
                {
                    "secretName": "steps-1",
                    "keyToEnv": [{"secretKey": "AWS_ACCESS_KEY_ID", "envVar": "AWS_ACCESS_KEY_ID"}],
                }
            ],
        }
    }
    assert "hidden" not in repr(secret)

    document = secret.document("kubeflow", {"trivet.dev/run": "1"})
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    for name, content in document["data"].items():
        (mounted / name).write_bytes(base64.b64decode(content))
    assert (mounted / "data.csv").read_text(encoding="utf-8") == "a,b\n"
    imported = variable["value"].replace(MOUNT, str(mounted))
    code = "import trivet_example; print(trivet_example.VALUE)"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": imported}, capture_output=True, text=True)
    assert done.stdout.strip() == "7", done.stderr


def test_a_step_with_limits_asks_a_small_node_for_little_in_the_spelling_of_its_sdk() -> None:
    resources = {
        "exec-a": {"cpuLimit": 2.0, "memoryLimit": 4.0, "memoryRequest": 1.0},
        "exec-b": {"resourceCpuLimit": "2"},
        "exec-c": {},
    }
    executors = {name: {"container": {"image": "a", "resources": each}} for name, each in resources.items()}
    (spec,) = yaml.safe_load_all(
        prepared(yaml.safe_dump({"deploymentSpec": {"executors": executors}}), "step:1", {}, small_requests=True)
    )
    written = {name: each["container"].get("resources") for name, each in spec["deploymentSpec"]["executors"].items()}
    assert written == {
        "exec-a": {"cpuLimit": 2.0, "memoryLimit": 4.0, "cpuRequest": 0.02, "memoryRequest": 1.0},
        "exec-b": {"resourceCpuLimit": "2", "resourceCpuRequest": "20m"},
        "exec-c": {},
    }


LOG = """I1130 07:26:00.172487      31 launcher_v2.go:692] ExecutorOutput: {
  "parameterValues": {
    "Output": "out"
  },
  "artifacts": {
    "model": {"artifacts": [{"name": "", "uri": "minio://a", "metadata": {"n": 3}}]},
    "none": {"artifacts": []}
  }
}
I1130 07:26:00.547684      31 launcher_v2.go:151] publish success.
"""


def test_outputs_are_those_that_the_launcher_logs() -> None:
    assert reported_outputs(LOG) == {"Output": "out", "model": {"uri": "minio://a", "metadata": {"n": 3}}}
    assert reported_outputs("a step that failed") == {}


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        (
            [
                {"name": "wait", "state": {"terminated": {"exitCode": 0}}},
                {"name": "main", "state": {"terminated": {"exitCode": 7}}},
            ],
            7,
        ),
        ([{"name": "main", "state": {"running": {}}}], None),
        ([], None),
    ],
)
def test_the_exit_code_is_that_of_the_last_attempt(statuses: list[object], code: int | None) -> None:
    pods: list[dict[str, Any]] = [{"status": {}}, {"status": {"containerStatuses": statuses}}]
    assert BackendTask(name="a", pods=pods, log="", outputs={}).exit_code == code


def test_a_run_that_is_started_while_the_session_ends_remains_to_be_removed(
    api: PipelineApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = backend(api)
    begun, released = threading.Event(), threading.Event()
    start = api.start

    def slow(*arguments: Any, **options: Any) -> str:
        begun.set()
        assert released.wait(30)
        return start(*arguments, **options)

    monkeypatch.setattr(api, "start", slow)
    thread = threading.Thread(target=runs.start, args=("greeting",))
    thread.start()
    assert begun.wait(30)
    runs.remove()
    assert runs.remaining == []
    released.set()
    thread.join(30)
    assert runs.remaining == ["r"]
    runs.remove()
    assert runs.remaining == []


def test_a_run_that_the_api_server_does_not_delete_remains(api: PipelineApi, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = backend(api)
    runs.start("greeting")
    monkeypatch.setitem(ANSWERS, "DELETE /apis/v2beta1/runs/r", (500, {"message": "the database is away"}))
    runs.remove()
    assert runs.remaining == ["r"]


def test_the_token_goes_before_a_password_for_the_host_and_what_changes_something_is_sent_once(
    tmp_path: Path, asked: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            sent.append(self.headers["Authorization"])
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    (tmp_path / "token").write_text("of-kfp", encoding="utf-8")
    (tmp_path / "netrc").write_text("default login me password other", encoding="utf-8")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with HTTPServer(("127.0.0.2", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(PipelineApiError, match="HTTP 503"):
            PipelineApi(f"http://127.0.0.2:{server.server_port}").delete("x")
        server.shutdown()
    assert sent == ["Bearer of-kfp"]


def test_doctor_says_what_the_api_server_is_and_shows_no_password(api: PipelineApi) -> None:
    check = doctor._pipelines(Existing(kfp_url=api.url.replace("http://", "http://me:hidden@")))
    assert check.ok
    assert check.observed.endswith("release 2.0.5, for one user")
    assert "hidden" not in check.observed
