"""``trivet lint`` on whatever a path may hold."""

from __future__ import annotations

import json
import os
import socket
import xml.etree.ElementTree as ET
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from commandline import ADVICE, BAD, GOOD, PROGRAM, CommandOutput, call, refused, run

from trivet.cli import main
from trivet.engine.ignored import BY_BASELINE, BY_COMMENT
from trivet.toolkit.walking import EXCLUDED, IGNORED

CONTENT = "the files fit current: "


def lint(*arguments: str | Path) -> CommandOutput:
    return call("lint", *arguments)


def cpu_seconds() -> float:
    """What this process and its ended children have used: other work on the machine does not count."""
    return sum(os.times()[:4])


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (GOOD, 0, CONTENT),
        (ADVICE, 0, "file.yaml:7: advice: "),
        (BAD, 1, "file.yaml:7: FAILED: the API has no field spec.predictor.containerSpec"),
        (GOOD.replace("\n", "\r\n"), 0, CONTENT),
        ("\ufeff" + GOOD, 0, CONTENT),
        (f"{GOOD}---\n{BAD}", 1, "file.yaml:22: FAILED: "),
        ("apiVersion: v1\nkind: List\nitems:\n- " + GOOD.replace("\n", "\n  "), 0, CONTENT),
        (GOOD.replace("name: churn", 'name: "\\e[2J"'), 1, "FAILED"),
    ],
    ids=["good", "advice", "bad", "crlf", "bom", "second document", "list", "control characters"],
)
def test_findings_decide_the_exit_code(here: Path, text: str, code: int, words: str) -> None:
    (here / "file.yaml").write_bytes(text.encode())
    result = lint("file.yaml")
    assert (result.code, result.err) == (code, "")
    assert words in result.out
    assert [char for char in result.out if not char.isprintable() and char != "\n"] == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (GOOD.encode("utf-16"), "is not a text file in UTF-8: byte 0 is 0xff"),
        (GOOD.replace("churn", "schön").encode("latin-1"), "is not a text file in UTF-8"),
        (bytes(range(256)), "is not a text file in UTF-8: byte 128 is 0x80"),
        (GOOD.replace("  predictor", "\tpredictor").encode(), "file.yaml:6:1: "),
        (GOOD.encode() + b"kind: Other\n", "file.yaml:15:1: the key 'kind' stands here a second time, after line 2"),
        (GOOD.replace("name: churn", "name: {{ .Values.name }}").encode(), "render it first (`helm template`"),
        (b"[" * 100_000, "more than 100 mappings and lists within one another"),
        (b"a: [1\n", "file.yaml:2:1: "),
    ],
    ids=["utf-16", "latin-1", "binary", "tabs", "duplicate key", "template", "deep", "broken"],
)
def test_a_named_file_that_cannot_be_read_exits_3_and_the_others_are_judged(
    here: Path, content: bytes, words: str
) -> None:
    (here / "file.yaml").write_bytes(content)
    (here / "good.yaml").write_text(GOOD)
    result = lint("file.yaml", "good.yaml")
    assert result.code == 3
    assert words in result.err
    assert "found: 1 × InferenceService" in result.out


@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [
        (GOOD.encode("utf-16"), 3, ""),
        (GOOD.replace("churn", "schön").encode("latin-1"), 3, ""),
        (GOOD.replace("  predictor", "\tpredictor").encode(), 3, ""),
        (bytes(range(256)), 0, "1 × file that is no text in UTF-8 (file.yaml)"),
        (GOOD.replace("name: churn", "name: {{ .Values.name }}").encode(), 0, "1 × template (file.yaml)"),
        (b"[" * 100_000, 0, "1 × file that is no YAML or JSON (file.yaml)"),
        (b'// a comment\n{"compilerOptions": {}}', 0, "1 × file that is no YAML or JSON (file.yaml)"),
        (b"a: 1\n" * 500_000, 0, "1 × large file without a sign of KServe or KFP (file.yaml)"),
    ],
    ids=["utf-16", "latin-1", "tabs", "binary", "template", "deep", "tsconfig", "large"],
)
def test_a_file_in_a_directory_that_cannot_be_read_matters_only_if_it_shows_a_manifest(
    here: Path, content: bytes, code: int, reason: str
) -> None:
    (here / "file.yaml").write_bytes(content)
    (here / "good.yaml").write_text(GOOD)
    result = lint(".")
    assert result.code == code
    assert (f"skipped: {reason}\n" in result.out) if reason else ("file.yaml" in result.err)
    assert "found: 1 × InferenceService" in result.out


def test_a_template_that_is_yaml_is_skipped_in_a_chart_and_judged_elsewhere(here: Path) -> None:
    (here / "deploy").mkdir()
    (here / "deploy" / "file.yaml").write_text(BAD.replace("name: churn", "name: '{{ .Values.name }}'"))
    (here / "good.yaml").write_text(GOOD)
    assert lint(".").code == 1
    (here / "deploy" / "file.yaml").write_text(f"# not a {{{{ include }}}}\n{BAD}")
    assert "deploy/file.yaml:8: FAILED: " in lint(".").out
    (here / "Chart.yaml").write_text("name: churn\n")
    result = lint(".")
    assert result.code == 0
    assert "skipped: 1 × template (deploy/file.yaml)\n" in result.out


def test_a_failed_must_outranks_a_file_that_cannot_be_read(here: Path) -> None:
    (here / "file.yaml").write_text("a: [1\n")
    (here / "bad.yaml").write_text(BAD)
    result = lint("file.yaml", "bad.yaml")
    assert result.code == 1
    assert "incomplete: 1 error while reading, listed below\nthe files do not fit current" in result.out
    assert "file.yaml:2:1: " in result.err


def test_a_huge_file_takes_no_memory(here: Path) -> None:
    with (here / "huge.json").open("wb") as file:
        file.truncate(1 << 30)
    (here / "good.yaml").write_text(GOOD)
    result = lint(".")
    assert result.code == 0
    assert "skipped: 1 × large file without a sign of KServe or KFP (huge.json)" in result.out
    result = lint("huge.json", "good.yaml")
    assert result.code == 3
    assert "huge.json has more than 67,108,864 bytes" in result.err


def standard_input(text: str, *arguments: str) -> CommandOutput:
    done = CliRunner().invoke(main, ["lint", *arguments], input=text, catch_exceptions=False)
    return CommandOutput(done.exit_code, done.stdout, done.stderr)


def test_standard_input_is_judged_beside_files(here: Path) -> None:
    (here / "good.yaml").write_text(GOOD)
    result = standard_input(BAD, "-", "good.yaml")
    assert result.code == 1
    assert result.out.startswith("<stdin>:7: FAILED: ")
    assert "found: 2 × InferenceService" in result.out
    result = standard_input("a: [1\n", "-")
    assert result.code == 3
    assert "<stdin>:2:1: " in result.err


def test_an_input_that_cannot_be_had_is_an_error_beside_the_others(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "bad.yaml").write_text(BAD)
    (here / "good.yaml").write_text(GOOD)
    result = lint("bad.yaml", "--helm", "absent", "--kustomize", "absent")
    assert result.code == 1
    assert result.err.count("trivet: ") == 2
    assert lint("good.yaml", "--format", "json", "--helm", "absent").out.count('"exit_code"') == 1
    monkeypatch.setattr("trivet.toolkit.subjects.MAX_BYTES", 1000)
    result = standard_input(GOOD * 5, "-", "bad.yaml")
    assert (result.code, "<stdin> has more than 1,000 bytes" in result.err) == (1, True)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("redirection", "words"),
    [("<&-", "standard input is closed"), ("0> nothing.txt", "<stdin> cannot be read: Bad file")],
)
def test_a_standard_input_that_cannot_be_read_is_an_error(here: Path, redirection: str, words: str) -> None:
    assert os.waitstatus_to_exitcode(os.system(f"{PROGRAM} lint - {redirection} 2> result.txt")) == 3
    assert words in (here / "result.txt").read_text()
    (here / "good.yaml").write_text(GOOD)
    assert (
        os.waitstatus_to_exitcode(os.system(f"{PROGRAM} lint good.yaml - {redirection} > out.txt 2> result.txt")) == 3
    )
    assert words in (here / "result.txt").read_text()
    assert "found: 1 × InferenceService" in (here / "out.txt").read_text()


@pytest.mark.parametrize(("name", "read"), [("json", json.loads), ("sarif", json.loads), ("junit", ET.fromstring)])
@pytest.mark.parametrize(("text", "code"), [(GOOD, 0), (BAD, 1)])
def test_a_machine_format_is_all_that_is_printed(
    here: Path, name: str, read: Callable[[str], object], text: str, code: int
) -> None:
    (here / "file.yaml").write_text(text)
    result = lint("file.yaml", "--format", name, "--report", "out")
    assert (result.code, result.err) == (code, "")
    read(result.out)
    written = {"json": "report.json", "sarif": "report.sarif", "junit": "junit.xml"}[name]
    assert result.out == (here / "out" / written).read_text()


def test_githubs_annotations_are_all_that_is_printed(here: Path) -> None:
    (here / "bad.yaml").write_text(BAD)
    result = lint("bad.yaml", "--format", "github")
    assert (result.code, result.err) == (1, "")
    assert {line[:2] for line in result.out.splitlines()} == {"::"}


def test_no_report_is_green_when_a_file_could_not_be_read(here: Path) -> None:
    (here / "good.yaml").write_text(GOOD)
    (here / "broken.yaml").write_text("a: [1\n")
    problem = "broken.yaml:2:1: "
    for name in ("json", "sarif", "junit", "github", "html"):
        result = lint("good.yaml", "broken.yaml", "--format", name, "--report", "out")
        assert (result.code, problem in result.out) == (3, True), name
    report = json.loads((here / "out" / "report.json").read_text())
    assert (report["verdict"], report["exitCode"], report["errors"][0]["exit_code"]) == ("inconclusive", 3, 3)
    (run,) = json.loads((here / "out" / "report.sarif").read_text())["runs"]
    assert run["invocations"][0]["executionSuccessful"] is False
    assert ET.parse(here / "out" / "junit.xml").getroot().get("errors") == "1"
    said = lint("good.yaml", "broken.yaml", "--format", "github").out.splitlines()
    assert said[-2].startswith("::error title=trivet%3A not judged::broken.yaml:2:1: ")
    assert said[-1].startswith("::error title=trivet::it is inconclusive whether the files fit current: ")
    (here / "bad.yaml").write_text(BAD)
    assert json.loads(lint("bad.yaml", "broken.yaml", "--format", "json").out)["exitCode"] == 1


def test_an_unknown_format_is_refused_with_those_that_there_are(here: Path) -> None:
    assert "unknown report format 'sarf'\n  remedy: did you mean 'sarif'?" in refused("lint", ".", "--format", "sarf")


# which files


def test_paths_that_git_ignores_or_a_pattern_excludes_are_skipped_with_a_count(here: Path) -> None:
    for name in ("a/one.yaml", "a/two.yaml", "build/three.yaml", "legacy/four.yaml", "good.yaml"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(GOOD if name == "good.yaml" else BAD)
    (here / ".gitignore").write_text("build/\n!\n")
    (here / "a" / ".gitignore").write_text("one.yaml\n")
    (here / "pyproject.toml").write_text('[tool.trivet.lint]\nexclude = ["/a/t*.yaml"]\n')
    result = lint(".", "--exclude", "legacy")
    assert result.code == 0
    assert "found: 1 × InferenceService" in result.out
    assert f"2 × {IGNORED} (a/one.yaml, build)" in result.out
    assert f"2 × {EXCLUDED} (a/two.yaml, legacy)" in result.out
    assert lint(".", "--exclude", "legacy", "--no-gitignore").code == 1
    assert lint("build").code == 1, "a directory that is named is walked"
    assert lint("a/one.yaml").code == 1, "a file that is named is read"


def test_ignore_files_above_count_within_the_repository(here: Path) -> None:
    (here / ".git").mkdir()
    (here / "deploy" / "local").mkdir(parents=True)
    (here / ".gitignore").write_text("local/\n/deploy/secret.yaml\n")
    for name in ("good.yaml", "secret.yaml", "local/bad.yaml"):
        (here / "deploy" / name).write_text(GOOD if name == "good.yaml" else BAD)
    assert lint("deploy").code == 0
    assert lint("deploy/local").code == 1


def test_a_pattern_never_matches_what_is_above_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "build" / "project"
    project.mkdir(parents=True)
    (tmp_path / "build" / "other.yaml").write_text(BAD)
    (project / "bad.yaml").write_text(BAD)
    (project / "pyproject.toml").write_text('[tool.trivet.lint]\nexclude = ["build", "project"]\n')
    monkeypatch.chdir(project)
    assert lint(".").code == 1
    assert lint(project).code == 1
    assert lint("../other.yaml").code == 1
    assert lint("../other.yaml", "--exclude", "other.*").code == 2


def test_a_pattern_of_the_command_is_relative_to_the_working_directory(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "deploy" / "old").mkdir(parents=True)
    (here / "deploy" / "old" / "bad.yaml").write_text(BAD)
    (here / "deploy" / "good.yaml").write_text(GOOD)
    (here / "pyproject.toml").write_text("[tool.trivet.lint]\nexclude = []\n")
    monkeypatch.chdir(here / "deploy")
    assert lint(".").code == 1
    assert lint(".", "--exclude", "/old").code == 0
    (here / "pyproject.toml").write_text('[tool.trivet.lint]\nexclude = ["/deploy/old/"]\n')
    assert lint(".").code == 0
    assert lint(".", "--exclude", "!old/").code == 1


def test_a_named_file_is_named_whatever_the_order(here: Path) -> None:
    (here / "d").mkdir()
    (here / "d" / "broken.yaml").write_text("a: [1\n")
    (here / "d" / "good.yaml").write_text(GOOD)
    (here / "d" / "link.yaml").symlink_to("good.yaml")
    result = lint("d")
    assert result.code == 0
    assert "found: 1 × InferenceService" in result.out
    for paths in (("d", "d/broken.yaml"), ("d/broken.yaml", "d")):
        result = lint(*paths)
        assert (result.code, result.err.count("d/broken.yaml:2:1: ")) == (3, 1), paths


def test_an_empty_path_is_wrong_usage(here: Path) -> None:
    (here / "good.yaml").write_text(GOOD)
    for arguments in (("",), ("good.yaml", "--helm", "")):
        result = lint(*arguments)
        assert (result.code, result.out) == (3, "")
        assert "the path is empty" in result.err


def test_a_pattern_that_is_none_is_refused(here: Path) -> None:
    assert "invalid pattern '!'" in refused("lint", ".", "--exclude", "!")


# how much


def test_advice_beyond_a_number_is_counted_and_its_remedy_stands_once(here: Path) -> None:
    (here / "advice.yaml").write_text(
        "---\n".join([ADVICE.replace("churn", f"churn-{number}") for number in range(30)])
    )
    result = lint("advice.yaml")
    assert result.code == 0
    assert result.out.count(": advice: ") == 20
    assert result.out.count("    remedy: ") == 1
    assert "advice not shown: 10 × manifests.resources_are_set; --max-advice N shows more" in result.out
    assert lint("advice.yaml", "--max-advice", "40").out.count(": advice: ") == 30
    (here / "pyproject.toml").write_text("[tool.trivet.lint]\nmax_advice = 0\n")
    assert ": advice: " not in lint("advice.yaml").out


def test_of_many_kinds_the_first_are_named(here: Path) -> None:
    others = "".join(f"---\nkind: Kind{number}\n" * number for number in range(1, 13))
    (here / "all.yaml").write_text(GOOD + others)
    assert "found: 1 × InferenceService, 1 × Kind1, 2 × Kind2" in lint("all.yaml").out
    assert "42 × document of 4 other kinds" in lint("all.yaml").out


def test_quiet_prints_only_what_fails(here: Path) -> None:
    (here / "advice.yaml").write_text(ADVICE)
    assert lint("advice.yaml", "--quiet") == CommandOutput(0, "", "")
    (here / "bad.yaml").write_text(BAD)
    result = lint(".", "--quiet")
    assert result.code == 1
    assert [line.partition(": ")[0] for line in result.out.splitlines() if not line.startswith(" ")] == [
        "bad.yaml:7",
        "bad.yaml:11",
        "the files do not fit current",
    ]


# what is known and accepted


def test_a_baseline_accepts_what_was_there_and_a_comment_one_finding(here: Path) -> None:
    (here / "bad.yaml").write_text(BAD)
    (here / "baseline.json").write_text(lint("bad.yaml", "--format", "json").out)
    said = lint("bad.yaml", "--baseline", "baseline.json")
    assert said.code == 0
    assert f"ignored: 2 × {BY_BASELINE}\n" in said.out
    (here / "new.yaml").write_text(BAD.replace("churn", "other"))
    said = lint("bad.yaml", "new.yaml", "--baseline", "baseline.json")
    assert said.code == 1
    assert "bad.yaml" not in said.out
    assert "cannot read the baseline absent.json" in refused("lint", "bad.yaml", "--baseline", "absent.json")
    comment = "    # trivet: ignore[manifests.fields_are_known] read by our own webhook\n    containerSpec"
    (here / "new.yaml").write_text(BAD.replace("    containerSpec", comment))
    said = lint("new.yaml")
    assert f"ignored: 1 × {BY_COMMENT}\n" in said.out
    assert "containerSpec" not in said.out
    assert "manifests.protocol_version_is_served" in said.out


def test_the_contract_of_comments_cannot_be_chosen() -> None:
    assert "it judges the comments about the contracts that are chosen" in refused(
        "lint", ".", "--contract", "lint.ignore_comments_are_used"
    )


def test_the_contract_of_comments_is_explained() -> None:
    said = call("explain", "lint.ignore_comments_are_used")
    assert said.code == 0
    assert "A comment that ignores findings must give its reason, and ignore one" in said.out
    assert "did you mean 'lint.ignore_comments_are_used'?" in refused("explain", "lint.ignore_comments_are_use")
    assert "lint.ignore_comments_are_used" in call("list").out


# what is rendered


def test_code_blocks_and_rendered_streams_are_judged(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "page.md").write_text(f"# A page\n\n```yaml\n{BAD}```\n")
    (here / "good.yaml").write_text(GOOD)
    assert lint(".").code == 0
    said = lint(".", "--markdown")
    assert said.code == 1
    assert said.out.startswith("page.md:10: FAILED: ")
    monkeypatch.setenv("PATH", str(here))
    said = lint("--helm", "chart")
    assert (said.code, said.out) == (2, "")
    assert "there is no helm on this machine to render chart" in said.err
    assert "Missing argument 'PATH…'" in call("lint").err


# the platform


def test_a_stack_per_path_is_loaded_and_named(here: Path) -> None:
    (here / "old").mkdir()
    for name in ("old/a.yaml", "b.yaml"):
        (here / name).write_text(GOOD)
    (here / "pyproject.toml").write_text('[[tool.trivet.lint.paths]]\nglob = "old/"\nstack = "2024.11"\n')
    said = lint(".").out
    assert "on stacks current (1), 2024.11 (1)\n" in said
    assert "the files fit current and 2024.11: " in said
    report = json.loads(lint(".", "--format", "json").out)
    assert [one["name"] for one in report["stacks"]] == ["current", "2024.11"]
    (here / "pyproject.toml").write_text('[[tool.trivet.lint.paths]]\nglob = "old/"\nstack = "2024.1"\n')
    assert "2024.11" in refused("lint", ".")


def test_a_context_that_is_not_there_is_an_error_of_kubectl(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(here))
    (here / "good.yaml").write_text(GOOD)
    result = lint("good.yaml", "--context", "prod")
    assert (result.code, result.out) == (2, "")
    assert "there is no kubectl on this machine" in result.err


def test_a_yaml_bomb_is_refused_before_it_goes_off(here: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in pairwise("abcdefghij")]
    (here / "bomb.yaml").write_text("\n".join(lines))
    began = cpu_seconds()
    result = lint("bomb.yaml")
    assert result.code == 3
    assert "bomb.yaml:7:1: more than 2,000,000 values once its aliases are written out" in result.err
    assert cpu_seconds() - began < 5


@pytest.mark.processes
@pytest.mark.parametrize(
    "text",
    [
        GOOD + "      env:\n" + "".join(f"      - name: A{i}\n        value: b\n" for i in range(50_000)),
        "---\n".join([GOOD] * 7_000),
    ],
    ids=["one document", "many documents"],
)
def test_a_hundred_thousand_lines_take_seconds(here: Path, text: str) -> None:
    assert text.count("\n") > 100_000
    (here / "long.yaml").write_text(text)
    began = cpu_seconds()
    assert lint("long.yaml").code == 0
    assert cpu_seconds() - began < 30


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "no YAML or JSON document at all"),
        ("# only a comment\n---\n", "no YAML or JSON document at all"),
        ("kind: ConfigMap\n", "1 ConfigMap"),
        ("just words\n", "1 document that is no mapping"),
    ],
)
def test_nothing_to_lint_is_inconclusive(here: Path, text: str, seen: str) -> None:
    (here / "file.yaml").write_text(text)
    result = lint("file.yaml")
    assert result.code == 2
    assert f"seen were {seen}" in result.err
    assert "conformant" not in result.out


def test_an_empty_directory_has_nothing_to_lint(here: Path) -> None:
    assert lint(here).code == 2


def test_a_model_directory_that_is_a_file_is_refused(here: Path) -> None:
    (here / "MLmodel").write_text("not a model")
    result = lint(".")
    assert result.code == 3
    assert "is not an MLmodel: expected one mapping with the key 'flavors'" in result.err


def test_paths_that_lead_nowhere_or_in_circles_are_named(here: Path) -> None:
    for name, target in (("loop.yaml", "loop.yaml"), ("one.yaml", "two.yaml"), ("two.yaml", "one.yaml"), ("self", ".")):
        (here / name).symlink_to(target)
    (here / "lost.yaml").symlink_to("nowhere")
    (here / "good.yaml").write_text(GOOD)
    result = lint(".", "absent.yaml", "a" * 300)
    assert result.code == 3
    assert "cannot be read: File name too long" in result.err
    assert result.err.count("Too many levels of symbolic links") == 3
    assert "lost.yaml does not exist" in result.err
    assert "absent.yaml does not exist" in result.err
    assert "found: 1 × InferenceService" in result.out


@pytest.mark.processes
def test_pipes_sockets_and_endless_files_do_not_hang(here: Path) -> None:
    os.mkfifo(here / "pipe.yaml")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.yaml")
        (here / "good.yaml").write_text(GOOD)
        assert run("lint", ".", timeout=30).code == 0
    result = run("lint", "/dev/zero", timeout=60)
    assert result.code == 3
    assert "/dev/zero has more than 67,108,864 bytes" in result.err


@pytest.mark.processes
def test_a_pipe_that_is_named_is_read(here: Path) -> None:
    (here / "bad.yaml").write_text(BAD)
    assert os.waitstatus_to_exitcode(os.system(f"cat bad.yaml | {PROGRAM} lint /dev/stdin > result.txt")) == 1
    assert (here / "result.txt").read_text().startswith("/dev/stdin:7: FAILED: ")


def test_paths_with_spaces_and_letters_beyond_ascii(here: Path) -> None:
    (here / "mein schönes modell").mkdir()
    (here / "mein schönes modell" / "a b.yaml").write_text(BAD)
    assert lint("mein schönes modell").out.startswith("mein schönes modell/a b.yaml:7: FAILED: ")


@pytest.mark.parametrize(
    "text",
    [
        "metadata: 3\nspec: [1]\n",
        "metadata: {name: 3, annotations: [x], labels: 7}\nspec: {predictor: {model: [], containers: {a: 1}}}\n",
        "metadata: {annotations: {serving.kserve.io/deploymentMode: 3}}\nspec: {predictor: {model: {modelFormat: x, "
        "storageUri: 3, protocolVersion: 2, env: 7, resources: x, readinessProbe: 4}, canaryTrafficPercent: abc}}\n",
        "",
    ],
)
def test_a_manifest_of_the_wrong_types_fails_and_breaks_no_check(here: Path, text: str) -> None:
    (here / "odd.yaml").write_text(f"apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\n{text}")
    result = lint("odd.yaml")
    assert result.code == 1
    assert "ERROR" not in result.out


@pytest.mark.parametrize(
    ("mlmodel", "requirements"),
    [
        ("flavors: {python_function: 3, sklearn: [x]}\nsignature: 4\n", b"\xff\xfe"),
        ("flavors: {python_function: {python_version: [3]}}\nsignature: {inputs: '{', outputs: 3}\n", b"a b c\n"),
        (
            "flavors: {python_function: {python_version: abc}}\nmlflow_version: x.y\n",
            b"-r other\n@@@\nnumpy==not.one\n",
        ),
    ],
)
def test_a_model_directory_of_the_wrong_types_breaks_no_check(here: Path, mlmodel: str, requirements: bytes) -> None:
    (here / "MLmodel").write_text(mlmodel)
    (here / "requirements.txt").write_bytes(requirements)
    result = lint(".")
    assert result.code == 1
    assert "ERROR" not in result.out
