"""How long the alert of an incident takes: measured while the fault is there, and shown in each report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from fakes.prometheus import fake_prometheus, success
from fakes.scenario_session import FakeFaultClient, FakeSession, FakeTarget
from fakes.target import STACK

from trivet.authoring.scenarios import remedied, scenario, symptom_not_observed, symptom_observed, unprotected
from trivet.engine.registry import Registry
from trivet.engine.scenarios import alerts as alerting
from trivet.engine.scenarios import play as playing
from trivet.engine.scenarios.alerts import IncidentAlerts
from trivet.errors import PlatformError, UsageError
from trivet.integration.prometheus import Prometheus
from trivet.model.fault import SERVING
from trivet.model.scenario import Budgets, Case, Scenario, ScenarioReport, VariantResult, Verdict
from trivet.operations.monitor.firing import check_rules, firing_for
from trivet.operations.monitor.platform import MonitoredPlatform
from trivet.operations.monitor.rules import alerts_by_scenario
from trivet.render.layout import plain
from trivet.render.scenarios import summary
from trivet.toolkit.faults import stopped

AWAY = stopped("features", namespace=SERVING)
KEY = ("deployment", SERVING, "features")
Reader = Callable[[FakeFaultClient], Collection[str]]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing, "LEAD", 0.0)
    monkeypatch.setattr(alerting, "POLLED", 0.01)
    monkeypatch.setattr("trivet.toolkit.waiting.POLL", 0.01)


@scenario(
    title="t",
    happens="h",
    recognise="r",
    remedy="m",
    variants=[unprotected("bare", "as it is"), remedied("mended", "with a plaster")],
    affected_objects=AWAY.affected_objects,
    budgets=Budgets(steady_state=0.1, symptom=5, recovery=0.1),
)
def incident(faults: FakeFaultClient, variant: str) -> Iterator[Case]:
    yield Case(
        fault=AWAY,
        steady_state=lambda: "well" if replicas(faults) else "",
        symptom=lambda watch: symptom_observed("it hurts") if variant == "bare" else symptom_not_observed("no"),
    )


def replicas(faults: FakeFaultClient) -> int:
    found: int = faults.objects[KEY]["spec"]["replicas"]
    return found


def played(read: Reader, *, wait: float = 0.05, **by_scenario: Mapping[str, float]) -> ScenarioReport:
    """The report, with alerts that ``read`` reads."""
    assert isinstance(incident, Scenario)
    faults = FakeFaultClient({KEY: {"metadata": {"name": "features"}, "spec": {"replicas": 1}, "status": {}}})
    return playing.run(
        [(incident, incident.variants)],
        target=FakeTarget(FakeSession(faults=faults)),
        stack=STACK,
        emit=lambda event: None,
        alerts=IncidentAlerts(
            by_scenario=by_scenario or {incident.id: {"Away": 0.0, "Other": 0.0}},
            firing=lambda service: read(faults),
            wait=wait,
        ),
    )


def variants_of(report: ScenarioReport) -> tuple[VariantResult, VariantResult]:
    (result,) = report.scenarios
    mended, bare = result.variants
    return bare, mended


def test_the_alert_is_waited_for_while_the_fault_is_there() -> None:
    looks: list[int] = []

    def late(faults: FakeFaultClient) -> Collection[str]:
        looks.append(replicas(faults))
        # The second variant's: each is looked at once before its fault.
        return ["Away", "Unrelated"] if looks.count(1) == 2 and looks[-3:] == [0, 0, 0] else ["Unrelated"]

    bare, mended = variants_of(played(late))
    assert mended.measured["alert"] == "none in 0 s"
    assert bare.verdict is Verdict.VULNERABLE
    assert bare.measured["alert"] == "Away"
    assert "alert_seconds" in bare.measured
    assert looks[-4:] == [1, 0, 0, 0]
    assert "alert" in [phase.name for phase in bare.phases]


def test_without_the_incident_silence_is_measured_for_as_long() -> None:
    report = played(lambda faults: [], wait=0.05)
    for variant in variants_of(report):
        assert variant.measured["alert"] == "none in 0 s"
    assert [one.verdict for one in variants_of(report)] == [Verdict.VULNERABLE, Verdict.PROTECTED]
    assert "alert: none in 0 s" in plain(summary(report))


def test_an_alert_that_fires_before_the_fault_shows_nothing() -> None:
    bare, _ = variants_of(played(lambda faults: ["Other"], wait=3600))
    assert bare.measured["alert"] == "Other fires without the fault"


def test_a_prometheus_that_cannot_be_read_changes_no_verdict() -> None:
    def unreadable(faults: FakeFaultClient) -> Collection[str]:
        raise PlatformError("nobody answers")

    bare, mended = variants_of(played(unreadable, wait=3600))
    assert [bare.verdict, mended.verdict] == [Verdict.VULNERABLE, Verdict.PROTECTED]
    assert bare.measured["alert"] == "unknown: nobody answers"


def test_an_alert_that_must_hold_for_longer_than_is_waited_is_not_waited_for() -> None:
    assert isinstance(incident, Scenario)
    waiting = IncidentAlerts(by_scenario={incident.id: {"Late": 600.0}}, firing=lambda service: [], wait=600.0)
    assert waiting.before(incident.id, "") == "not waited for: Late must hold for 600 s (--alert-wait)"
    assert waiting.before(incident.id, "") != replace(waiting, wait=601.0).before(incident.id, "") == ""


def test_a_prometheus_without_the_rules_is_refused() -> None:
    with fake_prometheus(success([])) as server, pytest.raises(UsageError, match="evaluates no rules of trivet's"):
        check_rules(Prometheus(server.url))
    with fake_prometheus(success([{"metric": {}, "value": [1.0, "1"]}])) as server:
        check_rules(Prometheus(server.url))


def test_an_incident_without_an_alert_is_played_as_ever() -> None:
    bare, _ = variants_of(played(lambda faults: pytest.fail("nobody looks"), wait=3600, another={"Away": 0.0}))
    assert "alert" not in bare.measured


def test_every_alert_of_an_incident_is_found_by_its_scenario() -> None:
    platform = MonitoredPlatform(stack="s", metrics_port=8082, metrics_path="/metrics")
    found = alerts_by_scenario(platform)
    assert found["signature_changed.promoted_under_clients"] == {"InferenceErrors": 120}
    assert set(found) <= set(Registry().scenarios)


def test_alerts_of_other_services_do_not_count() -> None:
    def firing(name: str, **labels: str) -> dict[str, Any]:
        return {"metric": {"__name__": "ALERTS", "alertname": name, **labels}, "value": [1.0, "1"]}

    rows = [firing("A", inferenceservice="c"), firing("B", inferenceservice="d"), firing("C")]
    with fake_prometheus(success(rows)) as server:
        assert set(firing_for(Prometheus(server.url), "c")) == {"A", "C"}
        assert set(firing_for(Prometheus(server.url), "")) == {"A", "B", "C"}
