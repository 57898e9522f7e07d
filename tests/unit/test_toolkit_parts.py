"""The small parts of the toolkit: conditions, the TCP probe, comparison."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from trivet.errors import PlatformError
from trivet.toolkit.comparison import same_values
from trivet.toolkit.readiness import conditions, describe_conditions, is_ready, ready_pods, selector_of
from trivet.toolkit.tcp_probe import Connection, probe_tcp


def observed(*given: tuple[str, str], **more: str) -> dict[str, Any]:
    found = [{"type": kind, "status": status, **more} for kind, status in given]
    return {"metadata": {"name": "x"}, "status": {"conditions": found}}


def test_conditions_by_type() -> None:
    assert conditions(observed(("Ready", "True"), ("PodScheduled", "False")))["PodScheduled"]["status"] == "False"
    assert conditions({}) == conditions({"status": {}}) == {}


def test_conditions_in_words_are_those_that_are_not_true() -> None:
    assert describe_conditions({}) == "no such object"
    assert describe_conditions({"metadata": {}}) == "no conditions"
    assert describe_conditions(observed(("Ready", "True"))) == "all conditions True"
    waiting = observed(("Ready", "Unknown"), ("IngressReady", "False"), reason="PodInitializing")
    assert describe_conditions(waiting) == "Ready=Unknown (PodInitializing); IngressReady=False (PodInitializing)"
    assert describe_conditions(observed(("Ready", "False"), message="no room")) == "Ready=False (no room)"


def test_a_pod_that_is_ending_is_not_a_ready_pod() -> None:
    ready, ending = observed(("Ready", "True")), observed(("Ready", "True"))
    ending["metadata"]["deletionTimestamp"] = "now"
    assert ready_pods([ready, ending, observed(("Ready", "False")), {"metadata": {}}]) == [ready]
    assert is_ready(ending)


def test_a_selector_has_all_labels() -> None:
    assert selector_of({"app": "a", "tier": "b"}) == "app=a,tier=b"


class Here:
    """A client whose pods are this machine."""

    def execute(
        self, pod: str, command: Sequence[str], *, namespace: str, container: str = "", seconds: float = 30.0
    ) -> tuple[int, str]:
        done = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True, check=False, timeout=30)
        return done.returncode, f"Defaulted container\n{done.stdout}"


def probed(host: str, port: int) -> Connection:
    return probe_tcp(Here(), "p", host, port, namespace="n", timeout=0.5)


@pytest.mark.processes
def test_the_probe_distinguishes_open_refused_timed_out_and_unresolved() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert probed("127.0.0.1", port) is Connection.REFUSED
        listener.listen(0)
        assert probed("127.0.0.1", port) is Connection.OPEN
        # Linux drops connections to a listener whose backlog is full.
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(("127.0.0.1", port))
            assert probed("127.0.0.1", port) is Connection.TIMED_OUT
    assert probed("no-such-host.invalid", 80) is Connection.UNRESOLVED


@pytest.mark.parametrize(
    ("answer", "words"),
    [((127, "python3: not found"), "did not run in pod p: python3: not found"), ((0, "?"), "wrote no result: ?")],
)
def test_a_probe_that_did_not_run_is_no_closed_connection(answer: tuple[int, str], words: str) -> None:
    class Broken:
        def execute(self, *_: Any, **__: Any) -> tuple[int, str]:
            return answer

    with pytest.raises(PlatformError, match=words):
        probe_tcp(Broken(), "p", "h", 1, namespace="n")


@pytest.mark.parametrize(
    ("served", "expected", "same"),
    [
        ([0.1 + 0.2, "a"], [0.3, "a"], True),
        ([1.0], [1], True),
        ([1.0], [1.0001], False),
        ([1.0], [1.0 + 1e-8], False),
        ([True], ["True"], False),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ([], [], True),
        ([float("nan")], [float("nan")], False),
        ([[0.1 + 0.2, 1.0]], [[0.3, 1]], True),
        ([[0.3, 1.0]], [[0.3, 1.0001]], False),
        ([[0.3]], [0.3], False),
        ([{"a": 0.1 + 0.2}], [{"a": 0.3}], True),
        ([{"a": 0.3}], [{"b": 0.3}], False),
    ],
)
def test_values_are_compared_in_order_and_floats_to_a_json_round_trip(
    served: list[Any], expected: list[Any], *, same: bool
) -> None:
    assert same_values(served, expected) is same
