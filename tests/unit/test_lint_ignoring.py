"""Findings that comments or a baseline ignore, and comments that ignore nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from trivet.authoring.contracts import MUST, SHOULD, contract
from trivet.engine.ignored import BY_BASELINE, BY_COMMENT, COMMENTS
from trivet.engine.lint import LintResult, lint
from trivet.errors import UsageError
from trivet.model.finding import Finding, failed
from trivet.model.outcome import Outcome
from trivet.model.subjects import CompiledPipeline, Manifest, ModelDirectory
from trivet.render import report_json
from trivet.render.baseline import read_baseline
from trivet.stacks.read import load_stack
from trivet.toolkit.ignore_comments import IgnoreComment, ignore_comments
from trivet.toolkit.walking import PathPatterns, TextStream

STACK = load_stack("2024.11")
SERVICE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: one
spec: {}
"""


@contract(title="X must Y", level=MUST, seam=("kfp", "kserve"), rationale="because", remedy="do")
def has_another_name(manifest: Manifest) -> Iterator[Finding]:
    yield failed(f"{manifest.name} is not good", location=manifest.at("metadata", "name"))


@contract(title="X should Y", level=SHOULD, seam=("kfp", "kserve"), rationale="because", remedy="do")
def is_specified(manifest: Manifest) -> Iterator[Finding]:
    yield failed("nothing is specified", location=manifest.at("spec"))


@contract(title="X must Y", level=MUST, seam=("kfp", "kserve"), rationale="because", remedy="do")
def is_a_pipeline(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    yield failed("never asked")


@contract(title="X must Y", level=MUST, seam=("kfp", "kserve"), rationale="because", remedy="do")
def is_no_model(model_directory: ModelDirectory) -> Iterator[Finding]:
    yield failed("a model", location=model_directory.at("flavors"))


NAME, SPEC = has_another_name.id, is_specified.id


def judged(tmp_path: Path, text: str, **more: object) -> LintResult:
    (tmp_path / "file.yaml").write_text(text)
    return lint([tmp_path], [has_another_name, is_specified, is_a_pipeline], STACK, **more)  # type: ignore[arg-type]


def deviations(result: LintResult) -> list[tuple[str, int | None]]:
    return [
        (finding.message, finding.location.line if finding.location else None)
        for contract in result.report.contracts
        for finding in contract.findings
        if finding.outcome.deviates
    ]


# comments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1  # trivet: ignore[x.y] because\n", IgnoreComment(("x.y",), "because", 1, 1, False)),
        (
            "# trivet: ignore[x, y] because it is\n\n# more\n---\na: 1\n",
            IgnoreComment(("x", "y"), "because it is", 1, 5, True),
        ),
        ("a:\n  # trivet:ignore[x]\n  b: 1\n", IgnoreComment(("x",), "", 2, 3, True)),
        ("a: 'x\x0b\x0c\x1c\x85\u2028y'\nb: 1  # trivet: ignore[x] z\n", IgnoreComment(("x",), "z", 2, 2, False)),
        ("a: 1\r\rb: 1  # trivet: ignore[x] z\r\n", IgnoreComment(("x",), "z", 3, 3, False)),
        ("a: 1 # trivet: ignore because\n", IgnoreComment((), "because", 1, 1, False)),
        ("a: 1\n# trivet: ignore[x]: because\n", IgnoreComment(("x",), "because", 2, 2, True)),
    ],
)
def test_a_comment_has_ids_a_reason_and_the_line_it_is_about(text: str, expected: IgnoreComment) -> None:
    assert ignore_comments(text) == (expected,)


@pytest.mark.parametrize(
    "text", ["a: '# trivet is a tool'\n", "# trivet: ignored[x] y\n", "url: x#trivet: ignore[x] y\n", ""]
)
def test_other_text_is_no_comment_for_lint(text: str) -> None:
    assert ignore_comments(text) == ()


def test_many_comments_take_no_time() -> None:
    assert len(ignore_comments("# trivet: ignore[x] y\n" * 100_000)) == 100_000


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (SERVICE.replace("name: one", f"name: one  # trivet: ignore[{NAME}] a test"), ["nothing is specified"]),
        (SERVICE.replace("  name: one", f"  # trivet: ignore[{NAME}] a test\n  name: one"), ["nothing is specified"]),
        (f"# trivet: ignore[{NAME}] a test\n{SERVICE}", ["nothing is specified"]),
        (f"# trivet: ignore[{NAME}, {SPEC}] a test\n---\n{SERVICE}", []),
        (
            f"# trivet: ignore[{NAME}] a test\n---\n{SERVICE}---\n{SERVICE}",
            ["one is not good", *["nothing is specified"] * 2],
        ),
    ],
    ids=["behind", "before", "object", "several", "another object"],
)
def test_a_comment_ignores_a_line_or_an_object(tmp_path: Path, text: str, left: list[str]) -> None:
    result = judged(tmp_path, text)
    assert [message for message, _ in deviations(result)] == left
    assert BY_COMMENT in result.ignored
    assert COMMENTS.id not in [one.id for one in result.report.contracts]


def test_a_contract_all_of_whose_deviations_are_ignored_is_skipped_with_the_reason(tmp_path: Path) -> None:
    first = judged(tmp_path, f"# trivet: ignore[{NAME}] a test\n{SERVICE}").report.contracts[0]
    assert first.outcome is Outcome.SKIPPED
    assert first.reason == "every deviation is ignored: 1 by comments or the baseline"


@pytest.mark.parametrize(
    ("comment", "complaint"),
    [
        (f"# trivet: ignore[{NAME}]", "the comment gives no reason, and is not applied"),
        ("# trivet: ignore because", "the comment names no contract, and is not applied"),
        ("# trivet: ignore[] because", "the comment names no contract, and is not applied"),
        (f"# trivet: ignore[{NAME}x] because", f"the comment names an unknown contract '{NAME}x'"),
        (f"# trivet: ignore[{SPEC}] because", f"the comment ignores nothing: {SPEC} does not deviate here"),
    ],
)
def test_a_comment_that_ignores_nothing_is_advice(tmp_path: Path, comment: str, complaint: str) -> None:
    result = judged(tmp_path, SERVICE.replace("name: one", f"name: one {comment}"))
    assert (complaint, 4) in deviations(result)
    assert ("one is not good", 4) in deviations(result)
    (last,) = [one for one in result.report.contracts if one.id == COMMENTS.id]
    assert not last.blocks


def test_whether_a_comment_for_a_contract_that_judged_nothing_is_needed_is_unknown(tmp_path: Path) -> None:
    result = judged(tmp_path, f"# trivet: ignore[{is_a_pipeline.id}] because\n{SERVICE}")
    assert COMMENTS.id not in [one.id for one in result.report.contracts]
    result = judged(tmp_path, f"# trivet: ignore[other.contract] because\n{SERVICE}", known=["other.contract"])
    assert COMMENTS.id not in [one.id for one in result.report.contracts]


def test_a_comment_in_an_mlmodel_is_about_the_model(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(f"# trivet: ignore[{is_no_model.id}] a test\nflavors: {{}}\n")
    assert deviations(lint([tmp_path], [is_no_model], STACK)) == []


# the baseline


def test_only_what_a_baseline_does_not_have_fails(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "baseline.json").write_text(report_json.write(judged(tmp_path / "deploy", SERVICE).report))
    baseline = read_baseline(tmp_path / "baseline.json")
    result = judged(tmp_path / "deploy", f"# moved\n{SERVICE}", baseline=baseline)
    assert deviations(result) == []
    assert result.ignored == {BY_BASELINE: 2}
    twice = judged(tmp_path / "deploy", f"{SERVICE}---\n{SERVICE}", baseline=baseline)
    assert deviations(twice) == [("one is not good", 10), ("nothing is specified", 11)]
    assert twice.exit_code == 1
    gone = judged(tmp_path / "deploy", SERVICE.replace("one", "two"), baseline=baseline)
    assert deviations(gone) == [("two is not good", 4), ("nothing is specified", 5)], "another object"
    assert gone.stale == 2


def test_only_what_a_baseline_has_of_the_judged_contracts_is_stale(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "baseline.json").write_text(report_json.write(judged(tmp_path / "deploy", SERVICE).report))
    baseline = read_baseline(tmp_path / "baseline.json")
    (tmp_path / "deploy" / "file.yaml").write_text(SERVICE.replace("one", "two"))
    assert lint([tmp_path / "deploy"], [is_specified], STACK, baseline=baseline).stale == 1


def test_what_a_baseline_has_of_files_that_were_not_judged_is_not_stale(tmp_path: Path) -> None:
    here, there, gone = (tmp_path / "deploy" / name for name in ("here.yaml", "there.yaml", "gone.yaml"))
    here.parent.mkdir()
    for file in (here, there, gone):
        file.write_text(SERVICE)
    before = lint([tmp_path / "deploy"], [is_specified], STACK)
    (tmp_path / "baseline.json").write_text(report_json.write(before.report))
    baseline = read_baseline(tmp_path / "baseline.json")

    def stale(*paths: Path, exclude: str = "") -> int:
        patterns = [PathPatterns([exclude], tmp_path)]
        return lint(paths, [is_specified], STACK, exclude=patterns, baseline=baseline).stale

    gone.unlink()
    here.write_text(SERVICE.replace("one", "two"))
    there.write_text(SERVICE.replace("one", "two"))
    assert stale(tmp_path / "deploy") == 3
    assert stale(here) == 1
    assert stale(tmp_path / "deploy", exclude="there.yaml") == 2
    there.write_text("apiVersion: [")
    assert stale(tmp_path / "deploy") == 2, "nobody knows what a broken file has"
    assert stale(tmp_path / "baseline.json") == 0


def test_what_a_baseline_has_of_a_model_is_stale_when_the_model_was_judged(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text("flavors: {}\n")
    (tmp_path / "baseline.json").write_text(report_json.write(lint([model], [is_no_model], STACK).report))
    baseline = [replace(one, message="another model") for one in read_baseline(tmp_path / "baseline.json")]
    assert lint([model / "MLmodel"], [is_no_model], STACK, baseline=baseline).stale == 1
    (tmp_path / "other.yaml").write_text(SERVICE)
    assert lint([tmp_path / "other.yaml"], [is_no_model, is_specified], STACK, baseline=baseline).stale == 0


def test_what_a_baseline_has_of_a_stream_is_stale_when_the_stream_was_judged(tmp_path: Path) -> None:
    def stream(text: str, name: str = "<stdin>") -> TextStream:
        return TextStream(name, text.encode())

    before = lint([stream(SERVICE)], [is_specified], STACK)
    (tmp_path / "baseline.json").write_text(report_json.write(before.report))
    baseline = read_baseline(tmp_path / "baseline.json")
    changed = SERVICE.replace("one", "two")
    assert lint([stream(changed)], [is_specified], STACK, baseline=baseline).stale == 1
    assert lint([stream(changed, "<helm chart>")], [is_specified], STACK, baseline=baseline).stale == 0


def test_what_is_ignored_is_in_the_report_with_what_ignores_it(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "baseline.json").write_text(report_json.write(judged(tmp_path / "deploy", SERVICE).report))
    baseline = read_baseline(tmp_path / "baseline.json")
    text = f"# trivet: ignore[{NAME}] a test, password=hunter22\n{SERVICE}"
    report = judged(tmp_path / "deploy", text, baseline=baseline).report
    first, second, _ = report_json.read(report_json.write(report)).contracts
    (by_comment,), (by_baseline,) = first.ignored, second.ignored
    assert (by_comment.by, by_comment.reason) == ("comment", "a test, password=[redacted]")
    assert (by_comment.finding.message, by_comment.finding.contract) == ("one is not good", NAME)
    assert (by_baseline.by, by_baseline.reason, by_baseline.finding.message) == ("baseline", "", "nothing is specified")
    assert report.ignored == 2


def test_files_all_of_whose_findings_are_ignored_are_conformant(tmp_path: Path) -> None:
    result = judged(tmp_path, f"# trivet: ignore[{NAME}, {SPEC}] a test\n{SERVICE}")
    assert (result.exit_code, result.report.ignored, result.report.verdict) == (0, 2, "conformant")


def test_an_error_is_never_accepted(tmp_path: Path) -> None:
    @contract(title="X must Y", level=MUST, seam=("kfp", "kserve"), rationale="because", remedy="do")
    def breaks(manifest: Manifest) -> Iterator[Finding]:
        raise KeyError("x")
        yield

    (tmp_path / "file.yaml").write_text(SERVICE)
    first = lint([tmp_path], [breaks], STACK)
    (tmp_path / "baseline.json").write_text(report_json.write(first.report))
    baseline = read_baseline(tmp_path / "baseline.json")
    assert baseline == []
    assert lint([tmp_path / "file.yaml"], [breaks], STACK, baseline=baseline).exit_code == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot read the baseline"),
        ("{", "is not a ConformanceReport"),
        ("{}", "is not a ConformanceReport"),
    ],
)
def test_what_is_no_baseline_is_refused_with_how_to_write_one(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "baseline.json").write_text(text)
    with pytest.raises(UsageError, match=words) as caught:
        read_baseline(tmp_path / "baseline.json")
    assert "--format json > " in caught.value.remedy


def test_the_report_of_a_run_is_no_baseline(tmp_path: Path) -> None:
    report = replace(judged(tmp_path, SERVICE).report, target="kind")
    (tmp_path / "baseline.json").write_text(report_json.write(report))
    with pytest.raises(UsageError, match="is the report of a run on kind, not of lint"):
        read_baseline(tmp_path / "baseline.json")
