"""A fake cluster, and a scenario whose faults are of every kind: for tests that interrupt or kill it at some moment."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes import kubectl as fake_kubectl
from fakes.kubectl_program import kubectl_program
from fakes.target import STACK, FakeTarget
from trivet.authoring.scenarios import scenario, symptom_observed, unprotected
from trivet.engine.scenarios.play import run as play
from trivet.engine.scenarios.templates import PLAYER, templates
from trivet.host.journal import Run
from trivet.host.kubectl import Kubectl
from trivet.model.fault import SERVING, AffectedObject, Fault, Verb
from trivet.model.scenario import Budgets, Case, Scenario
from trivet.provision.access import ClusterAccess, StoreAccess
from trivet.targets.cluster.fault_injector import ClusterFaults
from trivet.targets.cluster.namespaces import Namespaces

OBJECTS: Sequence[dict[str, Any]] = (
    {
        "kind": "Deployment",
        "metadata": {"name": "mlflow"},
        "spec": {"replicas": 1, "env": [{"name": "A", "value": "1"}]},
    },
    {"kind": "Secret", "metadata": {"name": "store"}, "data": {"key": "c2VjcmV0"}},
)
AFFECTED = (
    AffectedObject(verb=Verb.CREATE, kind="networkpolicy", name="cut", namespace=SERVING),
    AffectedObject(verb=Verb.PATCH, kind="deployment", name="mlflow", namespace=SERVING, count=2),
    AffectedObject(verb=Verb.PATCH, kind="secret", name="store", namespace=SERVING),
)


class DisturbedCluster:
    """A cluster whose objects are files below ``folder``. Its kubectl is a program, or with ``in_process`` a function of this process."""

    def __init__(self, folder: Path, *, in_process: bool = False) -> None:
        self._root = folder / "cluster"
        os.environ["FAKE_CLUSTER"] = str(self._root)
        fake_kubectl.ROOT = self._root
        for document in OBJECTS:
            name = document["metadata"]["name"]
            fake_kubectl.store(fake_kubectl.place(document["kind"], name, "serving"), document)
        kind = _InProcess if in_process else Kubectl
        self._kubectl = kind(context="fake", binary=kubectl_program(folder))
        self._before = self._objects()
        # Read once here, and not in each fork.
        templates(__name__, PLAYER)

    def changed(self) -> list[str]:
        """The objects that are not as they were at first."""
        now = self._objects()
        return sorted(name for name in {*now, *self._before} if now.get(name) != self._before.get(name))

    def play(self) -> str:
        """Play the scenario in a run of its own, and return its verdict."""
        with Run() as run:
            names = Namespaces(id=run.id[-8:], pipelines="pipelines", serving="serving")
            target: Any = FakeTarget(faults=ClusterFaults(self._access(), names, run))
            one = _scenario()
            report = play(
                [(one, one.variants)],
                target=target,
                stack=STACK,
                emit=lambda event: None,
                allow_faults=True,
                context="fake",
            )
        return str(report.scenarios[0].variants[0].verdict)

    def _objects(self) -> dict[str, Any]:
        return {str(path.relative_to(self._root)): json.loads(path.read_text()) for path in self._root.rglob("*.json")}

    def _access(self) -> ClusterAccess:
        return ClusterAccess(
            kubectl=self._kubectl,
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


def _scenario() -> Scenario:
    def inject(injector: Any) -> None:
        injector.create({"kind": "NetworkPolicy", "metadata": {"name": "cut", "namespace": SERVING}, "spec": {}})
        injector.patch("deployment", "mlflow", {"spec": {"replicas": 0, "paused": True}}, namespace=SERVING)
        injector.patch("deployment", "mlflow", {"spec": {"env": []}}, namespace=SERVING)
        injector.patch("secret", "store", {"data": {"key": "d3Jvbmc=", "more": "eA=="}}, namespace=SERVING)

    def in_force(injector: Any) -> str:
        return "away" if not injector.get("deployment", "mlflow", namespace=SERVING)["spec"]["replicas"] else ""

    def symptom(watch: Any) -> Any:
        time.sleep(0.05)
        return symptom_observed("it hurts")

    @scenario(
        title="t",
        happens="h",
        recognise="r",
        remedy="m",
        variants=[unprotected("bare", "as it is")],
        affected_objects=AFFECTED,
        budgets=Budgets(steady_state=5, symptom=5, recovery=5),
    )
    def incident(faults: Any, variant: str) -> Iterator[Case]:
        fault = Fault(name="f", affected_objects=AFFECTED, inject=inject, verify_injected=in_force)
        yield Case(fault=fault, steady_state=lambda: "well", symptom=symptom)

    return incident


@dataclass(frozen=True, kw_only=True)
class _InProcess(Kubectl):
    """For thousands of calls: a program takes 30 ms to start."""

    def attempt(
        self, *arguments: str, stdin: str | bytes | None = None, seconds: float = 0.0
    ) -> subprocess.CompletedProcess[bytes]:
        given, out, err, status = sys.stdin, io.StringIO(), io.StringIO(), 0
        sys.stdin = io.StringIO(stdin.decode() if isinstance(stdin, bytes) else stdin or "")
        try:
            with redirect_stdout(out), redirect_stderr(err):
                fake_kubectl.main(self.argv(*arguments)[1:])
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            sys.stdin = given
        return subprocess.CompletedProcess(arguments, status, out.getvalue().encode(), err.getvalue().encode())
