"""Composed stacks on clusters of their own: what runs is what the composed stack declares, and it is judged there.

One cluster after the other is created, judged, detected and deleted. Needs Docker and the images of `trivet images build` for the stacks
2024.11-fixed and current.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commandline import run

from trivet.provision.kind.state import folder_of, known_clusters
from trivet.settings import load_settings
from trivet.stacks.composed import compose, read_parts
from trivet.stacks.read import FACTS_FILE, load_stack

pytestmark = pytest.mark.catalogue

BASE = "2024.11-fixed"
FAILED: dict[str, set[str]] = {
    "tracking=current": set(),
    "initializer=current": set(),
    "runtime=current": set(),
    "kserve=current": set(),
}
"""What is from elsewhere → the MUST contracts that fail."""
RUNS = {
    "tracking=current": {"mlflow": "3.17.2", "storage initializer": "v0.14.1", "kserve": "0.14.1"},
    "initializer=current": {"mlflow": "2.17.2", "storage initializer": "v0.20.0", "kserve": "0.14.1"},
    "runtime=current": {"runtime": "1.7.1", "storage initializer": "v0.14.1", "kserve": "0.14.1"},
    "kserve=current": {"runtime": "1.5.0", "storage initializer": "v0.14.1", "kserve": "0.20.0"},
}
"""What is from elsewhere → the end of what is detected."""


@pytest.fixture(scope="module", params=sorted(FAILED, reverse=True))
def judged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """What is from elsewhere, and the folder with the report of a run and the stack that was detected after it."""
    folder = tmp_path_factory.mktemp("report")
    stack = ("--stack", BASE, "--with", request.param)
    images = load_settings(Path.cwd()).images
    try:
        run("run", "--target", "kind", *stack, "--report", folder, cwd=folder, timeout=3600, TRIVET_IMAGES=images)
        cluster = folder_of(compose(load_stack(BASE), read_parts([request.param])))
        where = ("--context", cluster.context, "--kubeconfig", cluster.kubeconfig)
        run("detect", folder / "detected", *where, cwd=folder, timeout=300)
        yield request.param, folder
    finally:
        # The images are not named: deleting needs none.
        run("down", *stack, cwd=folder, timeout=600)
    assert cluster.name not in {one.name for one in known_clusters()}


@pytest.fixture(scope="module")
def report(judged: tuple[str, Path]) -> dict[str, Any]:
    """The report of the run."""
    content: dict[str, Any] = json.loads((judged[1] / "report.json").read_text(encoding="utf-8"))
    return content


def test_what_runs_is_what_the_composed_stack_declares(judged: tuple[str, Path], report: dict[str, Any]) -> None:
    assert report["stack"]["name"] == f"{BASE}+{judged[0]}"
    facts = json.loads((judged[1] / "detected" / FACTS_FILE).read_text(encoding="utf-8"))["facts"]
    detected = {fact["name"]: fact["value"] for fact in facts}
    for name, end in RUNS[judged[0]].items():
        assert detected[name].endswith(end)
    outcomes = {one["id"]: one["outcome"] for one in report["contracts"]}
    assert outcomes["components.versions_are_as_declared"] == "PASSED"


def test_the_failures_are_those_that_the_composition_has(judged: tuple[str, Path], report: dict[str, Any]) -> None:
    outcomes = {one["id"]: one["outcome"] for one in report["contracts"] if one["level"] == "MUST"}
    assert {name for name, outcome in outcomes.items() if outcome == "FAILED"} == FAILED[judged[0]]
    assert "ERROR" not in outcomes.values()
    # KServe's initializer of 0.20.0 skips empty files (kserve_storage.py, _download_s3); 0.14.1's downloads them.
    (found,) = (one for one in report["contracts"] if one["id"] == "paths.empty_files_are_downloaded")
    assert found["outcome"] == ("FAILED" if judged[0].startswith("initializer") else "PASSED")


def test_each_role_is_detected_as_that_of_the_stack_that_it_is_from(judged: tuple[str, Path]) -> None:
    part, folder = judged
    detected, composed = load_stack(str(folder / "detected")), compose(load_stack(BASE), read_parts([part]))
    for role in ("tracking", "initializer", "runtime"):
        assert detected.roles[role].pins == composed.roles[role].pins
