"""The library as a whole: light enough for a pipeline step, honest about an unreachable server, exact about pins."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from trivet.errors import UsageError
from trivet.integration import TrackingApi, TrackingError, pinned_requirements


def test_importing_it_loads_nothing_third_party_but_requests_and_its_own_needs() -> None:
    program = """
import sys
before = set(sys.modules)
import requests
known = set(sys.modules)
import trivet.integration
new = {name.partition(".")[0] for name in set(sys.modules) - known} - set(sys.stdlib_module_names)
print(",".join(sorted(new)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "trivet"


def test_a_refused_connection_names_its_cause_and_a_remedy() -> None:
    with pytest.raises(TrackingError) as failure:
        TrackingApi("http://127.0.0.1:9", retries=0).get_run("abc")

    assert "connection refused" in failure.value.message
    assert "NetworkPolicy" in failure.value.remedy
    assert failure.value.status == 0


def test_a_name_that_does_not_resolve_is_told_apart_from_a_closed_port() -> None:
    with pytest.raises(TrackingError) as failure:
        TrackingApi("http://mlflow.ml-platform.invalid:5000", retries=0, timeout=5).get_run("abc")

    assert "does not resolve" in failure.value.message
    assert "svc.cluster.local" in failure.value.remedy


@pytest.mark.parametrize("uri", ["", "sqlite:///mlflow.db", "./mlruns", "localhost:5000"])
def test_a_tracking_uri_that_is_no_server_s_address_is_refused(uri: str) -> None:
    with pytest.raises(UsageError):
        TrackingApi(uri)


def test_pins_are_exact_and_keep_their_order() -> None:
    assert pinned_requirements(["requests", "pytest", "requests"]) == [
        f"requests=={version('requests')}",
        f"pytest=={version('pytest')}",
    ]


def test_all_distributions_that_are_not_installed_are_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"no-such-a, no-such-b"):
        pinned_requirements(["no-such-a", "requests", "no-such-b"])
