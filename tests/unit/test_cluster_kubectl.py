"""The wrapper around kubectl: its command lines, results and errors. A script replaces kubectl."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest

from trivet.errors import PlatformError
from trivet.host.kubectl import Kubectl, KubectlError, contexts


def script(folder: Path, body: str) -> str:
    """A program that records its arguments in ``asked`` and then does ``body``."""
    path = folder / "kubectl"
    path.write_text(
        f"#!{sys.executable}\nimport json, pathlib, sys, time\n"
        f"with open({str(folder / 'asked')!r}, 'a') as file: file.write(json.dumps(sys.argv[1:]) + '\\n')\n{body}\n"
    )
    path.chmod(0o755)
    return str(path)


def asked(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "asked").read_text().splitlines()]


def test_kubeconfig_and_context_are_named_in_every_call(tmp_path: Path) -> None:
    kubectl = Kubectl(context="mine", kubeconfig=Path("/k"), binary=script(tmp_path, "print('{\"items\": []}')"))
    assert kubectl.objects("pods", namespace="n", selector="a=b") == []
    assert asked(tmp_path) == [
        ["--kubeconfig", "/k", "--context", "mine", "get", "pods", "-n", "n", "-l", "a=b", "-o", "json"]
    ]


def test_a_kubectl_that_a_signal_ends_is_started_again_and_not_for_ever(tmp_path: Path) -> None:
    ended = "import os, signal; os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)"
    once = script(tmp_path, f"if open({str(tmp_path / 'asked')!r}).read().count('ready') < 2: {ended}\nprint('well')")
    assert Kubectl(context="c", binary=once, mark="run").run("get", "ready").strip() == "well"
    always = Kubectl(context="c", binary=script(tmp_path, ended), mark="run")
    with pytest.raises(KubectlError):
        always.run("get", "never")
    assert sum("never" in call for call in asked(tmp_path)) == 3


def test_the_current_context_is_never_used_by_accident() -> None:
    with pytest.raises(ValueError, match="needs the name of a context"):
        Kubectl(context="")


def test_applying_is_strict_and_on_the_servers_side(tmp_path: Path) -> None:
    binary = script(tmp_path, "print(json.dumps(json.load(sys.stdin)['items'][0]))")
    document = {"kind": "Pod", "metadata": {"name": "x"}}
    assert Kubectl(context="c", binary=binary).apply(document, dry_run=True) == [document]
    (call,) = asked(tmp_path)
    assert {"--server-side", "--validate=strict", "--field-manager=trivet", "--dry-run=server"} <= set(call)


@pytest.mark.parametrize(
    ("stderr", "reason", "remedy"),
    [
        ('Error from server (Forbidden): pods is forbidden: User "u" cannot list', "Forbidden", "trivet doctor"),
        ('Error from server (NotFound): pods "x" not found', "NotFound", ""),
        ("The connection to the server 127.0.0.1:1 was refused - did you", "", ""),
        ("dial tcp 127.0.0.1:1: connect: connection refused", "", "check that the cluster runs"),
        ('error: context "x" does not exist', "", "use a context of the kubeconfig"),
        ('strict decoding error: unknown field "spec.predictor.containerSpec"', "", "remove or correct the field"),
        ("", "", ""),
    ],
)
def test_errors_have_kubectl_s_message_and_a_remedy(tmp_path: Path, stderr: str, reason: str, remedy: str) -> None:
    binary = script(tmp_path, f"sys.stderr.write({stderr!r}); sys.exit(1)")
    with pytest.raises(KubectlError) as caught:
        Kubectl(context="c", binary=binary).run("get", "pods")
    assert (stderr or "kubectl get pods: exited with status 1 and wrote no error") in caught.value.message
    assert caught.value.reason == reason
    assert remedy in caught.value.remedy


def test_a_missing_kubectl_and_a_timeout_are_different_errors(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="there is no"):
        Kubectl(context="c", binary=str(tmp_path / "none")).run("version")
    with pytest.raises(PlatformError, match=r"timed out after 0\.3 s"):
        Kubectl(context="c", binary=script(tmp_path, "time.sleep(5)")).run("version", seconds=0.3)


def test_an_object_that_does_not_exist_is_none(tmp_path: Path) -> None:
    assert Kubectl(context="c", binary=script(tmp_path, "")).get("pod", "x", namespace="n") is None


def test_a_timeout_has_the_last_state_and_the_last_error() -> None:
    def look() -> bool | None:
        raise KubectlError("kubectl get pod", "connection refused")

    with pytest.raises(PlatformError) as caught:
        Kubectl(context="c").wait_for("pod x to run", look, timeout=0, status=lambda: "phase Pending", poll=0.01)
    assert "timed out after 0 s waiting for pod x to run: last seen" in caught.value.message
    assert "phase Pending" in caught.value.message
    assert "connection refused" in caught.value.message


def test_waiting_ends_with_the_session() -> None:
    ended = threading.Event()
    ended.set()
    with pytest.raises(PlatformError, match="the session ended while waiting for x"):
        Kubectl(context="c").wait_for("x", lambda: None, timeout=60, stop=ended)


def test_contexts_of_no_kubeconfig_are_none(tmp_path: Path) -> None:
    assert contexts(tmp_path / "nothing", script(tmp_path, "sys.exit(1)")) == []
    assert contexts(None, script(tmp_path, "print('a'); print('b')")) == ["a", "b"]


def test_a_kubectl_of_a_run_is_out_of_reach_of_its_terminal(tmp_path: Path) -> None:
    binary = script(tmp_path, "import os; print(os.getsid(0) == os.getpid())")
    assert Kubectl(context="c", binary=binary, mark="r1").run("get").strip() == "True"
    assert Kubectl(context="c", binary=binary).run("get").strip() == "False"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_kubectl_that_a_signal_of_the_terminal_ended_before_it_began_is_started_again(
    tmp_path: Path, name: str
) -> None:
    first = tmp_path / "first"
    first.touch()
    body = (
        "import os, signal\n"
        f"first = pathlib.Path({str(first)!r})\n"
        "if first.exists():\n"
        "    first.unlink()\n"
        f"    signal.signal(signal.{name}, signal.SIG_DFL)\n"
        f"    os.kill(os.getpid(), signal.{name})\n"
        "print('done')"
    )
    assert Kubectl(context="c", binary=script(tmp_path, body), mark="r1").run("get").strip() == "done"
    assert len(asked(tmp_path)) == 2
