"""A run that is killed or interrupted at any moment of any fault: after the next run's cleaning the cluster holds what it held before.

kubectl is one of a fake, so that hundreds of moments cost little; ``test_scenarios_killed_cluster.py`` kills on a real cluster.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes import kubectl as fake_kubectl

from trivet.host.journal import Run, clean, leftovers
from trivet.host.kubectl import Kubectl
from trivet.host.signals import unwinding_on_signals
from trivet.model.fault import SERVING, AffectedObject, Verb
from trivet.provision.access import ClusterAccess, StoreAccess
from trivet.targets.cluster.fault_injector import ClusterFaults
from trivet.targets.cluster.namespaces import Namespaces

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("default_signals")]

TIMES = 60
SEED = 20241125
OBJECTS: Sequence[dict[str, Any]] = (
    {
        "kind": "Deployment",
        "metadata": {"name": "mlflow"},
        "spec": {"replicas": 1, "env": [{"name": "A", "value": "1"}]},
    },
    {"kind": "Secret", "metadata": {"name": "store"}, "data": {"key": "c2VjcmV0"}},
    {"kind": "Pod", "metadata": {"name": "web", "ownerReferences": [{"controller": True}]}},
)
TOUCHES = (
    AffectedObject(verb=Verb.CREATE, kind="networkpolicy", name="cut", namespace=SERVING),
    AffectedObject(verb=Verb.PATCH, kind="deployment", name="mlflow", namespace=SERVING, count=2),
    AffectedObject(verb=Verb.PATCH, kind="secret", name="store", namespace=SERVING),
)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "cluster"
    monkeypatch.setenv("PAPER_CLUSTER", str(root))
    monkeypatch.setenv("PAPER_SECONDS", "0.01")
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fake_kubectl, "ROOT", root)
    for document in OBJECTS:
        name = document["metadata"]["name"]
        fake_kubectl.store(fake_kubectl.place(document["kind"], name, "serving"), document)
    script = tmp_path / "kubectl"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {fake_kubectl.__file__} "$@"\n')
    script.chmod(0o755)
    return root


def everything(root: Path) -> dict[str, Any]:
    return {str(path.relative_to(root)): json.loads(path.read_text()) for path in root.rglob("*.json")}


def disturb(folder: Path) -> None:
    """What a run does: take the lease, make faults of every kind, hold them for a moment, and take all back."""
    access = ClusterAccess(
        kubectl=Kubectl(context="fake", binary=str(folder / "kubectl")),
        ingress="",
        tracking_uri="",
        tracking_url="",
        prometheus_url="",
        store=StoreAccess(root="s3://x"),
        images={},
        owned=False,
        pipeline_namespace="pipelines",
        serving_namespace="serving",
    )
    with unwinding_on_signals(), Run() as run:
        names = Namespaces(id=run.id[-8:], pipelines="pipelines", serving="serving")
        faults = ClusterFaults(access, names, run)
        with faults.lease():
            injector = faults.injector(TOUCHES)
            try:
                injector.create(
                    {"kind": "NetworkPolicy", "metadata": {"name": "cut", "namespace": SERVING}, "spec": {}}
                )
                injector.patch("deployment", "mlflow", {"spec": {"replicas": 0, "paused": True}}, namespace=SERVING)
                injector.patch("deployment", "mlflow", {"spec": {"env": []}}, namespace=SERVING)
                injector.patch("secret", "store", {"data": {"key": "d3Jvbmc=", "more": "eA=="}}, namespace=SERVING)
                time.sleep(0.05)
            finally:
                assert injector.revert() == ()


def forked(folder: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        disturb(folder)
        os._exit(0)
    except BaseException:
        os._exit(1)


def length(folder: Path) -> float:
    """Seconds that an undisturbed run takes."""
    began = time.monotonic()
    assert os.waitpid(forked(folder), 0)[1] == 0
    return time.monotonic() - began


def test_killed_at_any_moment_the_next_run_finishes_it(cluster: Path, tmp_path: Path) -> None:
    before = everything(cluster)
    whole = length(tmp_path)
    assert everything(cluster) == before
    moments = random.Random(SEED)
    disturbed = 0
    for number in range(TIMES):
        pid = forked(tmp_path)
        time.sleep(whole * moments.random())
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        disturbed += everything(cluster) != before
        for leftover in leftovers():
            assert clean(leftover) == "", f"kill {number}"
        assert everything(cluster) == before, f"kill {number}"
        assert not leftovers()
    assert disturbed > TIMES // 4, "most kills must hit a run whose faults are in force"


@pytest.mark.parametrize(
    ("number", "send"),
    [(signal.SIGINT, os.kill), (signal.SIGTERM, os.kill), (signal.SIGINT, os.killpg), (signal.SIGHUP, os.killpg)],
    ids=["SIGINT", "SIGTERM", "SIGINT as of a terminal", "SIGHUP as of a terminal"],
)
def test_interrupted_at_any_moment_it_takes_everything_back_itself(
    number: signal.Signals, send: Callable[[int, int], None], cluster: Path, tmp_path: Path
) -> None:
    before = everything(cluster)
    whole = length(tmp_path)
    moments = random.Random(SEED)
    for _ in range(TIMES // 6):
        pid = forked(tmp_path)
        # Not before the handlers are set, when nothing is changed yet and the signal's own effect is right.
        time.sleep(0.15 * whole + 0.85 * whole * moments.random())
        send(pid, number)
        os.waitpid(pid, 0)
        assert not leftovers()
        assert everything(cluster) == before
