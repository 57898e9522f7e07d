"""Wrong usage: exit code 3, what was wrong, what there is instead, and never a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from commandline import GOOD, PROGRAM, CommandOutput, call, environment, refused, run

from trivet.stacks.read import stack_folder

STACKS = "choose one of: 2024.05, 2024.05-fixed, 2024.08, 2024.08-fixed, 2024.11, 2024.11-fixed, current"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "nonsense",
            "unknown command 'nonsense'\n"
            "  remedy: choose one of: canary, check, deploy, detect, diff, doctor, down, explain, fleet, gate, images, lint, list, "
            "matrix, monitor, plan, run, scenario, stack, up, verdict, waivers",
        ),
        ("stack nonsense", "unknown command 'nonsense'\n  remedy: choose one of: list, lock"),
        ("images nonsense", "unknown command 'nonsense'\n  remedy: choose one of: build, list, load, prune, save"),
        ("list --nonsense", "unknown option '--nonsense'\n  remedy: choose one of: --help, --plugin, -h"),
        ("run --stack nope", STACKS),
        ("plan --stack nope", STACKS),
        ("lint --stack nope .", STACKS),
        ("stack lock nope", STACKS),
        ("images prune --stack nope", STACKS),
        ("run --target nope", "unknown target 'nope'\n  remedy: choose one of: existing, kind, local"),
        ("plan --target nope", "unknown target 'nope'\n  remedy: choose one of: existing, kind, local"),
        ("run --profile nope", "choose one of: cluster, core, static"),
        ("plan --profile nope", "choose one of: cluster, core, static"),
        ("lint --profile nope .", "choose one of: cluster, core, static"),
        ("run --contract nope.*", "paths.storage_uri_names_the_model_directory"),
        ("explain nope", "paths.storage_uri_names_the_model_directory"),
        ("run --format nope", "choose one of: github, html, json, junit, markdown, sarif"),
        ("lint --format nope .", "choose one of: github, html, json, junit, markdown, sarif"),
        ("lint --contract serving.* .", "choose one of: "),
        ("stack lock current --cutoff tomorrow", "cut-off 'tomorrow' is not a date"),
        ("stack lock current --role nope", "choose one of: initializer, runtime, tracking, trainer"),
        (
            "run --target kind --store s3",
            "store 's3' is not supported on the target kind: its cluster has an S3 store of its own\n  remedy: omit the option",
        ),
        (
            "plan --target existing --database sqlite",
            "database 'sqlite' is not supported on the target existing: MLflow",
        ),
        ("run --with trackng=current", "unknown role 'trackng'\n  remedy: did you mean 'tracking'? choose one of: "),
        ("plan --with tracking=curent", "unknown stack 'curent'\n  remedy: did you mean 'current'? "),
        ("plan --with runtime=1.6.0", "no shipped stack has the runtime MLServer 1.6.0"),
        ("run --target kind --with pipelines=2.17.0", "on the target kind: KFP's backend there is that of the add-on"),
        (
            "run --target existing --context here --with sdk=2024.11",
            "the sdk of a stack cannot be from elsewhere on the target existing: what runs on your cluster",
        ),
        ("fleet --context nope --mlflow http://127.0.0.1:9", "unknown context of the kubeconfig 'nope'"),
        (
            "fleet --serve --contract manifests.* --mlflow http://127.0.0.1:9",
            "none of the chosen contracts judges a model directory",
        ),
    ],
)
def test_an_unknown_name_lists_what_there_is(command: str, words: str) -> None:
    assert words in refused(*command.split())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("fleet --mlflow http://127.0.0.1:9 --seed 0", "--seed is for models that are served, and none is"),
        ("fleet --mlflow http://127.0.0.1:9 --results nowhere", "--results is for models that are served"),
        ("fleet --mlflow http://127.0.0.1:9 --jobs 2", "--jobs is for models that are served"),
        ("fleet --mlflow http://127.0.0.1:9 --network", "--network is for models that are served"),
        ("fleet --mlflow http://127.0.0.1:9 --serve --seed 4", "--seed draws a sample, and --serve without a number"),
        ("fleet --mlflow http://127.0.0.1:9 --serve 0", "--serve '0' is not a number of models"),
        ("fleet --mlflow http://127.0.0.1:9 -n team", "--namespace is for the services of a cluster"),
        ("fleet --context prod --model churn", "--model chooses registered models, and no tracking server is judged"),
        ("down --all --with tracking=current", "--all deletes every cluster, so that --with chooses none"),
        (
            "down --stack 2024.11-fixed --with tracking=2.17.2",
            "--with tracking=2.17.2 changes nothing of 2024.11-fixed, whose own cluster would be deleted\n"
            "  remedy: delete that one: trivet down --stack 2024.11-fixed",
        ),
        (
            "down --stack 2024.11-fixed --with trainer=current --with tracking=current",
            "has no cluster of its own: it runs on that of 2024.11-fixed+tracking=current\n"
            "  remedy: delete that one: trivet down --stack 2024.11-fixed --with tracking=current",
        ),
        ("doctor --fleet", "--fleet chooses an RBAC manifest, and none is printed\n  remedy: pass --rbac too"),
        ("doctor --detect", "--detect chooses an RBAC manifest, and none is printed"),
        ("doctor --rbac --detect --fleet", "--detect and --fleet are two RBAC manifests, and one is printed"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(command: str, words: str) -> None:
    assert words in refused(*command.split())


@pytest.mark.parametrize("command", ["", "stack", "lint", "explain", "explain a b", "stack lock"])
def test_an_incomplete_command_shows_its_usage(command: str) -> None:
    result = call(*command.split())
    assert result.code == 3
    assert "Usage: " in result.err


@pytest.mark.parametrize(
    ("name", "words"),
    [("STACK", STACKS), ("TARGET", "unknown target"), ("PROFILE", "unknown profile"), ("PLUGINS", "plugin 'nope'")],
)
def test_a_wrong_environment_variable_is_wrong_usage(name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"TRIVET_{name}", "nope")
    assert words in refused("plan")


def test_a_flag_wins_over_the_environment_and_that_over_the_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "pyproject.toml").write_text('[tool.trivet]\nstack = "2024.11"\n')
    assert call("plan").out.startswith("2024.11  ")
    monkeypatch.setenv("TRIVET_STACK", "2024.11-fixed")
    assert call("plan").out.startswith("2024.11-fixed  ")
    assert call("plan", "--stack", "current").out.startswith("current  ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool.trivet\n", "is not valid TOML"),
        (
            '[tool.trivet]\nstackk = "x"\n',
            "did you mean 'stack'? choose one of: stack, target, profile, plugins, report",
        ),
        ("[tool.trivet]\nstack = 3\n", "tool.trivet.stack is 3"),
        ('[tool.trivet]\nplugins = "x"\n', "write a list of module names"),
        ('[tool.trivet]\nplugins = [""]\n', "plugin '' does not import"),
        ("[tool]\ntrivet = 3\n", "write [tool.trivet]"),
    ],
)
def test_broken_settings_name_the_file(here: Path, text: str, words: str) -> None:
    (here / "pyproject.toml").write_text(text)
    result = refused("plan")
    assert words in result
    assert "pyproject.toml" in result or "plugins" in result


@pytest.mark.parametrize("text", ['[project]\nname = "other"\n', "[tool.black]\nline-length = 9\n", "tool = 3\n", ""])
def test_a_pyproject_of_something_else_changes_nothing(here: Path, text: str) -> None:
    (here / "pyproject.toml").write_text(text)
    assert call("plan").out.startswith("current  ")


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A whole stack of the user's own, to be broken; its path has a space and a letter beyond ASCII."""
    return shutil.copytree(stack_folder("2024.11"), tmp_path / "my stück")


def test_a_stack_of_ones_own_is_named_by_folder_or_file(stack: Path) -> None:
    assert call("plan", "--stack", stack).out.startswith("my stück  ")
    assert call("plan", "--stack", stack / "stack.toml").out.startswith("my stück  ")


def test_a_stack_that_is_no_toml_names_the_line(stack: Path) -> None:
    (stack / "stack.toml").write_text("title = 'x'\n[[[\n")
    assert "stack.toml:2: invalid TOML" in refused("plan", "--stack", stack)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("title = ", "titel = ", "`titel` is unknown (did you mean `title`?), expected one of: "),
        ('python = "3.11"', "python = 3.11", "expected a Python version"),
        ("http_port = 8080", "http_port = 80800", "expected a port number"),
    ],
)
def test_a_stack_of_the_wrong_shape_names_the_key(stack: Path, old: str, new: str, words: str) -> None:
    text = (stack / "stack.toml").read_text()
    assert old in text
    (stack / "stack.toml").write_text(text.replace(old, new))
    assert words in refused("plan", "--stack", stack)


@pytest.mark.parametrize("command", ["run", "plan", "lint ."])
def test_a_stack_without_locks_says_how_to_make_them(stack: Path, command: str) -> None:
    for lock in stack.glob("*.lock"):
        lock.unlink()
    name, *rest = command.split()
    assert f"remedy: create it: trivet stack lock {stack}" in refused(name, "--stack", stack, *rest)


def test_a_lock_that_is_none_names_the_line(stack: Path) -> None:
    (stack / "trainer.lock").write_text("numpy==1.0\nnumpy>=2\n")
    assert "trainer.lock:2: 'numpy>=2' is not a pin" in refused("plan", "--stack", stack)


def test_a_folder_that_is_no_stack_says_what_is_missing(tmp_path: Path) -> None:
    assert "it has no stack.toml" in refused("plan", "--stack", tmp_path)


@pytest.mark.parametrize("command", ["run", "lint x.yaml"])
@pytest.mark.parametrize("place", ["file", "file/below", "/proc/below"])
def test_a_report_that_cannot_be_written_is_refused_at_once(here: Path, command: str, place: str) -> None:
    (here / "file").write_text("in the way")
    assert f"--report '{place}'" in refused(*command.split(), "--report", place)


@pytest.mark.processes
def test_a_path_without_permission_is_named(here: Path) -> None:
    (here / "secret.yaml").write_text(GOOD)
    (here / "secret.yaml").chmod(0)
    (here / "good.yaml").write_text(GOOD)
    (here / "closed").mkdir(mode=0o555)
    # Root may do everything, unless these capabilities are taken from it.
    as_others = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if as_others and not shutil.which("setpriv"):
        pytest.skip("running as root, and there is no setpriv")

    def lint(*more: str) -> CommandOutput:
        done = subprocess.run(
            [*as_others, PROGRAM, "lint", "good.yaml", *more],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        return CommandOutput(done.returncode, done.stdout, done.stderr)

    assert lint().code == 0
    result = lint("secret.yaml")
    assert result.code == 3
    assert "found: 1 × InferenceService" in result.out, "the other file is judged all the same"
    assert result.err.startswith("trivet: secret.yaml cannot be read: Permission denied\n")
    assert result.err.splitlines()[1].startswith("  remedy: ")
    assert "--report 'closed' is not writable" in lint("--report", "closed").err


@pytest.mark.processes
@pytest.mark.parametrize("path", ["a b", "a:b", "a'b", "a%20b", "a#b"])
@pytest.mark.parametrize("command", ["run", "doctor"])
def test_a_cache_path_that_breaks_the_software_is_refused(tmp_path: Path, command: str, path: str) -> None:
    result = run(command, TRIVET_CACHE=str(tmp_path / path))
    assert result.code == 3
    assert "cannot use the cache directory" in result.err
    assert "remedy: set TRIVET_CACHE to" in result.err
    assert not (tmp_path / path).exists()


@pytest.mark.processes
def test_a_cache_that_cannot_be_made_is_reported_by_run_and_doctor(here: Path) -> None:
    (here / "file").write_text("in the way")
    result = run("run", TRIVET_CACHE="file")
    assert (result.code, result.err.count("\n")) == (2, 2)
    assert f"the run directory {here}/file/runs" in result.err
    result = run("doctor", TRIVET_CACHE="file")
    assert result.code == 2
    assert f"BAD  cache                  {here}/file: " in result.out
    assert "remedy: set TRIVET_CACHE to a writable directory" in result.out
