"""The older rows of published version tables, on clusters of their own: what runs is what the stack declares,
and the contracts that fail are those of docs/claims.md.

One cluster after the other is created, judged and deleted. Needs Docker and the images of `trivet images build`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commandline import run

from trivet.settings import load_settings

pytestmark = pytest.mark.catalogue

FAILED: dict[str, set[str]] = {
    "2024.05": {
        "manifests.format_version_is_served",
        "serving.model_becomes_ready",
        "signatures.runtime_reads_the_signature",
        "signatures.signature_is_complete",
    },
    "2024.05-fixed": set(),
    "2024.08": {
        "environment.dependencies_fit_the_runtime",
        "manifests.format_version_is_served",
        "serving.model_becomes_ready",
        "signatures.runtime_reads_the_signature",
        "signatures.signature_is_complete",
    },
    "2024.08-fixed": set(),
}
"""Stack → the MUST contracts that fail on its cluster."""


@pytest.fixture(scope="module", params=sorted(FAILED))
def judged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The report of a run of a stack on its cluster."""
    folder = tmp_path_factory.mktemp("report")
    arguments = ("--target", "kind", "--stack", request.param, "--report", folder)
    try:
        run("run", *arguments, cwd=folder, timeout=3600, TRIVET_IMAGES=load_settings(Path.cwd()).images)
        yield json.loads((folder / "report.json").read_text(encoding="utf-8"))
    finally:
        run("down", "--stack", request.param, cwd=folder, timeout=600)


def outcomes(report: dict[str, Any]) -> dict[str, str]:
    """MUST contract → outcome."""
    return {one["id"]: one["outcome"] for one in report["contracts"] if one["level"] == "MUST"}


def test_what_runs_is_what_the_stack_declares(judged: dict[str, Any]) -> None:
    assert outcomes(judged)["components.versions_are_as_declared"] == "PASSED"
    detected = {fact["name"]: fact["value"] for fact in judged["detected"]}
    assert detected["kserve"] == judged["stack"]["components"]["kserve"]


def test_the_failures_are_those_of_the_ledger(judged: dict[str, Any]) -> None:
    found = outcomes(judged)
    assert {name for name, outcome in found.items() if outcome == "FAILED"} == FAILED[judged["stack"]["name"]]
    assert "ERROR" not in found.values()
