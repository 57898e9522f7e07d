"""``trivet detect`` on the command line, with a kubectl that answers from a recording."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from commandline import refused, run
from fakes.recorded_kubectl import RECORDINGS

from trivet.stacks.read import load_stack

KUBECTL = """\
import json, sys
arguments = [one for one in sys.argv[1:]]
if arguments[-4:] == ["config", "get-contexts", "-o", "name"]:
    print("staging")
    sys.exit()
answers = json.load(open({recording!r}))
answer = answers.get(" ".join(arguments[arguments.index("--context") + 2:]))
if answer is None:
    sys.exit("Error from server (Forbidden): it is forbidden: User cannot do it")
stdout = answer.get("stdout", "")
print(stdout if isinstance(stdout, str) else json.dumps(stdout))
"""


@pytest.fixture(autouse=True)
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put that kubectl in front of the PATH."""
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    script = tmp_path / "kubectl.py"
    script.write_text(KUBECTL.format(recording=str(RECORDINGS / "kserve-0.14.1.json")), encoding="utf-8")
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I {script} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


pytestmark = pytest.mark.processes


def test_a_stack_is_written_and_what_stays_unknown_is_exit_code_2(tmp_path: Path) -> None:
    done = run("detect", "--context", "staging", tmp_path / "found")
    assert (done.code, done.err) == (2, "")
    assert "Deployment kserve/kserve-controller-manager, image kserve/kserve-controller:v0.14.1" in done.out
    assert done.out.splitlines()[-1].startswith(f"wrote {tmp_path / 'found'}")
    assert load_stack(str(tmp_path / "found")).components["kserve"] == "0.14.1"
    facts = json.loads((tmp_path / "found" / "detected.json").read_text(encoding="utf-8"))
    assert facts["context"] == "staging"


def test_a_folder_that_exists_and_an_unknown_context_are_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    assert "full exists, and a detected stack is written to a new folder" in refused("detect", str(tmp_path / "full"))
    words = refused("detect", "--context", "stagin", str(tmp_path / "new"))
    assert "unknown context of the kubeconfig 'stagin'" in words
    assert "did you mean 'staging'" in words
    assert "it never uses the current context" in refused("detect", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_monitoring_is_rendered_for_a_detected_stack(tmp_path: Path) -> None:
    run("detect", "--context", "staging", tmp_path / "found")
    done = run("monitor", "render", "--stack", tmp_path / "found", "-n", "models", tmp_path / "monitoring")
    assert (done.code, done.err) == (0, "")
    scraped = (tmp_path / "monitoring" / "prometheus" / "scrape.yml").read_text(encoding="utf-8")
    assert "replacement: $1:8082" in scraped
    assert "names:\n    - models" in scraped.replace("      ", "    ")
