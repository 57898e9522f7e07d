"""The statements over KFP's MLflow plugin, the record of what was measured, and the table in the documentation agree with each other."""

from __future__ import annotations

import json
from pathlib import Path

from trivet.contracts.plugin_statements import MEASURED, READ, RECORD, RELEASE, STATEMENTS, table
from trivet.engine.registry import Registry

ROOT = Path(__file__).parents[2]
CASES = {one["name"]: one for one in json.loads((ROOT / RECORD).read_text(encoding="utf-8"))["cases"]}


def test_there_are_26_statements_in_order_each_with_a_source() -> None:
    assert [one.number for one in STATEMENTS] == list(range(1, 27))
    assert all(one.sources and one.says and one.observed for one in STATEMENTS)


def test_what_is_called_measured_has_cases_of_the_record_and_no_case_is_left_out() -> None:
    named = {name for one in STATEMENTS for name in one.cases}
    assert named == set(CASES)
    for one in STATEMENTS:
        assert one.state.startswith(MEASURED if one.cases else READ)
        for name in one.cases:
            assert one.number in CASES[name]["statements"], f"{name} says nothing of statement {one.number}"


def test_every_contract_over_the_plugin_judges_a_statement_and_every_named_one_exists() -> None:
    existing = {name.partition(".")[2] for name in Registry().contracts if name.startswith("mlflow_plugin.")}
    assert {name for one in STATEMENTS for name in one.contracts} == existing


def test_the_documentation_has_the_table() -> None:
    page = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
    assert table() in page, (
        "run `python -m trivet.contracts.plugin_statements` and put its table into docs/pipelines.md"
    )


def test_what_the_contracts_say_was_measured_is_in_the_record() -> None:
    """The figures and messages in the texts of ``mlflow_plugin.*``."""
    assert f"_{RELEASE}.json" in RECORD
    refused = CASES["host_of_a_service"]["seen"]["output"]
    assert (refused["state"], refused["message"]) == ("PLUGIN_FAILED", "MLflow API error (HTTP 403, ): ")
    without = CASES["workspaces_by_default_server_without"]["seen"]
    assert without["output"]["message"].endswith("server returned 500")
    assert 20 < without["seconds"] < 30
    for name in ("connection_refused", "name_does_not_resolve"):
        assert 25 < CASES[name]["seen"]["seconds"] < 28
    for name in ("remedies", "remedy_without_workspaces"):
        assert CASES[name]["seen"]["output"]["state"] == "PLUGIN_SUCCEEDED"
    away = CASES["away_at_the_start_of_a_task"]["seen"]
    assert "MLflow run ID is empty" in away["error of the variables, which the driver returns"]
    assert CASES["terminated_run"]["seen"]["in the loop"] == {"status": "RUNNING", "end_time": False}
