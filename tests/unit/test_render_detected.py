"""How reports show which versions were detected, which are declared only, and what was done to a cluster before judging."""

from __future__ import annotations

from dataclasses import replace

from samples.reports import conformant

from trivet.model.detection import Fact
from trivet.model.report import PREPARATION, ConformanceReport
from trivet.render import html, report_json
from trivet.render.summary import summary

DETECTED = (
    Fact(name="mlflow", value="2.17.2", source="GET http://mlflow.example/version"),
    Fact(name="kserve", reason="deployments.apps is forbidden"),
)


def report() -> ConformanceReport:
    whole = conformant()
    stack = replace(whole.stack, components={"kfp": "2.9.0", "mlflow": "2.17.2", "kserve": "0.14.1"})
    return replace(whole, stack=stack, detected=DETECTED, handover={PREPARATION: "repaired in this run: x (not found)"})


def test_the_terminal_says_what_was_detected_and_what_is_declared_only() -> None:
    lines = summary(report()).splitlines()
    assert "detected MLflow 2.17.2; declared only: KFP, KServe" in lines
    assert "cluster repaired in this run: x (not found)" in lines


def test_a_run_that_asked_for_no_version_says_nothing_of_it() -> None:
    assert "detected" not in summary(conformant())
    assert "declared only" not in html.write(conformant())


def test_the_page_says_beside_each_version_where_it_was_detected_or_why_not() -> None:
    page = html.write(report())
    assert "detected 2.17.2: GET http://mlflow.example/version" in page
    assert "declared; deployments.apps is forbidden" in page


def test_the_report_has_the_facts_and_is_read_again() -> None:
    assert report_json.read(report_json.write(report())).detected == DETECTED
