"""On a kind cluster: what `trivet monitor render` writes scrapes its predictors, and an incident's alert fires while it is played and stays
silent on the platform that is protected."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commandline import run

from trivet.host.journal import Run
from trivet.host.processes import Processes
from trivet.integration.prometheus import Prometheus
from trivet.provision.access import ClusterAccess
from trivet.provision.kind.up import ImageSource, up
from trivet.settings import load_settings
from trivet.stacks.read import load_stack
from trivet.targets.cluster.proxy import start_forwarding
from trivet.toolkit.waiting import eventually

pytestmark = pytest.mark.catalogue

STACK = "2024.11-fixed"
NAME, NAMESPACE, PORT = "prometheus-alerts", "trivet-alerts", 9090
IMAGE = "docker.io/prom/prometheus:v3.10.0"
"""That of the platform's own Prometheus, whose rules are none."""
SCRAPED = 60.0
"""Seconds until what runs is scraped: two intervals."""

WAIT = 300.0
"""Seconds for an alert: two scrapes, two minutes for which it must hold, and an evaluation take up to 210."""

INCIDENTS = {
    "signature_changed.promoted_under_clients": ("added-column", "checked", "InferenceErrors"),
}
"""Scenario → the variant in which its incident happens, its sound twin, and the alert."""


def objects(rendered: Path) -> Sequence[dict[str, Any]]:
    """A Prometheus in a namespace of its own, with the rendered configuration."""
    labels = {"app": NAME}
    metadata = {"name": NAME, "namespace": NAMESPACE}
    files = {path.name: path.read_text(encoding="utf-8") for path in sorted(rendered.iterdir())}
    of_role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": NAME},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME},
            "roleRef": of_role,
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "serviceAccountName": NAME,
                        "containers": [
                            {
                                "name": NAME,
                                "image": IMAGE,
                                "volumeMounts": [{"name": "config", "mountPath": "/etc/prometheus"}],
                                "readinessProbe": {"httpGet": {"path": "/-/ready", "port": PORT}},
                            }
                        ],
                        "volumes": [{"name": "config", "configMap": {"name": NAME}}],
                    },
                },
            },
        },
    ]


@pytest.fixture(scope="module")
def access() -> ClusterAccess:
    settings = load_settings(Path.cwd())
    return up(load_stack(STACK), lambda event: None, ImageSource(kind=settings.images, mirror=settings.mirror))


@pytest.fixture(scope="module")
def prometheus(access: ClusterAccess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("monitoring")
    run("monitor", "render", "--stack", STACK, folder, cwd=folder)
    made = objects(folder / "prometheus")
    try:
        for document in made:
            access.kubectl.run("apply", "-f", "-", stdin=json.dumps(document))
        access.kubectl.run("-n", NAMESPACE, "rollout", "status", f"deployment/{NAME}", "--timeout=180s")
        with Run() as own, closing(Processes(own)) as processes:
            command = access.kubectl.argv("-n", NAMESPACE, "port-forward", f"deployment/{NAME}", f":{PORT}")
            _, url = start_forwarding(processes, "prometheus", command, r"Forwarding from (\S+) ->")
            yield Prometheus(url)
    finally:
        for document in reversed(made):
            access.kubectl.run("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=json.dumps(document))


@pytest.mark.parametrize("scenario", INCIDENTS)
def test_the_alert_of_an_incident_fires_and_is_silent_on_the_sound_twin(
    prometheus: Prometheus, scenario: str, tmp_path: Path
) -> None:
    happens, sound, alert = INCIDENTS[scenario]
    chosen = [f"{scenario}[{variant}]" for variant in (happens, sound)]
    where = ("--target", "kind", "--stack", STACK, "--report", tmp_path)
    measuring = ("--alerts", prometheus.url, "--alert-wait", f"{WAIT:g}")
    settings = load_settings(Path.cwd())
    done = run(
        "scenario", "run", *chosen, *where, *measuring, cwd=tmp_path, timeout=1800, TRIVET_IMAGES=settings.images
    )
    assert done.code == 0, done
    report = json.loads((tmp_path / "scenarios.json").read_text(encoding="utf-8"))
    (result,) = report["scenarios"]
    measured = {one["name"]: one["measured"] for one in result["variants"]}
    print(scenario, {name: (one.get("alert"), one.get("alert_seconds")) for name, one in measured.items()})
    assert measured[happens]["alert"] == alert
    assert 0 < measured[happens]["alert_seconds"] < WAIT
    assert measured[sound]["alert"].startswith("none in")
    # The pods of both variants were scraped: silence is no lack of data.
    eventually(
        "the predictors to have been scraped",
        lambda: prometheus.query('count_over_time(up{job="trivet-predictor"}[1h])'),
        timeout=SCRAPED,
    )
