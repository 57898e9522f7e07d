"""The files of ``--report DIR``: what a program reads out of each is what the report says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
from samples.reports import HOSTILE, SAMPLES, accepted, conformant, empty, hostile, not_conformant

from trivet.errors import UsageError
from trivet.model.finding import IgnoredFinding, Location, Replacement, failed, inconclusive
from trivet.model.outcome import Outcome
from trivet.model.report import ConformanceReport
from trivet.render import (
    difference_json,
    fleet_json,
    github,
    html,
    junit,
    matrix_json,
    operation_json,
    report_json,
    report_markdown,
    results_schema,
    sarif,
    verdict_json,
)
from trivet.render.builtin import writers

every_sample = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
Sample = Callable[[], ConformanceReport]


@every_sample
@pytest.mark.parametrize("name", writers())
def test_every_file_is_utf8_without_control_characters(sample: Sample, name: str) -> None:
    text = writers()[name].write(sample())
    text.encode("utf-8")
    assert text.endswith("\n")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", text)


def test_listing_the_writers_imports_nothing_heavy() -> None:
    code = (
        "import sys; from trivet.render.builtin import writers; writers(); "
        "print(sorted({'jinja2', 'msgspec', 'rich', 'yaml', 'requests'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# report.json


@pytest.mark.parametrize(
    "writer",
    [report_json, difference_json, fleet_json, matrix_json, operation_json, results_schema, verdict_json],
    ids=lambda writer: writer.SCHEMA_FILE,
)
def test_the_published_schema_is_current(writer: ModuleType) -> None:
    published = files("trivet.render").joinpath(writer.SCHEMA_FILE).read_text(encoding="utf-8")
    assert published == report_json.schema_text(writer.schema()), "write schema_text(schema()) of it to the file anew"


@every_sample
def test_a_report_is_valid_under_the_published_schema(sample: Sample) -> None:
    jsonschema.Draft202012Validator.check_schema(report_json.schema())
    document = json.loads(report_json.write(sample()))
    jsonschema.validate(document, report_json.schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document["contracts"][0].update(outcome="OK"),
        lambda document: document["contracts"][0].pop("remedy"),
        lambda document: document.pop("verdict"),
        lambda document: document.update(exitCode=4),
        lambda document: document["summary"].pop("ERROR"),
        lambda document: document.update(apiVersion="trivet.dev/v2"),
    ],
)
def test_the_schema_refuses_what_is_no_report(spoil: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(report_json.write(not_conformant()))
    spoil(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, report_json.schema())


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "hostile"])
def test_a_report_survives_the_round_trip(name: str) -> None:
    report = SAMPLES[name]()
    assert report_json.read(report_json.write(report)) == report


def test_half_a_character_pair_is_replaced_and_everything_else_survives_the_round_trip() -> None:
    text = report_json.write(hostile())
    assert report_json.write(report_json.read(text)) == text
    assert report_json.read(text).contracts[0].title == HOSTILE.replace("\udc80", "?")


def test_computed_fields_say_what_the_report_says() -> None:
    document = json.loads(report_json.write(not_conformant()))
    assert (document["verdict"], document["exitCode"]) == ("not conformant", 1)
    assert document["summary"] == {
        "contracts": 24,
        "PASSED": 18,
        "FAILED": 3,
        "SKIPPED": 1,
        "INCONCLUSIVE": 1,
        "ERROR": 1,
        "accepted": 0,
    }


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"apiVersion": 1}'])
def test_reading_something_else_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="not a ConformanceReport"):
        report_json.read(text)


def test_reading_a_report_of_another_version_names_both_versions() -> None:
    text = report_json.write(empty()).replace("trivet.dev/v1alpha2", "trivet.dev/v9")
    with pytest.raises(UsageError, match=r"(?s)v9.*v1alpha2"):
        report_json.read(text)


def test_an_older_report_is_refused_for_its_version_even_where_its_fields_differ() -> None:
    text = json.dumps({"apiVersion": "trivet.dev/v1alpha1", "kind": "ConformanceReport", "place": {}})
    with pytest.raises(
        UsageError, match=r"apiVersion trivet\.dev/v1alpha1, and this version of trivet reads .*v1alpha2"
    ):
        report_json.read(text)


# junit.xml


def _cases(report: ConformanceReport) -> dict[str, ET.Element]:
    return {case.get("name", ""): case for case in ET.fromstring(junit.write(report)).iter("testcase")}


@every_sample
def test_junit_is_red_exactly_when_the_report_is_not_conformant(sample: Sample) -> None:
    root = ET.fromstring(junit.write(sample()))
    red = [case for case in root.iter("testcase") if case.find("failure") is not None or case.find("error") is not None]
    assert bool(red) is (sample().exit_code != 0)
    assert int(root.get("failures", 0)) + int(root.get("errors", 0)) == len(red)


@every_sample
def test_junit_counts_its_cases_and_has_every_contract_once(sample: Sample) -> None:
    root = ET.fromstring(junit.write(sample()))
    assert int(root.get("tests", 0)) == len(list(root.iter("testcase")))
    contracts = (suite for suite in root if suite.get("name") not in ("verdict", "waivers"))
    names = [case.get("name") for suite in contracts for case in suite.iter("testcase")]
    assert sorted(map(str, names)) == sorted(result.id for result in sample().contracts)


def test_junit_gives_each_outcome_its_element() -> None:
    cases = _cases(not_conformant())
    kinds = {name: next((child.tag for child in case if child.tag != "system-out"), "") for name, case in cases.items()}
    assert kinds["environment.packages_fit_the_runtime"] == "failure"
    assert kinds["manifests.fields_are_known"] == "error"
    assert kinds["serving.predictions_equal_the_trainers"] == "error"
    assert kinds["pipelines.gate_blocks_a_worse_model"] == "skipped"
    assert kinds["paths.uri_holds_mlmodel"] == ""
    error = cases["serving.predictions_equal_the_trainers"].find("error")
    assert error is not None
    assert error.get("type") == "INCONCLUSIVE"


def test_junit_reports_advice_as_a_skipped_case() -> None:
    skipped = _cases(conformant())["serving.missing_column_is_a_4xx"].find("skipped")
    assert skipped is not None
    assert skipped.get("message", "").startswith("advice: a request without the column")


def test_junit_reports_what_is_accepted_as_skipped_and_why() -> None:
    cases = _cases(accepted())
    skipped = cases["environment.packages_fit_the_runtime"].find("skipped")
    assert skipped is not None
    assert skipped.get("message", "").startswith(
        "accepted: waived until 2025-03-01 by numpy-pin (ml@example.com: retraining is planned): numpy: the model was saved with"
    )
    failure = cases["environment.runtime_loads_the_model"].find("failure")
    assert failure is not None
    assert "known: the waiver old-runtime expired on 2024-11-01 (" in (failure.text or "")
    unused = cases["labels"].find("skipped")
    assert unused is not None
    assert unused.get("message", "").startswith("warning: the waiver labels accepts nothing")
    assert "on-kind" not in cases


def test_junit_names_file_and_line() -> None:
    case = _cases(not_conformant())["environment.packages_fit_the_runtime"]
    assert (case.get("file"), case.get("line")) == ("store/1/5f1b3a0c/artifacts/model/requirements.txt", "3")


# report.md


def test_the_summary_of_a_job_has_a_row_for_each_contract_that_did_not_pass_worst_first() -> None:
    report = not_conformant()
    text = report_markdown.write(report)
    rows = [line for line in text.splitlines() if re.match(r"\| \S+ \w+ \| `", line)]
    deviating = [one for one in report.contracts if one.outcome.deviates]
    assert len(rows) == len(deviating)
    assert "failed" in rows[0].split("|")[1]
    assert text.startswith("### 2024.11 is not conformant")


def test_nothing_in_the_summary_of_a_job_is_markup() -> None:
    text = report_markdown.write(hostile())
    assert not re.search(r"(?<!\\)[<\[]", re.sub(r"`[^`]*`", "", text))


# report.sarif


def _run(report: ConformanceReport) -> dict[str, Any]:
    run: dict[str, Any] = json.loads(sarif.write(report))["runs"][0]
    return run


@every_sample
def test_sarif_refers_only_to_rules_that_it_defines(sample: Sample) -> None:
    run = _run(sample())
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [result.id for result in sample().contracts]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
    for notification in run["invocations"][0]["toolExecutionNotifications"]:
        assert rules[notification["associatedRule"]["index"]]["id"] == notification["associatedRule"]["id"]


def test_sarif_has_a_result_for_each_failed_finding_and_a_notification_for_what_could_not_be_judged() -> None:
    run = _run(not_conformant())
    levels = [(result["ruleId"], result["level"]) for result in run["results"]]
    assert levels.count(("environment.packages_fit_the_runtime", "error")) == 3
    assert ("serving.missing_column_is_a_4xx", "warning") in levels
    assert len(levels) == sum(f.outcome is Outcome.FAILED for r in not_conformant().contracts for f in r.findings)
    invocation = run["invocations"][0]
    assert [notification["level"] for notification in invocation["toolExecutionNotifications"]] == ["error", "error"]
    assert (invocation["exitCode"], invocation["executionSuccessful"]) == (1, False)


def test_sarif_paths_below_the_working_directory_are_relative_uris(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = _run(hostile())
    physical = run["results"][0]["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"] == {
        "uri": "models/a%20b%2Cc%3Ad%25/%C3%BCn%C3%AFcode.yaml",
        "uriBaseId": "%SRCROOT%",
    }
    assert physical["region"] == {"startLine": 7}
    assert run["originalUriBaseIds"]["%SRCROOT%"]["uri"] == tmp_path.as_uri() + "/"


def test_sarif_paths_elsewhere_are_absolute_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    assert sarif._artifact("../MLmodel") == {"uri": (tmp_path / "MLmodel").as_uri()}


def test_sarif_fingerprints_are_distinct_within_a_report_and_do_not_follow_lines_or_runs() -> None:
    def prints(text: str) -> list[str]:
        return [found["partialFingerprints"]["trivetFinding/v1"] for found in json.loads(text)["runs"][0]["results"]]

    for sample in (not_conformant, hostile):
        assert len(set(prints(sarif.write(sample())))) == len(prints(sarif.write(sample())))
    moved = report_json.read(
        report_json.write(not_conformant()).replace('"line": 3', '"line": 99').replace("HTTP 500", "HTTP 503")
    )
    assert prints(sarif.write(moved)) == prints(sarif.write(not_conformant()))


def _linted(path: Path, **more: Any) -> ConformanceReport:
    """A report over a file with a misspelt field, one that a comment ignores, and one that the baseline has."""
    where = {name: Location(file=str(path), line=line) for name, line in {"first": 2, "second": 3, "third": 4}.items()}
    fixable = replace(failed("no", location=where["first"], fix=Replacement("old", "new")), stack="2024.11")
    ignored = (
        IgnoredFinding(finding=failed("meant so", location=where["second"]), by="comment", reason="agreed with ops"),
        IgnoredFinding(finding=failed("known", location=where["third"]), by="baseline"),
        IgnoredFinding(finding=inconclusive("who knows"), by="comment", reason="nobody"),
    )
    first, *others = not_conformant().contracts
    contracts = (replace(first, outcome=Outcome.FAILED, findings=(fixable,), ignored=ignored), *others)
    summary = not_conformant().stack
    return replace(not_conformant(), contracts=contracts, stacks=(summary, replace(summary, name="current")), **more)


def test_sarif_has_the_fix_of_a_finding_at_its_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("# ñ\nñ: {old: 1}\nsecond: 1\nthird: 1\n")
    first = _run(_linted(Path("./a.yaml")))["results"][0]
    (fix,) = first["fixes"]
    assert fix["description"]["text"] == "replace old with new"
    (change,) = fix["artifactChanges"]
    assert change["artifactLocation"] == {"uri": "a.yaml", "uriBaseId": "%SRCROOT%"}
    assert change["replacements"] == [
        {
            "deletedRegion": {"startLine": 2, "startColumn": 5, "endLine": 2, "endColumn": 8},
            "insertedContent": {"text": "new"},
        }
    ]
    Path("a.yaml").write_text("# ñ\nñ: {old: 1, x: old}\n")
    assert "fixes" not in _run(_linted(Path("a.yaml")))["results"][0], (
        "--fix leaves a word alone that stands there twice"
    )


def test_sarif_suppresses_what_is_ignored_with_the_reason(tmp_path: Path) -> None:
    report = _linted(tmp_path / "a.yaml")
    run = _run(report)
    suppressed = [one for one in run["results"] if "suppressions" in one]
    assert [(one["message"]["text"].splitlines()[0], one["suppressions"]) for one in suppressed] == [
        ("meant so", [{"kind": "inSource", "status": "accepted", "justification": "agreed with ops"}]),
        ("known", [{"kind": "external", "status": "accepted", "justification": "the baseline has it"}]),
    ]
    assert suppressed[0]["locations"][0]["physicalLocation"]["region"] == {"startLine": 3}
    assert {one["ruleId"] for one in suppressed} == {report.contracts[0].id}


def test_every_machine_format_names_the_stack_of_a_finding(tmp_path: Path) -> None:
    report = _linted(tmp_path / "a.yaml")
    run = _run(report)
    assert run["results"][0]["properties"] == {"stack": "2024.11"}
    assert list(run["properties"]["stacks"]) == [report.stack.name, "current"]
    case = _cases(report)[report.contracts[0].id]
    (failure,) = (case.find("failure"),)
    assert failure is not None
    assert str(failure.text).endswith("\nstack: 2024.11")
    assert "no (stack 2024.11)" in str(case.findtext("system-out"))
    assert "ignored by comment" in str(case.findtext("system-out"))
    assert f'name="stacks" value="{report.stack.name}, current"' in junit.write(report)
    assert "no (stack 2024.11)" in github.write(report)
    assert "stack 2024.11" in html.write(report)
    document = json.loads(report_json.write(report))
    assert [one["name"] for one in document["stacks"]] == [report.stack.name, "current"]
    assert document["contracts"][0]["findings"][0]["stack"] == "2024.11"
    jsonschema.validate(document, report_json.schema(), jsonschema.Draft202012Validator)


def test_sarif_suppresses_what_is_accepted_and_warns_of_waivers() -> None:
    run = _run(accepted())
    suppressed = {result["ruleId"]: result.get("suppressions") for result in run["results"]}
    assert suppressed == {
        "environment.packages_fit_the_runtime": [
            {
                "kind": "external",
                "status": "accepted",
                "justification": "waived until 2025-03-01 by numpy-pin (ml@example.com: retraining is planned)",
            }
        ],
        "environment.runtime_loads_the_model": None,
        "serving.missing_column_is_a_4xx": [
            {"kind": "external", "status": "accepted", "justification": "in the baseline"}
        ],
    }
    (open_one,) = [result for result in run["results"] if result["ruleId"].endswith("loads_the_model")]
    assert "Known: the waiver old-runtime expired on 2024-11-01" in open_one["message"]["text"]
    warnings = run["invocations"][0]["toolConfigurationNotifications"]
    assert [one["message"]["text"].split(":")[0] for one in warnings] == [
        "the waiver old-runtime expired on 2024-11-01",
        "the waiver labels accepts nothing",
    ]


# GitHub annotations


def _commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Workflow commands as the runner reads them (``ActionCommand.cs`` of actions/runner)."""

    def unescape(value: str, *, is_property: bool) -> str:
        for code, char in (
            ("%0D", "\r"),
            ("%0A", "\n"),
            *((("%3A", ":"), ("%2C", ",")) if is_property else ()),
            ("%25", "%"),
        ):
            value = value.replace(code, char)
        return value

    commands = []
    for text_line in text.splitlines():
        _, head, message = text_line.split("::", 2)
        name, _, listed = head.partition(" ")
        pairs = (pair.split("=", 1) for pair in listed.split(","))
        properties = {key: unescape(value, is_property=True) for key, value in pairs}
        commands.append((name, properties, unescape(message, is_property=False)))
    return commands


@every_sample
def test_github_shows_an_error_exactly_when_the_report_is_not_conformant(sample: Sample) -> None:
    commands = _commands(github.write(sample()))
    assert ("error" in [name for name, _, _ in commands]) is (sample().exit_code != 0)


def test_github_reads_back_what_was_escaped() -> None:
    name, properties, message = _commands(github.write(hostile()))[0]
    assert name == "error"
    assert properties["file"] == "models/a b,c:d%/ünïcode.yaml"
    assert properties["line"] == "7"
    assert "]]> & %0A\nendless" in message


def test_github_reports_advice_as_a_warning() -> None:
    (warning,) = [one for one in _commands(github.write(conformant())) if one[0] == "warning"]
    assert warning[1]["title"] == "serving.missing_column_is_a_4xx FAILED (advice)"


def test_github_reports_what_is_accepted_as_a_notice_and_warns_of_waivers() -> None:
    commands = _commands(github.write(accepted()))
    titles = {
        name: [one["title"] for kind, one, _ in commands if kind == name] for name in ("error", "warning", "notice")
    }
    assert titles == {
        "error": ["environment.runtime_loads_the_model FAILED", "trivet"],
        "warning": ["trivet: waiver"] * 2,
        "notice": ["environment.packages_fit_the_runtime FAILED (accepted)"] * 3
        + ["serving.missing_column_is_a_4xx FAILED (accepted)"],
    }
    (known,) = {text.splitlines()[1] for name, _, text in commands if name == "notice" and "saved with" in text}
    assert known == "known: waived until 2025-03-01 by numpy-pin (ml@example.com: retraining is planned)"


# report.html


class _Page(HTMLParser):
    """The elements of a page, its visible text, and whether every element that was opened was closed."""

    VOID = frozenset({"meta", "link", "br", "img", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, name: str = "") -> list[dict[str, str]]:
        return [
            found
            for kind, found in self.elements
            if kind == tag and (not name or name in found.get("class", "").split())
        ]


@every_sample
def test_the_page_is_well_formed_and_asks_the_network_for_nothing(sample: Sample) -> None:
    page = _Page(html.write(sample()))
    assert page.open == []
    assert [tag for tag, _ in page.elements if tag in {"img", "iframe", "object", "embed", "i", "b"}] == ["b"]
    fetched = [
        value
        for _, attributes in page.elements
        for key, value in attributes.items()
        if key in ("src", "href", "action", "data", "poster", "srcset")
    ]
    assert [value for value in fetched if not value.startswith(("#", "data:"))] == []
    assert "url(" not in html.write(sample())
    assert len(page.all("script")) == bool(sample().contracts)


@every_sample
def test_the_page_holds_every_contract_once_with_its_outcome(sample: Sample) -> None:
    page = _Page(html.write(sample()))
    cards = {card["id"]: card["data-outcome"] for card in page.all("details", "contract")}
    assert sorted(cards) == sorted(result.id for result in sample().contracts)
    for result in sample().contracts:
        advice = result.outcome is Outcome.FAILED and result.level == "SHOULD"
        shown = "accepted" if result.accepted else "advice" if advice else result.outcome.value.lower()
        assert cards[result.id] == shown


def test_the_page_shows_markup_in_findings_as_text() -> None:
    text = html.write(hostile())
    assert "<script>alert" not in text
    assert "<script>alert('x')</script> red" in _Page(text).text
    assert "<b>bold" not in text


def test_the_page_allows_its_own_script_and_no_other() -> None:
    text = html.write(not_conformant())
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert f"script-src 'sha256-{html._sha256(script)}'" in text.replace("&#39;", "'")


def test_the_page_colours_each_seam_by_its_worst_outcome_and_says_it_in_words() -> None:
    page = _Page(html.write(not_conformant()))
    edges = [edge["class"] for edge in page.all("g", "edge")]
    across, upright = edges[: len(edges) // 2], edges[len(edges) // 2 :]
    assert across == upright == ["edge passed", "edge passed", "edge failed", "edge error", "edge passed"]
    assert "MLflow → Runtime 2 of 4 failed" in page.text


def test_the_page_opens_what_needs_attention_and_links_to_it() -> None:
    page = _Page(html.write(not_conformant()))
    opened = {card["id"] for card in page.all("details", "contract") if "open" in card}
    linked = {link["href"].removeprefix("#") for link in page.all("a")}
    assert opened == linked
    assert len(opened) == 5


def test_the_page_shows_what_is_accepted_and_every_waiver() -> None:
    page = _Page(html.write(accepted()))
    assert "Known" in page.text
    assert "waived until 2025-03-01 by numpy-pin (ml@example.com: retraining is planned)" in page.text
    assert "the waiver old-runtime expired on 2024-11-01" in page.text
    assert "2025-03-01 (98 days left)" in page.text
    assert "baseline before/report.json: 1 × finding accepted; 2 × finding that this run no longer has" in page.text
    assert [name for name in ("numpy-pin", "old-runtime", "labels", "on-kind") if name not in page.text] == []
