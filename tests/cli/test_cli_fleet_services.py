"""``trivet fleet --context`` on the command line, with a kubectl whose cluster is a directory."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import yaml
from commandline import BAD, GOOD, call, refused

FAKE = Path(__file__).parents[1] / "fakes" / "kubectl.py"
NOBODY = "http://127.0.0.1:9"
"""A tracking server that does not answer."""

FLEET = ("fleet", "--stack", "2024.11", "--context", "prod", "--contract", "manifests.*")

pytestmark = pytest.mark.processes


@pytest.fixture(autouse=True)
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster with one service that fits and one that breaks, each in a namespace of its own."""
    root = tmp_path / "cluster"
    config = {"kind": "ConfigMap", "metadata": {"name": "inferenceservice-config"}, "data": {}}
    documents = {"configmap/inferenceservice-config": config}
    for namespace, text in (("team", GOOD), ("other", BAD)):
        service = yaml.safe_load(text)
        service["metadata"]["namespace"] = namespace
        # Where this kubectl finds it in its namespace, and among those of all.
        documents[f"{namespace}/inferenceservices.serving.kserve.io/churn"] = service
        documents[f"inferenceservices.serving.kserve.io/{namespace}"] = service
    for name, document in documents.items():
        file = root / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" = config ] && echo prod || exec {sys.executable} {FAKE} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_CLUSTER", str(root))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)


def test_a_cluster_alone_is_judged_whatever_tracking_server_the_environment_names() -> None:
    done = call(*FLEET)
    assert (done.code, done.err) == (1, "")
    assert "judged: 2 InferenceServices of context prod (their manifests alone), on stack 2024.11" in done.out
    assert "InferenceService/other/churn, manifest spec.predictor.containerSpec: breaks: " in done.out


def test_only_services_of_the_chosen_namespaces_are_judged_and_each_once(tmp_path: Path) -> None:
    done = call(*FLEET, "-n", "team", "-n", "team", "--report", tmp_path / "report")
    assert (done.code, done.err) == (0, "")
    report = json.loads((tmp_path / "report" / "fleet.json").read_text())
    assert [one["namespace"] for one in report["services"]] == ["team"]
    assert (report["context"], report["server"]) == ("prod", "")


def test_a_namespace_without_services_is_wrong_usage_before_the_registry_is_asked() -> None:
    words = refused(*FLEET, "-n", "team", "-n", "taem", "--mlflow", NOBODY)
    assert "unknown namespace with InferenceServices 'taem'\n  remedy: did you mean 'team'?" in words


def test_a_waiver_accepts_what_breaks_a_service_and_the_report_says_what_it_did(here: Path) -> None:
    (here / "pyproject.toml").write_text(
        "[tool.trivet.waivers.old]\n"
        'contract = "manifests.*"\nobject = "InferenceService/other/*"\nreason = "moved"\nexpires = 2099-01-01\n'
    )
    done = call(*FLEET, "--format", "json")
    assert done.code == 0
    report = json.loads(done.out)
    (other, _) = report["services"]
    assert (other["manifest"], other["manifest_not_accepted"]) == ("breaks", "fine")
    assert [(one["name"], one["status"], one["findings"] > 0) for one in report["waivers"]] == [("old", "used", True)]
