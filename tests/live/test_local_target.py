"""The local target with real software: one session that most tests share, and the ways in which a session ends."""

from __future__ import annotations

import http.server
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from contract_examples.live import served_model
from fakes.http_server import serving

from trivet.errors import CannotTell, NotOffered, PlatformError
from trivet.host.journal import Run, clean, leftovers, marked_processes
from trivet.host.processes import Processes, free_ports
from trivet.host.worker import Worker
from trivet.integration import read_signature, v2_request, v2_values
from trivet.model.events import Event, PhaseEnded, PhaseStarted
from trivet.model.handover import Handover
from trivet.model.subjects import CompiledPipeline, Manifest
from trivet.stacks.environments import build_environment
from trivet.stacks.read import load_stack
from trivet.targets.local import LocalTarget, servers
from trivet.targets.local.session import LocalSession

pytestmark = pytest.mark.processes

STACK = "2024.11-fixed"


@pytest.fixture(scope="module")
def tracking_python() -> Path:
    return build_environment(load_stack(STACK).roles["tracking"]).python


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    with Run() as run:
        started = Processes(run)
        try:
            yield started
        finally:
            started.close()


def test_served_predictions_equal_the_trainers(session: LocalSession, handover: Handover) -> None:
    model = served_model(session)
    signature = read_signature(model.mlmodel)
    assert signature is not None
    source = random.Random(1)
    rows = [
        {
            column.name: source.randrange(12) if column.type == "long" else source.gauss(0, 2)
            for column in signature.columns
        }
        for _ in range(40)
    ]
    answer = session.client("serving").infer(v2_request(signature, rows))
    assert answer.status == 200, answer.body
    expected = session.client("trainer").predict(f"runs:/{handover.model.run_id}/model", rows)
    assert v2_values(answer.body) == expected
    assert set(expected) == {0, 1}


def test_the_download_equals_the_files_in_the_store_and_what_mlflow_downloads(
    session: LocalSession, handover: Handover
) -> None:
    store, trainer = session.client("store"), session.client("trainer")
    stored = store.files(handover.storage_uri)
    assert "MLmodel" in stored
    assert store.download(handover.storage_uri).files == stored
    assert trainer.artifacts(f"runs:/{handover.model.run_id}/model") == stored
    version = trainer.artifacts(f"models:/{handover.model.registered_name}@{handover.alias}")
    assert version.keys() - stored.keys() <= {"registered_model_meta"}
    assert stored.items() <= version.items()


def test_every_task_of_the_pipeline_left_its_outputs(session: LocalSession, handover: Handover) -> None:
    run = session.client("pipelines").main_run
    assert run.succeeded
    assert set(run.outputs) == {"validate", "preprocess", "train", "quality-gate", "deploy"}
    assert run.outputs["train"]["model"]["metadata"]["mlflow_run_id"] == handover.model.run_id
    assert session.client("tracking").get_run(handover.model.run_id)["info"]["status"] == "FINISHED"


def test_the_handover_leaves_a_subject_of_each_static_kind(session: LocalSession, handover: Handover) -> None:
    (manifest,) = session.subjects("manifest")
    (pipeline,) = session.subjects("compiled_pipeline")
    assert isinstance(manifest, Manifest)
    assert isinstance(pipeline, CompiledPipeline)
    assert manifest.document["spec"]["predictor"]["model"]["storageUri"] == handover.storage_uri
    assert Path(manifest.file).read_text().splitlines()[manifest.line(("spec",)) - 1] == "spec:"
    resources = pipeline.document["deploymentSpec"]["executors"]["exec-train"]["container"]["resources"]
    assert {"cpuLimit", "memoryLimit", "accelerator"} <= set(resources)
    assert pipeline.document["root"]["dag"]["tasks"]["train"]["cachingOptions"] == {}


def test_a_condition_that_the_sdk_cannot_run_is_reported_and_not_claimed_as_a_feature(session: LocalSession) -> None:
    session.client("handover")
    assert "ConditionalPipeline" not in session.features()
    assert "not supported by local pipeline execution" in session.describe()["condition"]


def test_phases_end_without_failure_and_name_what_they_are(session: LocalSession, events: list[Event]) -> None:
    session.client("serving")
    session.client("trainer")
    ended = {event.name: event.failure for event in list(events) if isinstance(event, PhaseEnded)}
    assert set(ended.values()) == {""}
    assert {"tracking server", "pipeline", "storage initializer", "runtime", "trainer environment"} <= set(ended)


def test_the_gate_blocks_a_model_that_is_worse_than_production(session: LocalSession) -> None:
    pipelines = session.client("pipelines")
    good = pipelines.run({"registered_name": "gated", "minimum_f1": 0.5})
    assert good.outputs["quality-gate"]["Output"] == "true", good.log
    worse = pipelines.run({"registered_name": "gated", "minimum_f1": 0.5, "n_estimators": 1})
    assert worse.succeeded, worse.log
    assert worse.outputs["quality-gate"]["Output"] == "false"
    assert "deploy" not in worse.outputs
    assert 0.5 < worse.outputs["train"]["f1_weighted"] < good.outputs["train"]["f1_weighted"] - 0.02


@pytest.mark.parametrize(
    ("uri", "words"), [("http://127.0.0.1:9", "Connection refused"), ("", "MLFLOW_TRACKING_URI is not set")]
)
def test_a_pipeline_that_cannot_record_its_run_fails(session: LocalSession, uri: str, words: str) -> None:
    started = time.monotonic()
    run = session.client("pipelines").run({}, environment={"MLFLOW_TRACKING_URI": uri})
    assert not run.succeeded
    assert words in run.log
    assert "train" not in run.outputs
    assert time.monotonic() - started < 30


def test_another_model_is_served_beside_the_first_and_stopped_afterwards(session: LocalSession) -> None:
    logged = session.client("trainer").log_model(
        estimator="random-forest", columns={"a": "float64", "n": "int64"}, register_as="other"
    )
    uri = session.client("tracking").get_download_uri("other", logged.version)
    with session.client("serving").deploy(uri) as other:
        assert other.ready, other.log()
        metadata = other.get(f"/v2/models/{other.name}").body
        assert [tensor["name"] for tensor in metadata["inputs"]] == ["a", "n"]
    with pytest.raises(CannotTell, match="no response to GET"):
        other.get("/v2/health/live")
    assert session.client("serving").get("/v2/health/live").status == 200


def test_a_model_that_does_not_load_is_not_ready_and_the_failure_has_the_reason(session: LocalSession) -> None:
    uri = session.client("store").write("broken", {"notes.txt": b"no model"})
    with session.client("serving").deploy(uri) as broken:
        assert not broken.ready
        with pytest.raises(CannotTell, match=r"MLmodel"):
            broken.infer({"inputs": []})


def test_a_failed_download_is_an_error_with_the_initializer_s_message(session: LocalSession) -> None:
    with pytest.raises(PlatformError, match="does not exist"):
        session.client("store").download(f"{session.client('store').root}/nowhere/")


def test_the_runtimes_environment_reads_what_the_trainer_wrote(session: LocalSession) -> None:
    model = served_model(session)
    runtime = session.client("runtime")
    assert runtime.call("load", directory=str(model.path)) == {"loaded": True, "type": "", "error": ""}
    read = runtime.call("try_read_signature", directory=str(model.path))
    assert (read["error"], len(read["signature"]["inputs"])) == ("", 6)
    assert runtime.call("versions")["mlflow"] == "2.10.2"


def test_an_unknown_client_is_not_offered(session: LocalSession) -> None:
    with pytest.raises(NotOffered, match="cluster"):
        session.client("cluster")


def test_a_second_session_beside_the_first_disturbs_nothing_and_an_exception_ends_it(
    session: LocalSession, handover: Handover
) -> None:
    seen: list[Path] = []

    def fail_in_the_middle() -> None:
        with LocalTarget().start(load_stack(STACK), lambda _: None) as second:
            other = second.client("handover")
            assert other.tracking_uri != handover.tracking_uri
            assert other.model.run_id != handover.model.run_id
            assert marked_processes(second.directory.name)
            seen.append(second.directory)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_in_the_middle()
    (directory,) = seen
    assert not marked_processes(directory.name)
    assert not directory.exists()
    assert session.directory.exists()
    assert session.client("serving").get("/v2/health/live").status == 200
    assert requests.get(f"{handover.tracking_uri}/health", timeout=5).status_code == 200


def _signalled_in_the_pipeline(number: signal.Signals) -> Path:
    """Start a session in another process, send it a signal while its pipeline runs, and return the session's directory."""
    # os.write, because print is not atomic, and several threads report phases.
    program = f"""
import os
from trivet.model.events import PhaseStarted
from trivet.stacks.read import load_stack
from trivet.targets.local import LocalTarget
def emit(event):
    if isinstance(event, PhaseStarted):
        os.write(1, (event.name + "\\n").encode())
with LocalTarget().start(load_stack({STACK!r}), emit) as session:
    os.write(1, f"directory {{session.directory}}\\n".encode())
    session.client("serving")
"""
    directory = None
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as trivet:
        assert trivet.stdout is not None
        for line in trivet.stdout:
            if line.startswith("directory "):
                directory = Path(line.removeprefix("directory ").strip())
            if line.strip() == "pipeline":
                break
        os.kill(trivet.pid, number)
    assert directory is not None
    return directory


def test_the_next_run_cleans_up_after_a_killed_one() -> None:
    directory = _signalled_in_the_pipeline(signal.SIGKILL)
    (left,) = [leftover for leftover in leftovers() if leftover.directory == directory]
    assert any("mlflow" in command for command in left.processes.values())
    clean(left)
    assert not directory.exists()
    assert not marked_processes(directory.name)
    assert directory not in [leftover.directory for leftover in leftovers()]


@pytest.mark.usefixtures("default_signals")
def test_ctrl_c_in_the_middle_leaves_nothing() -> None:
    directory = _signalled_in_the_pipeline(signal.SIGINT)
    assert not directory.exists()
    assert not marked_processes(directory.name)


def test_a_server_starts_on_another_port_when_its_port_is_taken(
    tracking_python: Path, processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Health(http.server.BaseHTTPRequestHandler):
        """Another server that responds to everything with 200, like the tracking server of another run."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

    with serving(Health) as stranger:
        really_free = free_ports
        answers = iter([[stranger.server_port]])
        monkeypatch.setattr(servers, "free_ports", lambda count: next(answers, None) or really_free(count))
        _, uri = servers.start_tracking(
            processes,
            tracking_python,
            environment={},
            database=f"sqlite:///{tmp_path}/mlflow.db",
            root=f"file://{tmp_path}/artifacts",
        )
    assert uri != f"http://127.0.0.1:{stranger.server_port}"
    assert requests.get(f"{uri}/version", timeout=5).text == "2.17.2"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import time; print('thinking', flush=True); time.sleep(60)", r"timed out after 0\.5 s(.|\n)*thinking"),
        ("raise SystemExit('out of luck')", r"(died|exited) with status 1(.|\n)*out of luck"),
    ],
)
def test_a_worker_that_times_out_or_dies_is_an_error_with_the_log_tail(
    processes: Processes, tmp_path: Path, body: str, words: str
) -> None:
    (tmp_path / "job.py").write_text(f"import sys; sys.stdout = sys.stderr; {body}")
    worker = Worker(processes, "job", [Path(sys.executable), "-m", "job"], environment={"PYTHONPATH": str(tmp_path)})
    with pytest.raises(PlatformError, match=words):
        worker.call("anything", seconds=0.5)
    assert not worker.process.running


@pytest.mark.usefixtures("default_signals")
def test_the_response_of_an_interrupted_call_is_not_used_for_the_next_one(
    processes: Processes, session: LocalSession, tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text(
        "from trivet.fixtures.jobs.wire import serve\n"
        "import time\n"
        "def slow(): time.sleep(1); return 'slow'\n"
        "def quick(): return 'quick'\n"
        "serve({'slow': slow, 'quick': quick})\n"
    )
    path = os.pathsep.join((str(tmp_path), str(session.directory / "python")))
    worker = Worker(processes, "job", [Path(sys.executable), "-m", "job"], environment={"PYTHONPATH": path})
    assert worker.call("quick") == "quick"
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        worker.call("slow")
    assert worker.call("quick") == "quick"


def test_the_published_row_is_found_not_to_serve_its_own_model() -> None:
    seen: list[Event] = []
    with LocalTarget().start(load_stack("2024.11"), seen.append) as session:
        serving = session.client("serving")
        assert not serving.ready
        assert "_loss" in serving.failure
        assert "Traceback" in serving.log()
    (phase,) = [event for event in seen if isinstance(event, PhaseEnded) and event.name == "runtime"]
    assert phase.failure == serving.failure
    assert any(isinstance(event, PhaseStarted) and event.name == "runtime" for event in seen)


def test_mlflow_3_hands_over_too_and_its_sdk_runs_the_condition() -> None:
    with LocalTarget().start(load_stack("current"), lambda _: None) as session:
        assert session.client("serving").ready
        handover = session.client("handover")
        assert handover.model.model_id.startswith("m-")
        assert f"/models/{handover.model.model_id}/artifacts" in handover.storage_uri
        assert "deploy" in session.client("pipelines").main_run.outputs
        assert "ConditionalPipeline" in session.features()
        blocked = session.client("pipelines").run({"minimum_f1": 0.999})
        assert blocked.outputs["quality-gate"]["Output"] == "false", blocked.log
        assert "deploy" not in blocked.outputs
