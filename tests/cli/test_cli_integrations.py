"""The hook for pre-commit, the GitHub Action and the GitLab template: what they run is what trivet understands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from commandline import BAD, GOOD, call

ROOT = Path(__file__).parents[2]

# the hook


def test_the_hook_judges_the_whole_repository(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    command = [*hook["entry"].split(), *hook["args"]]
    assert command[0] == "trivet"
    assert not hook["pass_filenames"], (
        "a manifest is judged by the objects beside it, also by those that did not change"
    )
    assert hook["additional_dependencies"] == [".[harness]"]
    (here / "deploy").mkdir()
    (here / "deploy" / "service.yaml").write_text(GOOD)
    assert call(*command[1:]).code == 0
    (here / "deploy" / "service.yaml").write_text(BAD)
    assert call(*command[1:]).code == 1


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("a.yaml", True),
        ("a/b.yml", True),
        ("p.json", True),
        ("m/MLmodel", True),
        ("m/conda.yaml", True),
        ("a.py", False),
    ],
)
def test_the_hook_runs_when_a_file_changes_that_lint_reads(name: str, runs: bool) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert bool(re.search(hook["files"], name)) == runs


# the action


def action() -> Mapping[str, Any]:
    content: Mapping[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    return content


def test_the_action_has_its_inputs_from_the_environment() -> None:
    steps = action()["runs"]["steps"]
    assert [step for step in steps if "uses" in step] == [], "another action would have to be pinned by its commit"
    assert ["${{" in step["run"] for step in steps] == [False, False], (
        "an input in a script is a way to inject commands"
    )
    used = re.findall(r"\$\{\{ inputs\.(\w+) \}\}", (ROOT / "action.yml").read_text())
    assert sorted(used) == sorted(action()["inputs"])


def act(here: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the action's last step as GitHub does, with the trivet of this environment."""
    (here / "trivet" / "bin").mkdir(parents=True)
    (here / "trivet" / "bin" / "trivet").symlink_to(Path(sys.executable).with_name("trivet"))
    *_, step = action()["runs"]["steps"]
    values = {name: one["default"] for name, one in action()["inputs"].items()} | inputs
    variables = {
        name: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda m: values[m[1]], text) for name, text in step["env"].items()
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        env={**os.environ, "RUNNER_TEMP": str(here), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.processes
def test_the_action_annotates_and_fails(here: Path) -> None:
    (here / "a b.yaml").write_text(BAD)
    (here / "deploy").mkdir()
    (here / "deploy" / "good.yaml").write_text(GOOD)
    done = act(here, options="--exclude deploy/ --stack 2024.11", report="out")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("::error file=a b.yaml,line=7,")
    assert (here / "out" / "report.sarif").exists()


@pytest.mark.processes
def test_paths_and_options_of_the_action_may_stand_on_lines_of_their_own(here: Path) -> None:
    (here / "good.yaml").write_text(GOOD)
    (here / "bad.yaml").write_text(BAD)
    done = act(here, paths="good.yaml\nbad.yaml\n", options="--stack 2024.11\n--quiet\n")
    assert done.returncode == 1
    assert done.stdout.startswith("::error file=bad.yaml,line=7,")


@pytest.mark.processes
def test_an_input_of_the_action_is_no_command(here: Path) -> None:
    (here / "good.yaml").write_text(GOOD)
    done = act(here, paths="good.yaml $(touch${IFS}pwned) --help", options="--quiet")
    assert done.returncode == 3
    assert "--help does not exist" in done.stderr
    assert not (here / "pwned").exists()


# the template


def template(**inputs: str) -> Mapping[str, Any]:
    """The template's job with its inputs filled in as GitLab does."""
    text = (ROOT / "templates" / "lint.yml").read_text()
    header, _, body = text.partition("\n---\n")
    declared = yaml.safe_load(header)["spec"]["inputs"]
    assert set(re.findall(r"\$\[\[ inputs\.(\w+) \]\]", body)) == set(declared)
    values = {name: (one or {}).get("default") for name, one in declared.items()} | inputs
    assert None not in values.values()
    job: Mapping[str, Any] = yaml.safe_load(re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda m: str(values[m[1]]), body))
    return dict(job["trivet-lint"])


def test_the_template_needs_a_version() -> None:
    header = yaml.safe_load((ROOT / "templates" / "lint.yml").read_text().partition("\n---\n")[0])
    assert [name for name, one in header["spec"]["inputs"].items() if "default" not in one] == ["ref"]


@pytest.mark.processes
@pytest.mark.parametrize(("text", "code"), [(GOOD, 0), (BAD, 1)])
def test_the_script_of_the_template_lints_the_project(here: Path, text: str, code: int) -> None:
    project = here / "project"
    project.mkdir()
    (project / "service.yaml").write_text(text)
    installed = here / "project.trivet" / ".venv" / "bin"
    installed.mkdir(parents=True)
    (installed / "trivet").symlink_to(Path(sys.executable).with_name("trivet"))
    script = template(ref="main", options="--max-advice 3")["script"]
    for line in script:
        subprocess.run(["bash", "-n", "-c", line], check=True)
    done = subprocess.run(
        ["bash", "-ec", script[-1]], cwd=project, env={**os.environ, "CI_PROJECT_DIR": str(project)}, timeout=60
    )
    assert done.returncode == code
    assert (project / "trivet-report" / "junit.xml").exists()
