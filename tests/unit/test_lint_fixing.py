"""``trivet lint --fix`` changes words where the remedy is mechanical, and no other byte."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from commandline import GOOD, call

from trivet.engine.fixes import fixes
from trivet.errors import UsageError
from trivet.model.finding import Finding, Location, Replacement, failed
from trivet.render.linting import difference


def finding(path: Path, line: int, old: str, new: str) -> Finding:
    return failed("no", location=Location(file=str(path), line=line), fix=Replacement(old, new))


def fixed(path: Path, text: str, *wanted: tuple[int, str, str]) -> str:
    """The text after the fixes, or the same if there are none."""
    path.write_bytes(text.encode())
    made = fixes(finding(path, *one) for one in wanted)
    for one in made:
        one.write()
    return path.read_bytes().decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a:   # old\r\n  old:  1\r\n", "a:   # old\r\n  new:  1\r\n"),
        ('\ufeffa:\n  {older: 1, old: 2, "x": /old/old}', '\ufeffa:\n  {older: 1, new: 2, "x": /old/old}'),
        ("a:\n\t\n", "a:\n\t\n"),
        ("a:\n  old: old\n", "a:\n  old: old\n"),
        ("a: 1\n", "a: 1\n"),
        ("a:\n  old: [\n", "a:\n  old: [\n"),
        ("a: {x: '\u0085 \u2028'}\nold: 1\n", "a: {x: '\u0085 \u2028'}\nnew: 1\n"),
        ("a:\r  old: 1\r", "a:\r  new: 1\r"),
    ],
    ids=["spacing and line ends", "longer words", "absent", "twice", "no such line", "broken", "no line ends", "Mac"],
)
def test_one_word_changes_or_nothing_does(tmp_path: Path, before: str, after: str) -> None:
    assert fixed(tmp_path / "a.yaml", before, (2, "old", "new")) == after


def test_several_changes_are_made_once_each(tmp_path: Path) -> None:
    text = "a: {one: 1, two: 2}\nb: {one: 1}\n"
    wanted = [(1, "one", "1st"), (1, "two", "2nd"), (1, "one", "1st"), (2, "one", "1st")]
    assert fixed(tmp_path / "a.yaml", text, *wanted) == "a: {1st: 1, 2nd: 2}\nb: {1st: 1}\n"


def test_a_word_is_no_pattern(tmp_path: Path) -> None:
    assert fixed(tmp_path / "a.yaml", "a.c: 1\n", (1, "a.c", r"\1\g<0>")) == "\\1\\g<0>: 1\n"


def test_streams_and_files_that_are_gone_are_left_out(tmp_path: Path) -> None:
    assert (
        fixes([finding(Path("<stdin>"), 1, "a", "b"), finding(tmp_path / "gone.yaml", 1, "a", "b"), failed("no")]) == []
    )


def test_a_pipe_is_not_opened_again(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert fixes([finding(tmp_path / "pipe.yaml", 1, "a", "b")]) == []


def test_a_file_that_changes_meanwhile_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("old: 1\n")
    (one,) = fixes([finding(path, 1, "old", "new")])
    path.write_text("old: 2\n")
    with pytest.raises(UsageError, match="has changed while it was linted: nothing is fixed in it"):
        one.write()
    assert path.read_text() == "old: 2\n"


def test_a_change_has_the_column_of_the_word_in_the_line_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("\ufeffñ: {one: 1, two: 2}\n")
    (made,) = fixes([finding(path, 1, "one", "longer"), finding(path, 1, "two", "x")])
    assert [(one.line, one.column) for one in made.changes] == [(1, 5), (1, 13)]


def test_the_difference_says_where_the_last_line_has_no_end(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# \u2028\nold: 1")
    none = "\n\\ No newline at end of file\n"
    assert difference(fixes([finding(path, 2, "old", "new")])) == (
        f"--- {path}\n+++ {path}\n@@ -1,2 +1,2 @@\n # \u2028\n-old: 1{none}+new: 1{none}"
    )


def test_the_difference_is_a_patch(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("x: 1\nold: 1\n")
    assert difference(fixes([finding(path, 2, "old", "new")])) == (
        f"--- {path}\n+++ {path}\n@@ -1,2 +1,2 @@\n x: 1\n-old: 1\n+new: 1\n"
    )


MISSPELT = GOOD.replace("  predictor:\n", "  predictor:\n    minReplica:  2  # two\n").replace("churn/\n", "churn\n")


def test_misspelt_fields_and_missing_slashes_are_fixed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("service.yaml")
    path.write_text(MISSPELT)
    shown = call("lint", "service.yaml", "--diff")
    assert shown.code == 1
    assert [line for line in shown.out.splitlines() if line[:1] in "+-"] == [
        "--- service.yaml",
        "+++ service.yaml",
        "-    minReplica:  2  # two",
        "+    minReplicas:  2  # two",
        "-      storageUri: s3://models/churn",
        "+      storageUri: s3://models/churn/",
    ]
    assert path.read_text() == MISSPELT
    said = call("lint", "service.yaml", "--fix")
    assert said.code == 0
    assert said.out.splitlines()[:2] == [
        "service.yaml:7: fixed: minReplica → minReplicas",
        "service.yaml:12: fixed: s3://models/churn → s3://models/churn/",
    ]
    after = path.read_text()
    assert after == MISSPELT.replace("minReplica:", "minReplicas:").replace("churn\n      res", "churn/\n      res")
    assert call("lint", "service.yaml", "--diff").out == ""
    assert "fixed: " not in call("lint", "service.yaml", "--fix").out
    assert path.read_text() == after


def test_a_misspelt_annotation_of_knative_is_fixed(tmp_path: Path) -> None:
    path = tmp_path / "service.yaml"
    annotations = "  annotations: {serving.kserve.io/deploymentMode: Knative, autoscaling.knative.dev/targetUtilizationPercentag: '70'}\n"
    path.write_text(GOOD.replace("spec:\n", f"{annotations}spec:\n", 1))
    call("lint", path, "--fix")
    assert path.read_text().count("autoscaling.knative.dev/targetUtilizationPercentage: '70'") == 1


def test_a_field_in_another_case_is_fixed(tmp_path: Path) -> None:
    path = tmp_path / "service.yaml"
    path.write_text(GOOD.replace("storageUri", "storageURI"))
    assert "did you mean 'storageUri'?" in call("lint", path).out
    assert call("lint", path, "--fix").code == 0
    assert path.read_text() == GOOD


def test_what_could_mean_two_fields_or_stands_there_already_is_not_fixed(tmp_path: Path) -> None:
    path = tmp_path / "service.yaml"
    both = "    minReplicas: 1\n    minReplica: 2\n"
    path.write_text(GOOD.replace("  predictor:\n", f"  predictor:\n{both}"))
    assert "fixed: " not in call("lint", path, "--fix").out
    path.write_text(GOOD.replace("  predictor:\n", "  predictor:\n    mReplicas: 2\n"))
    assert "fixed: " not in call("lint", path, "--fix").out


def test_a_difference_is_no_format(tmp_path: Path) -> None:
    assert "--diff and --format json exclude each other" in call("lint", tmp_path, "--diff", "--format", "json").err
    assert "--diff and --fix exclude each other" in call("lint", tmp_path, "--diff", "--fix").err
    assert "--diff and --report exclude each other" in call("lint", tmp_path, "--diff", "--report", "out").err


def test_a_difference_shows_errors_and_applies_with_patch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "service.yaml").write_text(MISSPELT)
    said = call("lint", tmp_path / "service.yaml", "absent.yaml", "--diff")
    assert said.out.startswith("--- service.yaml\n+++ service.yaml\n")
    assert "absent.yaml does not exist" in said.err
