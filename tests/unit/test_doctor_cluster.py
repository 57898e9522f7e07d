"""What `trivet doctor` says of the cluster of the target existing."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

import pytest
from fakes.recorded_kubectl import RecordedKubectl

from trivet.engine import doctor
from trivet.host.kubectl import CALL
from trivet.model.settings import Existing


@dataclass(frozen=True, kw_only=True)
class Reviewer(RecordedKubectl):
    """A cluster of which everything is allowed except what concerns ``refused``."""

    refused: str = ""

    def attempt(
        self, *arguments: str, stdin: str | bytes | None = None, seconds: float = CALL
    ) -> subprocess.CompletedProcess[bytes]:
        if arguments[0] != "create":
            return subprocess.CompletedProcess(arguments, 0, b'{"gitVersion": "v1.34.1"}', b"")
        items = json.loads(stdin or "")["items"]
        for item in items:
            item["status"] = {"allowed": item["spec"]["resourceAttributes"]["resource"] != self.refused}
        return subprocess.CompletedProcess(arguments, 0, "\n".join(map(json.dumps, items)).encode(), b"")


def checks(monkeypatch: pytest.MonkeyPatch, settings: Existing, refused: str = "") -> dict[str, tuple[bool, str]]:
    """Name of a check → whether it is good, and what was observed."""
    monkeypatch.setattr(doctor, "kubectl_of", lambda _: Reviewer(refused=refused))
    return {check.name: (check.ok, check.observed) for check in doctor._cluster(settings)}


def test_without_namespaces_a_fleet_is_asked_for_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checks(monkeypatch, Existing(context="prod"))
    assert found == {
        "cluster": (True, "prod: Kubernetes v1.34.1"),
        "permissions": (False, "not asked: no namespaces are named"),
        "trivet detect": (True, "may read all that it looks for"),
        "trivet fleet": (True, "may read the services of the cluster"),
    }


def test_each_permission_that_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Existing(context="prod", pipeline_namespace="team", serving_namespace="models")
    found = checks(monkeypatch, settings, refused="inferenceservices")
    assert "permissions" not in found
    assert found["permission"][1].startswith("lacking: ")
    assert "inferenceservices.serving.kserve.io" in found["permission"][1]
    assert found["trivet fleet"][1].endswith(": --context is refused")
