"""A third party's scenario in one module of about forty lines, played on fakes: its three controls."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.scenario_session import FakeFaultClient, FakeSession, FakeTarget, FakeTraffic, bad, good
from fakes.target import STACK

from trivet.engine.registry import Registry
from trivet.engine.scenarios import play as playing
from trivet.engine.scenarios.play import run
from trivet.model.fault import SERVING
from trivet.model.scenario import Scenario, Verdict
from trivet.toolkit.faults import idle

KEY = ("deployment", SERVING, "features")


class FakeCluster:
    """As much of a cluster client as the scenario asks for."""

    def __init__(self, faults: FakeFaultClient) -> None:
        self._faults = faults

    def get(self, kind: str, name: str) -> Mapping[str, Any]:
        return self._faults.objects[(kind, SERVING, name)]


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(playing, "LEAD", 0.05)
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "thirdparty")
    sys.modules.pop("acme_scenarios", None)
    module = importlib.import_module("acme_scenarios")
    monkeypatch.setattr("trivet.toolkit.watch.Watch.wait", lambda self, seconds: __import__("time").sleep(0.2))
    return module


def played(scenario: Scenario, *, tolerant: bool) -> Verdict:
    faults = FakeFaultClient({KEY: {"metadata": {"name": "features"}, "spec": {"replicas": 1}, "status": {}}})

    def answer(at: float) -> Any:
        away = not faults.objects[KEY]["spec"]["replicas"]
        return bad(at) if away and not tolerant else good(at)

    session = FakeSession(faults=faults, cluster=FakeCluster(faults), traffic=FakeTraffic(answer))
    report = run([(scenario, scenario.variants)], target=FakeTarget(session), stack=STACK, emit=lambda event: None)
    (result,) = report.scenarios
    return result.verdict


def test_it_joins_the_catalogue(acme: Any) -> None:
    assert "acme_scenarios.feature_store_away" in Registry(["acme_scenarios"]).scenarios


def test_a_platform_that_loses_requests_is_vulnerable_and_a_tolerant_one_protected(acme: Any) -> None:
    assert played(acme.feature_store_away, tolerant=False) is Verdict.VULNERABLE
    assert played(acme.feature_store_away, tolerant=True) is Verdict.PROTECTED


def test_with_a_fault_that_does_nothing_it_is_inconclusive(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acme, "STOPPED", replace(idle(acme.STOPPED), budget=0.1))
    assert played(acme.feature_store_away, tolerant=False) is Verdict.INCONCLUSIVE
