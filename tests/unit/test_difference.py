"""The difference of two reports: what counts as newly failed, and the exit code."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import jsonschema
import pytest
from commandline import refused
from samples.reports import SAMPLES, conformant, empty, hostile, not_conformant

from trivet.engine.difference import difference
from trivet.engine.run import not_offered
from trivet.errors import UsageError
from trivet.model.difference import ChangeKind, ContractChange, ReportDifference
from trivet.model.feature import lacking
from trivet.model.finding import Finding, Location, failed, inconclusive, not_applicable, passed
from trivet.model.outcome import Level, Outcome, combine
from trivet.model.report import STATIC, ConformanceReport, ContractResult, InputError, Judged
from trivet.model.waiver import FindingWaiver
from trivet.render import difference_json, report_json
from trivet.render.difference import WRITERS, markdown, text

FAILED, PASSED = failed("not so"), passed("fine")
UNKNOWN, SKIPPED = inconclusive("never ready"), not_applicable("applies to kfp>=2.16; the stack has 2.9.0")
ERROR = Finding(outcome=Outcome.ERROR, message="the check raised KeyError")
WAIVER = FindingWaiver(name="w", reason="known", owner="", expires=date(2027, 3, 1), expired=False)
WAIVED = replace(FAILED, waiver=WAIVER)
EXPIRED = replace(FAILED, waiver=replace(WAIVER, expired=True))


def result(*findings: Finding, identity: str = "paths.one", level: Level = Level.MUST) -> ContractResult:
    failing = [one for one in findings if one.outcome.deviates and not one.accepted]
    outcome = combine(one.outcome for one in failing or findings)
    return ContractResult(
        id=identity,
        title="A must B",
        level=level,
        seam=("mlflow", "kserve"),
        outcome=outcome,
        reason=next(one.message for one in failing or findings if one.outcome is outcome),
        rationale="because",
        remedy="do C",
        findings=findings,
    )


def report(*results: ContractResult, **changed: object) -> ConformanceReport:
    always = result(PASSED, identity="paths.always")
    return replace(conformant(), contracts=(always, *results), **changed)  # type: ignore[arg-type]


def between(
    old: Sequence[Finding] | None, new: Sequence[Finding] | None, level: Level = Level.MUST
) -> ReportDifference:
    """The difference for one contract with these findings; None for a report without it."""
    sides = [report(*([result(*one, level=level)] if one is not None else [])) for one in (old, new)]
    return difference(*sides)


@pytest.mark.parametrize(
    ("old", "new", "kind", "code"),
    [
        ([PASSED], [PASSED], None, 0),
        ([PASSED], [FAILED], "newly failed", 1),
        ([UNKNOWN], [FAILED], "newly failed", 1),
        ([SKIPPED], [FAILED], "newly failed", 1),
        ([WAIVED], [FAILED], "newly failed", 1),
        ([WAIVED], [EXPIRED], "newly failed", 1),
        (None, [FAILED], "newly failed", 1),
        ([FAILED], [FAILED], None, 0),
        ([FAILED], [failed("for another reason")], "other reason", 0),
        ([FAILED], [FAILED, failed("and this")], "newly failed", 1),
        ([FAILED, failed("and this")], [FAILED], "fewer findings", 0),
        ([FAILED], [WAIVED], "newly accepted", 0),
        ([PASSED], [WAIVED], "newly accepted", 0),
        ([WAIVED], [WAIVED], None, 0),
        ([FAILED], [PASSED], "newly passed", 0),
        ([WAIVED], [PASSED], "newly passed", 0),
        ([SKIPPED], [PASSED], "newly passed", 0),
        ([PASSED], [UNKNOWN], "newly inconclusive", 2),
        ([FAILED], [UNKNOWN], "newly inconclusive", 2),
        ([PASSED], [ERROR], "newly inconclusive", 2),
        (None, [UNKNOWN], "newly inconclusive", 2),
        ([UNKNOWN], [UNKNOWN], None, 0),
        ([UNKNOWN], [ERROR], "other reason", 0),
        ([PASSED], [SKIPPED], "no longer judged", 0),
        ([SKIPPED], [SKIPPED], None, 0),
        (None, [PASSED], "added", 0),
        (None, [SKIPPED], "added", 0),
        ([PASSED], None, "removed", 2),
        ([FAILED], None, "removed", 2),
        ([SKIPPED], None, "removed", 0),
    ],
)
def test_how_a_contract_differs_and_what_that_means(
    old: list[Finding] | None, new: list[Finding] | None, kind: str | None, code: int
) -> None:
    found = between(old, new)
    assert [change.kind.value for change in found.contracts] == ([kind] if kind else [])
    assert found.exit_code == code
    assert bool(found.unclear) is (code == 2)


def test_a_should_decides_nothing_unless_it_is_an_error() -> None:
    assert between([PASSED], [FAILED], Level.SHOULD).exit_code == 0
    assert between([PASSED], [UNKNOWN], Level.SHOULD).exit_code == 0
    assert between([PASSED], None, Level.SHOULD).exit_code == 0
    assert between([PASSED], [ERROR], Level.SHOULD).exit_code == 2


def at(message: str, file: str, thing: str = "") -> Finding:
    return failed(message, location=Location(file=file, object=thing or None))


def test_a_failure_in_a_further_file_is_new_and_another_in_the_same_file_is_another_reason() -> None:
    assert between([at("a", "one.yaml")], [at("a", "one.yaml"), at("a", "two.yaml")]).exit_code == 1
    moved = between([at("a", "one.yaml")], [at("a", "two.yaml")])
    assert (moved.exit_code, moved.contracts[0].kind) == (1, ChangeKind.NEWLY_FAILED)
    changed = between([at("a", "one.yaml")], [at("b", "one.yaml")])
    assert (changed.exit_code, changed.contracts[0].kind) == (0, ChangeKind.OTHER_REASON)
    assert [one.message for one in changed.contracts[0].appeared] == ["b"]
    assert [one.location for one in changed.contracts[0].gone] == ["one.yaml"]


def test_lines_and_the_names_of_pods_make_no_difference() -> None:
    old, new = (
        failed(f"port {port}", location=Location(file="a.yaml", line=port, object=f"Pod/churn-{name}"))
        for port, name in ((1, "7d9c5bb8f9-x2x4z"), (2, "5f6d8b7c9b-lkj2q"))
    )
    assert between([old], [new]).contracts == ()


class Offering:
    name, clients = "local", ()


@pytest.mark.parametrize(
    "reason",
    [lacking(["ScaleToZero"], {}), not_offered(["metrics"], Offering())],  # type: ignore[arg-type]
)
def test_a_must_that_the_target_can_no_longer_show_is_inconclusive(reason: str) -> None:
    found = between([PASSED], [not_applicable(reason)])
    assert found.exit_code == 2
    assert found.unclear == (f"paths.one was PASSED, and is no longer judged: {reason}",)


def test_a_report_in_which_nothing_was_judged_is_no_comparison() -> None:
    assert difference(empty(), conformant()).exit_code == 2
    assert "the new report has no contract that was judged" in difference(conformant(), empty()).unclear
    assert difference(conformant(), empty()).exit_code == 2


def test_a_file_that_can_no_longer_be_read_is_inconclusive() -> None:
    error = InputError(message="a.yaml is not YAML")
    assert difference(report(), report(errors=(error,))).exit_code == 2
    assert difference(report(errors=(error,)), report(errors=(error,))).exit_code == 0


def test_components_and_features_are_compared() -> None:
    old = report(features={"Knative": "served"})
    newer = replace(old.stack, components={"kfp": "2.17.0", "mlflow": "2.17.2", "kserve": "0.14.1", "store": "1"})
    found = difference(old, report(features={"Prometheus": "answered"}, stack=newer))
    assert [(one.name, one.before, one.after) for one in found.components] == [
        ("kfp", "2.9.0", "2.17.0"),
        ("runtime", "1.5.0", None),
        ("store", None, "1"),
    ]
    assert (found.features_gained, found.features_lost) == ({"Prometheus": "answered"}, {"Knative": "served"})


def test_features_of_a_report_that_measured_none_are_not_compared() -> None:
    judged = Judged(at="2026-11-30T00:00:00+00:00", stack="current", machine="a", trivet="0.1")
    full = report(features={"Knative": "served"})
    reused = replace(full, features={}, contracts=tuple(replace(one, reused=judged) for one in full.contracts))
    found = difference(full, reused)
    assert (found.features_lost, found.new.measured) == ({}, False)
    assert "features    not compared: a results store had all of the new report" in text(found)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_report_does_not_differ_from_itself(name: str) -> None:
    sample = SAMPLES[name]()
    found = difference(sample, sample)
    assert (found.contracts, found.unchanged) == ((), len(sample.contracts))
    assert found.exit_code == (2 if name == "empty" else 0)


def test_the_worst_changes_come_first() -> None:
    kinds = [change.kind for change in difference(conformant(), not_conformant()).contracts]
    assert kinds == sorted(kinds, key=list(ChangeKind).index)
    assert kinds[0] is ChangeKind.NEWLY_FAILED


def test_a_report_of_lint_is_not_compared_with_one_of_a_run() -> None:
    with pytest.raises(UsageError, match="one is the report of lint and the other of a run"):
        difference(report(target=STATIC), report())
    assert difference(report(target=STATIC), report(target=STATIC)).exit_code == 0


# how it is shown


@pytest.mark.parametrize("old", SAMPLES.values(), ids=SAMPLES.keys())
@pytest.mark.parametrize("new", SAMPLES.values(), ids=SAMPLES.keys())
def test_every_difference_is_valid_under_the_published_schema_and_printable(
    old: type[ConformanceReport], new: type[ConformanceReport]
) -> None:
    found = difference(old(), new())  # type: ignore[call-arg]
    document = json.loads(difference_json.write(found))
    jsonschema.validate(document, difference_json.schema(), jsonschema.Draft202012Validator)
    assert document["exitCode"] == found.exit_code
    for write in WRITERS.values():
        write(found).encode()
        assert write(found).endswith("\n")
    for written in (text(found), markdown(found)):
        assert [char for char in written if not char.isprintable() and char != "\n"] == []


def test_the_text_names_what_differs_and_ends_with_the_verdict() -> None:
    shown = text(between([PASSED], [FAILED]))
    assert "newly failed (1)\n  paths.one · MUST · PASSED → FAILED\n    reason    not so\n" in shown
    assert shown.endswith("1 newly failed, 1 unchanged\na MUST newly failed\nexit code 1\n")
    shown = text(between([FAILED], [failed("for another reason")]))
    assert "    before    not so\n    reason    for another reason\n" in shown
    assert shown.endswith("nothing newly failed\nexit code 0\n")
    shown = text(between([PASSED], None))
    assert "inconclusive: paths.one was PASSED, and is missing in the new report\n" in shown
    assert "removed     paths.one\n" in shown


def test_the_markdown_is_a_table_in_which_nothing_is_markup() -> None:
    shown = markdown(between([PASSED], [failed("a | b <script> @someone `x`\nnext")]))
    assert shown.startswith("### `2024.11-fixed` → `2024.11-fixed`: a MUST newly failed\n")
    (row,) = [line for line in shown.splitlines() if line.startswith("| newly failed")]
    assert row.count("|") - row.count("\\|") == 7
    assert "<script>" not in markdown(difference(conformant(), hostile())).replace("\\<script", "")


def test_a_difference_names_the_findings_of_a_contract_that_fails_in_both() -> None:
    many = [at(f"deviation {'x' * number}", f"{number}.yaml") for number in range(30)]
    change: ContractChange = between([FAILED], [FAILED, *many]).contracts[0]
    assert len(change.appeared) == 20
    assert change.appeared[0].location == "0.yaml"
    assert "15 more; see the JSON" in text(between([FAILED], [FAILED, *many]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read old.json: No such file or directory"),
        (b"{", "old.json: not a ConformanceReport"),
        (b"\xff\xfe", "old.json is not a ConformanceReport: it is not text in UTF-8"),
        (b'{"kind": "ScenarioReport", "apiVersion": "trivet.dev/v1alpha2"}', "its kind is 'ScenarioReport'"),
        (b'{"kind": "ConformanceReport", "apiVersion": "trivet.dev/v1alpha1"}', "has apiVersion trivet.dev/v1alpha1"),
    ],
)
def test_what_is_no_report_of_this_version_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("old.json").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        report_json.read_file(Path("old.json"))
    assert caught.value.message.startswith(("old.json", "cannot read old.json"))
    assert words in caught.value.message


@pytest.mark.parametrize(
    "content", [b'{"kind":"\xff"}', b'{"kind":"ConformanceReport","\xff":1}', b"\xff\xfe", b"{", b"[]"]
)
def test_a_file_that_is_no_report_has_no_kind_and_comparing_it_is_wrong_usage(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(content)
    assert report_json.kind_of(file) == ""
    assert "bad.json" in refused("diff", file, file)


@pytest.mark.parametrize(
    ("old", "new"), [([PASSED], [FAILED]), ([PASSED], [PASSED]), ([PASSED], [UNKNOWN]), ([FAILED], [PASSED])]
)
def test_junit_and_annotations_fail_exactly_when_something_newly_failed_or_is_inconclusive(
    old: Sequence[Finding], new: Sequence[Finding]
) -> None:
    found = between(old, new)
    root = ET.fromstring(WRITERS["junit"](found))
    failing = root.findall("testsuite/testcase/failure") + root.findall("testsuite/testcase/error")
    assert bool(failing) == bool(found.exit_code)
    assert ("::error " in WRITERS["github"](found)) == bool(found.exit_code)


def test_the_page_has_what_newly_failed_and_no_markup_of_a_report() -> None:
    page = WRITERS["html"](difference(report(result(PASSED)), report(result(failed("<b>not so</b>")))))
    assert "newly failed" in page
    assert "&lt;b&gt;not so&lt;/b&gt;" in page
    assert "<script" not in page
