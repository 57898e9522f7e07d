"""The main job, as a user calls it, on all shipped stacks: exit code, report and what the verdict rests on."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from commandline import CommandOutput, run

from trivet.engine.plan import make_plan
from trivet.engine.registry import Registry
from trivet.stacks.read import load_stack, shipped_stacks

pytestmark = pytest.mark.processes

EXIT_CODES = {
    "2024.05": 1,
    "2024.05-fixed": 0,
    "2024.08": 1,
    "2024.08-fixed": 0,
    "2024.11": 1,
    "2024.11-fixed": 0,
    "current": 0,
}


def layers(names: Iterable[str]) -> list[Any]:
    """The stacks as parameters; the rows before the newest published one are in the layer ``catalogue``."""
    return [pytest.param(name, marks=pytest.mark.catalogue if name < "2024.11" else ()) for name in names]


@pytest.fixture(scope="module", params=layers(EXIT_CODES))
def ran(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, CommandOutput, dict[str, Any]]:
    """A stack, the output of its run, and the report."""
    folder = tmp_path_factory.mktemp("report")
    # The first run on a machine builds the environments.
    result = run("run", "--stack", request.param, "--report", folder, cwd=folder, timeout=1800)
    return request.param, result, json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_every_shipped_stack_is_run() -> None:
    assert sorted(EXIT_CODES) == shipped_stacks()


def test_the_exit_code_is_the_reports_and_the_one_expected(ran: tuple[str, CommandOutput, dict[str, Any]]) -> None:
    stack, result, report = ran
    assert result.code == EXIT_CODES[stack], result.out[-3000:]
    assert report["exitCode"] == result.code
    assert report["verdict"] == ("conformant", "not conformant")[result.code]
    assert result.err == ""
    assert f"exit code {result.code}: " in result.out


def test_the_report_keeps_its_schema_and_holds_every_contract_once(
    ran: tuple[str, CommandOutput, dict[str, Any]],
) -> None:
    stack, _, report = ran
    schema = json.loads(files("trivet.render").joinpath("conformance-report.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(report)
    planned = make_plan(Registry(), profile=report["profile"], stack=load_stack(stack)).contracts
    assert report["profile"] == "core"
    assert Counter(contract["id"] for contract in report["contracts"]) == Counter(contract.id for contract in planned)
    assert {contract["outcome"] for contract in report["contracts"]} >= {"PASSED"}
    assert "ERROR" not in {contract["outcome"] for contract in report["contracts"]}
    assert report["stack"]["name"] == stack
    for phase in ("pipeline", "storage initializer", "runtime"):
        assert phase in {each["name"] for each in report["phases"]}


def test_a_conformant_stack_has_judged_every_must(ran: tuple[str, CommandOutput, dict[str, Any]]) -> None:
    stack, result, report = ran
    if result.code:
        pytest.skip(f"{stack} is not conformant")
    musts = {contract["id"]: contract["outcome"] for contract in report["contracts"] if contract["level"] == "MUST"}
    assert set(musts.values()) <= {"PASSED", "SKIPPED"}
    assert musts["serving.predictions_equal_the_trainers"] == "PASSED"
    assert musts["environment.dependencies_fit_the_runtime"] == "PASSED"


RUNTIME_1_3_2 = {
    "manifests.format_version_is_served",
    "serving.model_becomes_ready",
    "signatures.runtime_reads_the_signature",
    "signatures.signature_is_complete",
}
"""The MUST contracts that fail with the runtime of KServe 0.12 and 0.13."""
FAILED = {"2024.05": RUNTIME_1_3_2, "2024.08": RUNTIME_1_3_2 | {"environment.dependencies_fit_the_runtime"}}


def test_an_older_row_fails_as_the_ledger_says(ran: tuple[str, CommandOutput, dict[str, Any]]) -> None:
    stack, _, report = ran
    if stack not in FAILED:
        pytest.skip(f"{stack} is another row")
    failed = {one["id"]: one for one in report["contracts"] if one["level"] == "MUST" and one["outcome"] == "FAILED"}
    assert failed.keys() == FAILED[stack]
    assert "unexpected keyword argument 'required'" in failed["serving.model_becomes_ready"]["reason"]


def test_what_does_not_fit_is_found_in_the_files_and_live(ran: tuple[str, CommandOutput, dict[str, Any]]) -> None:
    stack, result, report = ran
    if stack != "2024.11":
        pytest.skip(f"{stack} is conformant or an older row")
    contracts = {contract["id"]: contract for contract in report["contracts"]}
    static, live = contracts["environment.dependencies_fit_the_runtime"], contracts["serving.model_becomes_ready"]
    assert static["outcome"] == live["outcome"] == "FAILED"
    found = {
        package: finding
        for finding in static["findings"]
        for package in ("scikit-learn", "numpy")
        if finding["outcome"] == "FAILED" and package in finding["message"]
    }
    for package, written, there in (("scikit-learn", "1.5.2", "1.4.1"), ("numpy", "2.1.3", "1.26.4")):
        finding = found[package]
        assert re.search(rf"\b{re.escape(written)}\b.*\b{re.escape(there)}\b", finding["message"]), finding
        assert Path(finding["location"]["file"]).name in ("requirements.txt", "MLmodel", "conda.yaml")
        assert finding["location"]["file"] in report["documents"] or finding["location"]["file"].startswith("model/")
        assert finding["location"]["line"] > 0
        assert finding["remedy"] or static["remedy"]
        assert f"{package} {written}" in result.out
    assert "No module named '_loss'" in live["reason"]
