"""``trivet fleet`` over 10,000 registered versions on a real MLflow server, and where its time goes.

The models are four kinds of scikit-learn that the stack's trainer saved, copied under the artifact root of one run, and registered over
MLflow's API. Two sides: the artifact root is a directory of this machine, where trivet reads it, and the server proxies it, so that each
file is downloaded from the server, which takes processors of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil
import requests
from sides import interleaved, spend, spread, table

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


def measure(scratch: Path, rounds: int) -> str:
    """Register the versions on both servers, then judge them in turns."""
    stack = load_stack(STACK)
    trainer = build_environment(stack.roles["trainer"]).python
    saved = scratch / "saved"
    saved.mkdir()
    subprocess.run([trainer, "-c", SAVE_MODELS, saved], check=True, capture_output=True)
    python = build_environment(stack.roles["tracking"]).python
    roots = {"direct": scratch / "direct", "proxied": scratch / "proxied"}
    options = {
        "direct": ["--no-serve-artifacts", "--default-artifact-root", str(roots["direct"])],
        "proxied": ["--artifacts-destination", str(roots["proxied"])],
    }
    trivet = [str(Path(sys.executable).with_name("trivet")), "fleet", "--stack", STACK, "--format", "json"]
    with (
        server(python, scratch / "a", options["direct"]) as direct,
        server(python, scratch / "b", options["proxied"]) as proxied,
    ):
        register(direct, roots["direct"], saved, VERSIONS)
        register(proxied, roots["proxied"], saved, DOWNLOADED)
        sides = {
            f"{VERSIONS:,} versions in directories": lambda: spend([*trivet, "--mlflow", direct], scratch),
            f"{DOWNLOADED:,} versions through the server": lambda: spend([*trivet, "--mlflow", proxied], scratch),
        }
        for side in sides.values():
            report = json.loads(side().output)
            assert report["verdicts"]["fine"] == report["total"], report["verdicts"]
        turns = interleaved(sides, rounds)
    rows = [["", "wall s", "CPU s", "ms of CPU per version"]]
    for (name, spent), number in zip(turns.items(), (VERSIONS, DOWNLOADED), strict=True):
        cpu = [one.cpu for one in spent]
        rows.append(
            [name, spread([one.wall for one in spent], 1), spread(cpu, 1), f"{1000 * median(cpu) / number:.1f}"]
        )
    return f"trivet fleet, {rounds} rounds, stack {STACK}; the server's own CPU is not counted\n{table(rows)}"


@contextmanager
def server(python: Path, folder: Path, options: list[str]) -> Iterator[str]:
    """A tracking server on SQLite with two workers, until the end of the block."""
    folder.mkdir()
    (port,) = free_ports(1)
    command = [str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", *options]
    with (folder / "log").open("wb") as log:
        process = psutil.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            uri = f"http://127.0.0.1:{port}"
            while not _healthy(uri):
                if process.poll() is not None:
                    raise SystemExit((folder / "log").read_text(errors="replace")[-2000:])
                time.sleep(0.2)
            yield uri
        finally:
            for one in [*process.children(recursive=True), process]:
                one.terminate()
            process.wait()


def _healthy(uri: str) -> bool:
    try:
        return requests.get(f"{uri}/health", timeout=2).ok
    except requests.RequestException:
        return False


def register(uri: str, root: Path, saved: Path, versions: int) -> None:
    """Copy the saved models below the artifact root of one run, and register each copy."""
    run = _post(uri, "runs/create", experiment_id="0")["run"]["info"]
    store = root / "0" / run["run_id"] / "artifacts"
    kinds = sorted(saved.iterdir())
    for number in range(versions):
        shutil.copytree(kinds[number % len(kinds)], store / f"model{number}", copy_function=os.link)
    for model in range((versions + PER_MODEL - 1) // PER_MODEL):
        _post(uri, "registered-models/create", name=f"model-{model}")

    def one_model(model: int) -> None:
        for number in range(model * PER_MODEL, min(versions, (model + 1) * PER_MODEL)):
            source = f"{run['artifact_uri']}/model{number}"
            _post(uri, "model-versions/create", name=f"model-{model}", source=source, run_id=run["run_id"])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one_model, range((versions + PER_MODEL - 1) // PER_MODEL)))


def _post(uri: str, endpoint: str, **body: str) -> dict[str, dict[str, dict[str, str]]]:
    answer = requests.post(f"{uri}/api/2.0/mlflow/{endpoint}", json=body, timeout=60)
    answer.raise_for_status()
    found: dict[str, dict[str, dict[str, str]]] = answer.json()
    return found
