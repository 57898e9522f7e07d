"""The local target with S3 and PostgreSQL in real containers: every contract, the transfer, and clean-up after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from trivet.errors import PlatformError, UsageError
from trivet.host.containers import LABEL, require_docker
from trivet.host.journal import Run, leftovers
from trivet.host.processes import Processes
from trivet.host.staging import stage
from trivet.host.worker import Worker
from trivet.model.clients import StoreClient
from trivet.stacks.environments import build_environment
from trivet.stacks.read import load_stack
from trivet.targets.common.clients import Downloads
from trivet.targets.local.backing import Backing

pytestmark = pytest.mark.processes

TRIVET = Path(sys.executable).with_name("trivet")
STACK = "2024.11-fixed"
CHOSEN = ("--stack", STACK, "--store", "s3", "--database", "postgresql")


@pytest.fixture(scope="module", autouse=True)
def images() -> str:
    """The image source: from the environment, otherwise `build` when its tools are installed."""
    try:
        require_docker()
    except PlatformError as error:
        pytest.skip(f"backing services need Docker: {error.message}")
    tools = shutil.which("mmdebstrap") and shutil.which("go")
    return os.environ.get("TRIVET_IMAGES") or ("build" if tools else "pull")


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, check=True, text=True).stdout.strip()


def containers_of(run: str) -> list[str]:
    return docker("ps", "--all", "--filter", f"label={LABEL}={run}", "--format", "{{.Names}}").splitlines()


def soon(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not {what} within {seconds:g} s"
        time.sleep(0.2)


def test_every_contract_holds_on_s3_and_postgresql(images: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [TRIVET, "run", *CHOSEN, "--images", images, "--report", tmp_path],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    outcomes = {contract["id"]: contract["outcome"] for contract in report["contracts"]}
    # On files this one has nothing to look at.
    assert outcomes["paths.storage_uri_ends_with_slash"] == "PASSED"
    # The handover has no importer, no object beside its InferenceService, a KServe without spec.canary, a Knative
    # that exports metrics by default, and no backend of KFP's; its model has one version.
    assert {name for name, outcome in outcomes.items() if outcome not in ("PASSED", "FAILED")} == {
        "pipelines.imported_artifact_is_fetchable",
        "pipeline_backend.asked_features_are_supported",
        "validation.companion_is_admitted",
        "validation.companions_name_applied_objects",
        "validation.canary_gets_traffic",
        "monitoring.request_metrics_are_exported",
        "signatures.version_keeps_its_clients",
    } | {name for name in outcomes if name.startswith("mlflow_plugin.")}
    phases = {phase["name"] for phase in report["phases"]}
    assert {"database: PostgreSQL", "artifact store: S3"} <= phases
    assert "s3://mlflow/" in (tmp_path / "report.json").read_text(encoding="utf-8")


def test_the_containers_of_a_killed_run_are_found_and_removed(images: str) -> None:
    ended_before = {leftover.run for leftover in leftovers()}
    with subprocess.Popen(
        [TRIVET, "run", *CHOSEN, "--images", images], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as trivet:

        def names() -> list[str]:
            listed = docker("ps", "--filter", f"label={LABEL}", "--format", "{{.Names}}").splitlines()
            return [name for name in listed if f"-{trivet.pid}-" in name]

        def tables() -> str:
            asked = ["exec", *[name for name in names() if name.endswith("-database")], "psql", "--tuples-only"]
            query = "select count(*) from information_schema.tables where table_name = 'experiments'"
            done = subprocess.run(
                ["docker", *asked, "--username=mlflow", "--command", query, "mlflow"], capture_output=True, text=True
            )
            return done.stdout.strip()

        try:
            # MLflow keeps its records there, and nowhere else.
            soon(lambda: len(names()) == 2 and tables() == "1", seconds=900, what="set up in PostgreSQL")
        finally:
            trivet.kill()
    (left,) = [
        leftover for leftover in leftovers() if leftover.run not in ended_before and f"-{trivet.pid}-" in leftover.run
    ]
    assert sorted(left.cleanups) == [f"container {name}" for name in sorted(containers_of(left.run))]
    done = subprocess.run([TRIVET, "doctor", "--clean"], capture_output=True, text=True)
    assert f"cleaned run {left.run}" in done.stdout
    assert containers_of(left.run) == []


@dataclass(frozen=True)
class S3:
    """A store, its settings, and its job."""

    store: StoreClient
    job: Worker
    kserve: str


@pytest.fixture(scope="module", params=["2024.11-fixed", "current"])
def s3(request: pytest.FixtureRequest, images: str) -> Iterator[S3]:
    """An S3 server only, with the storage initializer of one stack."""
    stack = load_stack(request.param)
    python = build_environment(stack.roles["initializer"]).python
    chosen = Backing(store="s3", images=images)
    with (
        Run() as run,
        closing(Processes(run, foreign=("AWS_",))) as processes,
        chosen.open(stack, run, threading.Event(), lambda event: None) as (_, artifacts),
    ):
        environment = {**artifacts.start(), "PYTHONPATH": str(stage(run.directory / "python"))}

        def worker(job: str) -> Worker:
            return Worker(processes, job, [python, "-m", f"trivet.fixtures.jobs.{job}"], environment=environment)

        job = worker("store")
        downloads = Downloads(run.directory / "downloads", worker("initializer"))
        yield S3(artifacts.client(lambda: job, downloads.fetch), job, stack.components["kserve"])
    assert containers_of(run.id) == []


FILES = {"MLmodel": b"flavors: {}\n", "data/model.bin": bytes(range(256)) * 5000, "code/a.py": b"a = 1\n"}
DIGESTS = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


@pytest.mark.parametrize("name", ["1/model", "a b/ü%20+'x~", "模型"])
def test_what_is_written_is_read_back_and_transferred_whole(s3: S3, name: str) -> None:
    uri = s3.store.write(name, FILES)
    assert s3.store.files(uri) == s3.store.files(f"{uri}/") == DIGESTS
    got = s3.store.download(f"{uri}/")
    assert got.files == DIGESTS
    # A directory of this machine would have been linked.
    assert not [path for path in got.directory.rglob("*") if path.is_symlink()]


def test_a_sibling_is_not_part_of_a_directory_and_a_missing_directory_is_empty(s3: S3) -> None:
    uri = s3.store.write("sibling/model", {"x": b"1"})
    s3.store.write("sibling/model_v2", {"y": b"2"})
    assert list(s3.store.files(uri)) == ["x"]
    assert s3.store.files("s3://mlflow/nowhere/") == {}
    with pytest.raises(UsageError, match="not in this store"):
        s3.store.files("s3://elsewhere/model/")


def test_a_directory_is_deleted_without_its_siblings(s3: S3) -> None:
    uri = s3.store.write("deleted", FILES)
    sibling = s3.store.write("deleted too", FILES)
    assert s3.job.call("delete", uri=uri) == len(FILES)
    assert s3.store.files(uri) == {}
    assert s3.store.files(sibling) == DIGESTS


def test_whether_kserve_transfers_empty_files(s3: S3) -> None:
    # kserve_storage 0.20.0, _download_s3: `if obj.key.endswith("/") or obj.size == 0`. Earlier ones had the first half only.
    uri = s3.store.write("empty", {"MLmodel": b"flavors: {}\n", "code/__init__.py": b""})
    assert sorted(s3.store.files(uri)) == ["MLmodel", "code/__init__.py"]
    arrives = ["MLmodel"] if s3.kserve == "0.20.0" else ["MLmodel", "code/__init__.py"]
    assert sorted(s3.store.download(f"{uri}/").files) == arrives
