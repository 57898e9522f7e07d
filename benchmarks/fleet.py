"""``trivet fleet`` over 10,000 registered versions on a real MLflow server, and where its time goes.

The models are four kinds of scikit-learn that the stack's trainer saved, linked below the artifact root of one run, and registered by
MLflow's own client on the server's database, without a request for each. Two sides: the artifact root is a directory of this machine,
where trivet reads it, and the server proxies it, so that each file is downloaded from the server.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
import requests
from sides import Spent, interleaved, peak_memory, spend, spread, table

from trivet.host.processes import free_ports
from trivet.stacks.environments import build_environment
from trivet.stacks.read import load_stack

STACK = "2024.11-fixed"
VERSIONS = 10_000
PER_MODEL = 100
DOWNLOADED = 1_000
"""Versions that are judged of those behind the proxy: a request for each file takes the server some milliseconds."""

SAVE_MODELS = """
import sys
import mlflow
import numpy as np
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

x, y = np.random.default_rng(0).random((400, 5)), [0, 1] * 200
for name, model in {
    "linear": LogisticRegression(),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
    "boosting": GradientBoostingClassifier(n_estimators=20),
    "forest": RandomForestClassifier(n_estimators=20),
}.items():
    model.fit(x, y)
    signature = mlflow.models.infer_signature(x, model.predict(x))
    mlflow.sklearn.save_model(model, f"{sys.argv[1]}/{name}", signature=signature, pip_requirements=["scikit-learn"])
"""

REGISTER = """
import logging
import os
import shutil
import sys
from pathlib import Path
from mlflow import MlflowClient

database, root, saved, versions, per_model = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:])
logging.disable()
client = MlflowClient(tracking_uri=database, registry_uri=database)
run = client.create_run("0").info
kinds = sorted(saved.iterdir())
for number in range(versions):
    shutil.copytree(
        kinds[number % len(kinds)], root / "0" / run.run_id / "artifacts" / f"model{number}", copy_function=os.link
    )
    name = f"model-{number // per_model}"
    if number % per_model == 0:
        client.create_registered_model(name)
    client.create_model_version(name, f"{run.artifact_uri}/model{number}", run.run_id, await_creation_for=0)
"""


@dataclass(frozen=True)
class Server:
    """A tracking server that runs: its URI, and the process."""

    uri: str
    process: psutil.Popen

    def cpu(self) -> float:
        """Seconds of processors that it and its workers have used."""
        return sum(sum(one.cpu_times()[:2]) for one in [self.process, *self.process.children(recursive=True)])


@dataclass(frozen=True)
class Turn:
    """What one ``trivet fleet`` has spent, and meanwhile the server."""

    spent: Spent
    server: float


def measure(scratch: Path, rounds: int) -> str:
    """Register the versions on both servers, unless ``scratch`` has them, then judge them in turns."""
    python = build_environment(load_stack(STACK).roles["tracking"]).python
    trivet = [str(Path(sys.executable).with_name("trivet")), "fleet", "--stack", STACK, "--format", "json"]
    counts = {"direct": VERSIONS, "proxied": DOWNLOADED}
    for name in counts:
        if not _registered(scratch / name).exists():
            shutil.rmtree(scratch / name, ignore_errors=True)
    with (
        server(python, scratch / "direct", proxied=False) as direct,
        server(python, scratch / "proxied", proxied=True) as proxied,
    ):
        servers = {"direct": direct, "proxied": proxied}
        for name, one in servers.items():
            register(python, scratch, name, counts[name])
            report = json.loads(spend([*trivet, "--mlflow", one.uri], scratch).output)
            assert report["verdicts"]["fine"] == report["total"] == counts[name], report["verdicts"]

        def turn(one: Server) -> Turn:
            before = one.cpu()
            return Turn(spend([*trivet, "--mlflow", one.uri], scratch), one.cpu() - before)

        sides = {name: lambda one=one: turn(one) for name, one in servers.items()}
        turns = interleaved(sides, rounds)
        memory = {name: peak_memory([*trivet, "--mlflow", one.uri], scratch) for name, one in servers.items()}
        memory["tenth"] = peak_memory([*trivet, "--mlflow", direct.uri, "--model", "model-?"], scratch)
    titles = {
        "direct": f"{VERSIONS:,} versions in directories",
        "proxied": f"{DOWNLOADED:,} versions through the server",
    }
    rows = [["", "wall s", "CPU s", "ms of CPU per version", "the server's CPU s", "memory MB"]]
    for name, taken in turns.items():
        cpu = [one.spent.cpu for one in taken]
        rows.append(
            [
                titles[name],
                spread([one.spent.wall for one in taken], 1),
                spread(cpu, 1),
                f"{1000 * median(cpu) / counts[name]:.1f}",
                spread([one.server for one in taken], 1),
                f"{memory[name] / 2**20:.0f}",
            ]
        )
    rows.append([f"{10 * PER_MODEL:,} of the {VERSIONS:,}", "", "", "", "", f"{memory['tenth'] / 2**20:.0f}"])
    return f"trivet fleet, {rounds} rounds, stack {STACK}\n{table(rows)}"


@contextmanager
def server(python: Path, folder: Path, *, proxied: bool) -> Iterator[Server]:
    """A tracking server on SQLite with two workers, until the end of the block."""
    folder.mkdir(exist_ok=True)
    (port,) = free_ports(1)
    command = [str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    root = str(folder / "artifacts")
    command += (
        ["--artifacts-destination", root] if proxied else ["--no-serve-artifacts", "--default-artifact-root", root]
    )
    with (folder / "log").open("wb") as log:
        process = psutil.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            uri = f"http://127.0.0.1:{port}"
            while not _healthy(uri):
                if process.poll() is not None:
                    raise SystemExit((folder / "log").read_text(errors="replace")[-2000:])
                time.sleep(0.2)
            yield Server(uri, process)
        finally:
            for one in [*process.children(recursive=True), process]:
                one.terminate()
            process.wait()


def _healthy(uri: str) -> bool:
    try:
        return requests.get(f"{uri}/health", timeout=2).ok
    except requests.RequestException:
        return False


def register(python: Path, scratch: Path, name: str, versions: int) -> None:
    """Register copies of the saved models on the server ``name``, once; it has no model yet unless it has them all."""
    folder = scratch / name
    if _registered(folder).exists():
        return
    saved = scratch / "saved"
    if not saved.exists():
        trainer = build_environment(load_stack(STACK).roles["trainer"]).python
        unfinished = scratch / "saved-unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        subprocess.run([trainer, "-c", SAVE_MODELS, unfinished], check=True, capture_output=True)
        unfinished.rename(saved)
    command = [python, "-c", REGISTER, f"sqlite:///{folder}/mlflow.db", folder / "artifacts", saved]
    subprocess.run([*command, str(versions), str(PER_MODEL)], check=True)
    _registered(folder).touch()


def _registered(folder: Path) -> Path:
    """The file that marks a server's folder when all its versions are registered."""
    return folder / "registered"
