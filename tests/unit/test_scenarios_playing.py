"""The engine of scenarios: the verdict of a variant, and that its fault is reverted whatever happens."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.scenario_session import FakeFaultClient, FakeSession, FakeTarget, FakeTraffic, bad, good
from fakes.target import STACK

from trivet.authoring.scenarios import remedied, scenario, symptom_not_observed, symptom_observed, unprotected
from trivet.engine.scenarios import play as playing
from trivet.engine.scenarios.play import run
from trivet.errors import CannotTell, PlatformError, UsageError
from trivet.model.events import PhaseStarted
from trivet.model.fault import SERVING, AffectedObject, Fault, Verb
from trivet.model.probe import NotYet, Probed
from trivet.model.scenario import (
    IN_CLUSTER,
    Budgets,
    Case,
    Observation,
    Scenario,
    ScenarioReport,
    VariantResult,
    Verdict,
    Workload,
)
from trivet.render import scenario_html
from trivet.render.layout import plain
from trivet.render.scenarios import summary
from trivet.toolkit.faults import crashed, idle, stopped
from trivet.toolkit.waiting import eventually
from trivet.toolkit.watch import Watch

KEY = ("deployment", SERVING, "features")
AWAY = stopped("features", namespace=SERVING)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing, "LEAD", 0.02)
    monkeypatch.setattr("trivet.toolkit.waiting.POLL", 0.01)


def there(replicas: int = 1) -> dict[str, Any]:
    return {"metadata": {"name": "features"}, "spec": {"replicas": replicas}, "status": {}}


def made(
    symptom: Callable[[Watch], Observation],
    *,
    fault: Fault = AWAY,
    steady_state: Callable[[FakeFaultClient], Probed] = lambda faults: (
        "well" if faults.objects[KEY]["spec"]["replicas"] else ""
    ),
    remedies: bool = False,
    workload: Workload | None = None,
    after: Callable[[], None] = lambda: None,
    afterwards: Callable[[Watch, Observation], Observation] | None = None,
) -> Scenario:
    variants = [unprotected("bare", "as it is"), *([remedied("mended", "with a plaster")] if remedies else [])]

    @scenario(
        title="t",
        happens="h",
        recognise="r",
        remedy="m",
        variants=variants,
        affected_objects=AWAY.affected_objects,
        budgets=Budgets(steady_state=0.1, symptom=5, recovery=0.1),
    )
    def incident(faults: FakeFaultClient, variant: str) -> Iterator[Case]:
        try:
            yield Case(
                fault=fault,
                steady_state=lambda: steady_state(faults),
                symptom=symptom,
                workload=workload,
                afterwards=afterwards,
            )
        finally:
            after()

    return incident


def played(
    one: Scenario,
    faults: FakeFaultClient | None = None,
    *,
    required: str = "",
    documents: Mapping[str, Path] | None = None,
    **clients: Any,
) -> tuple[ScenarioReport, FakeFaultClient]:
    faults = faults or FakeFaultClient({KEY: there()})
    target = FakeTarget(FakeSession(documents, faults=faults, **clients))
    report = run([(one, one.variants)], target=target, stack=STACK, emit=lambda event: None, required=required)
    return report, faults


def only(report: ScenarioReport) -> VariantResult:
    (result,) = report.scenarios
    (variant,) = result.variants
    return variant


def test_a_result_holds_the_templates_of_its_messages() -> None:
    result = only(played(made(lambda watch: symptom_observed(f"it hurts {1 + 1} times")))[0])
    assert {"it hurts {} times", "{} {} has 0 replicas and no pod"} <= set(result.message_templates)
    assert "with a plaster" not in result.message_templates


def test_an_incident_that_happens_makes_the_platform_vulnerable() -> None:
    report, faults = played(made(lambda watch: symptom_observed("it hurts", seconds=3.0)))
    result = only(report)
    assert (result.verdict, result.reason, result.measured["seconds"]) == (Verdict.VULNERABLE, "it hurts", 3.0)
    assert result.effect == "deployment features has 0 replicas and no pod"
    assert [phase.name for phase in result.phases] == [
        "set-up",
        "steady state",
        "fault",
        "verify injection",
        "symptom",
        "evidence",
        "revert",
        "recovery",
    ]
    assert faults.objects[KEY] == there()
    assert report.exit_code == 0


def test_a_gate_may_require_that_the_incident_does_not_happen() -> None:
    report, _ = played(made(lambda watch: symptom_observed("it hurts")), required="protected")
    assert report.exit_code == 1


def test_an_incident_that_does_not_happen_under_the_fault_makes_it_protected() -> None:
    report, _ = played(made(lambda watch: symptom_not_observed("nobody noticed")), required="protected")
    assert only(report).verdict is Verdict.PROTECTED
    assert only(report).contradicted
    assert report.exit_code == 1, "the catalogue says that a platform as it is found is vulnerable"


def test_what_only_shows_after_the_recovery_completes_the_symptom() -> None:
    replicas: list[int] = []
    faults = FakeFaultClient({KEY: there()})

    def afterwards(watch: Watch, observation: Observation) -> Observation:
        replicas.append(faults.objects[KEY]["spec"]["replicas"])
        return replace(
            observation, observed=True, message="5 of 9 are left", measured={**observation.measured, "left": 5}
        )

    result = only(played(made(lambda watch: symptom_not_observed("quiet", sent=9), afterwards=afterwards), faults)[0])
    assert (result.verdict, result.reason, result.symptom) == (Verdict.VULNERABLE, "5 of 9 are left", "5 of 9 are left")
    assert (result.measured["sent"], result.measured["left"], replicas) == (9, 5, [1])


def test_what_is_still_ending_is_not_stopped() -> None:
    fault = stopped("features", namespace=SERVING)
    pod = ("pod", SERVING, "features-1")
    selected = {**there(), "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "features"}}}}
    faults = FakeFaultClient({KEY: selected, pod: {"metadata": {"name": "features-1", "deletionTimestamp": "now"}}})
    injector = faults.injector(fault.affected_objects)
    fault.inject(injector)
    assert not fault.verify_injected(injector)
    del faults.objects[pod]
    assert fault.verify_injected(injector) == "deployment features has 0 replicas and no pod"


def test_a_crash_is_verified_when_the_kubelet_has_seen_it() -> None:
    fault = crashed("app=features", "a", names="features-", namespace=SERVING)
    faults = FakeFaultClient({("pod", SERVING, "features-1"): {"metadata": {"name": "features-1"}}})
    injector = faults.injector(fault.affected_objects)
    idle(fault).inject(injector)
    assert not fault.verify_injected(injector)
    fault.inject(injector)
    assert fault.verify_injected(injector) == "features-1: a terminated"
    with pytest.raises(PlatformError, match="there is none"):
        crashed("app=x", "a", names="x-", namespace=SERVING).inject(FakeFaultClient().injector(()))


def test_a_fault_that_silently_does_nothing_is_inconclusive() -> None:
    one = made(
        lambda watch: pytest.fail("a symptom is only asked for under a fault"), fault=replace(idle(AWAY), budget=0.05)
    )
    report, faults = played(one)
    assert only(report).verdict is Verdict.INCONCLUSIVE
    assert "waiting for the fault to be verified: deployment features is scaled to zero" in only(report).reason
    assert report.exit_code == 2
    assert faults.objects[KEY] == there()


def test_without_a_steady_state_nothing_is_changed() -> None:
    report, faults = played(made(lambda watch: symptom_observed("x"), steady_state=lambda faults: ""))
    assert only(report).verdict is Verdict.INCONCLUSIVE
    assert not faults.taken


def test_a_platform_that_does_not_recover_is_vulnerable_though_the_symptom_was_not_seen() -> None:
    looks = iter(["well"])
    report, _ = played(made(lambda watch: symptom_not_observed("fine"), steady_state=lambda faults: next(looks, "")))
    assert only(report).verdict is Verdict.VULNERABLE
    assert "timed out after 0.1 s waiting for the steady state after the revert" in only(report).reason


def test_a_timeout_names_what_was_waited_for_and_what_was_seen_last() -> None:
    report, _ = played(
        made(lambda watch: symptom_observed("x"), steady_state=lambda faults: NotYet("1 of 2 pods are ready"))
    )
    assert only(report).reason == "timed out after 0.1 s waiting for the steady state: last seen 1 of 2 pods are ready"

    unverified = replace(AWAY, inject=lambda injector: None, budget=0.05)
    report, _ = played(made(lambda watch: symptom_observed("x"), fault=unverified))
    assert only(report).reason == (
        "timed out after 0.05 s waiting for the fault to be verified: deployment features is scaled to zero: "
        "last seen deployment features: spec.replicas 1, status.replicas 0, 0 pods"
    )


def test_trivets_own_trouble_while_it_looks_at_the_recovery_is_inconclusive() -> None:
    looks = iter(["well"])

    def steady_state(faults: FakeFaultClient) -> str:
        try:
            return next(looks)
        except StopIteration:
            raise PlatformError("kubectl gave no answer") from None

    assert (
        only(played(made(lambda watch: symptom_not_observed("fine"), steady_state=steady_state))[0]).verdict
        is Verdict.INCONCLUSIVE
    )
    looks = iter(["well"])
    assert (
        only(played(made(lambda watch: symptom_observed("lost"), steady_state=steady_state))[0]).verdict
        is Verdict.VULNERABLE
    )


def test_what_the_cluster_says_under_the_fault_is_kept_for_a_symptom_that_shows_afterwards(tmp_path: Path) -> None:
    def result(happened: bool) -> VariantResult:
        one = made(
            lambda watch: symptom_not_observed("quiet"),
            afterwards=lambda watch, observation: replace(observation, observed=happened),
        )
        return only(played(one, documents={f"{IN_CLUSTER}events.txt": tmp_path / "events.txt"})[0])

    stamp = time.time() + 60
    (tmp_path / "events.txt").write_text("BackOff")
    os.utime(tmp_path / "events.txt", (stamp, stamp))
    assert [(one.name, one.text) for one in result(True).evidence] == [(f"{IN_CLUSTER}events.txt", "BackOff")]
    assert not result(False).evidence


def test_a_fault_is_reverted_when_the_output_is_closed() -> None:
    def emit(event: object) -> None:
        if isinstance(event, PhaseStarted) and event.name.endswith("revert"):
            raise BrokenPipeError

    faults = FakeFaultClient({KEY: there()})
    one = made(lambda watch: symptom_not_observed("fine"))
    with suppress(BrokenPipeError):
        run([(one, one.variants)], target=FakeTarget(FakeSession(faults=faults)), stack=STACK, emit=emit)
    assert faults.objects[KEY] == there()


def test_nothing_is_judged_on_a_platform_on_which_a_fault_was_left_behind() -> None:
    faults = FakeFaultClient({KEY: there()})
    faults.stuck = True
    report, _ = played(made(lambda watch: symptom_observed("lost"), remedies=True), faults)
    first, second = report.scenarios[0].variants
    assert first.verdict is Verdict.ERROR
    assert second.verdict is Verdict.INCONCLUSIVE
    assert second.reason.endswith("[bare] is not reverted: kubectl delete it")
    assert len(faults.taken) == 1


def test_a_fault_left_behind_is_an_error_with_the_command_that_removes_it() -> None:
    faults = FakeFaultClient({KEY: there()})
    faults.stuck = True
    report, _ = played(made(lambda watch: symptom_not_observed("fine")), faults)
    result = only(report)
    assert (result.verdict, result.cleanup) == (Verdict.ERROR, "kubectl delete it")
    assert report.exit_code == 2


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (CannotTell("no answer"), Verdict.INCONCLUSIVE),
        (PlatformError("no kubectl"), Verdict.ERROR),
        (ZeroDivisionError("mine"), Verdict.ERROR),
    ],
)
def test_whatever_a_symptom_raises_the_fault_is_reverted(error: Exception, verdict: Verdict) -> None:
    def breaks(watch: Watch) -> Observation:
        raise error

    gone: list[int] = []
    report, faults = played(made(breaks, after=lambda: gone.append(1)))
    assert only(report).verdict is verdict
    assert str(error) in only(report).reason
    assert faults.objects[KEY] == there()
    assert gone, "what the scenario set up is taken away too"


def test_an_interrupt_is_raised_after_the_revert_and_without_collecting_evidence() -> None:
    def interrupted(watch: Watch) -> Observation:
        raise KeyboardInterrupt

    gone: list[int] = []
    faults = FakeFaultClient({KEY: there()})
    session = FakeSession(faults=faults)
    one = made(interrupted, after=lambda: gone.append(1))
    with pytest.raises(KeyboardInterrupt):
        run([(one, one.variants)], target=FakeTarget(session), stack=STACK, emit=lambda event: None)
    assert faults.objects[KEY] == there()
    assert gone
    assert not session.collected


def test_traffic_runs_throughout_and_the_outage_is_counted_from_the_fault_on() -> None:
    faults = FakeFaultClient({KEY: there()})
    workload = Workload(service="c", request={}, models={"one": [1]}, rate=100)

    def answer(at: float) -> Any:
        return good(at) if faults.objects[KEY]["spec"]["replicas"] else bad(at)

    def symptom(watch: Watch) -> Observation:
        outage = eventually(
            "four requests to be lost",
            watch.outage,
            timeout=120,
            until=lambda found: found.lost > 3,
            tolerate=CannotTell,
            poll=0.005,
        )
        return symptom_observed(str(outage), lost=outage.lost)

    result = only(played(made(symptom, workload=workload), faults, traffic=FakeTraffic(answer))[0])
    assert result.verdict is Verdict.VULNERABLE
    assert isinstance(result.measured["lost"], int)
    assert result.measured["lost"] > 3
    assert result.timeline
    assert [mark.name for mark in result.timeline.marks] == ["fault", "injected", "revert", "recovered"]
    assert sum(bucket.lost for bucket in result.timeline.buckets) >= result.measured["lost"]


def test_no_request_in_the_slice_is_inconclusive() -> None:
    workload = Workload(service="c", request={}, rate=0.1)
    result = only(
        played(
            made(lambda watch: symptom_not_observed(str(watch.outage())), workload=workload), traffic=FakeTraffic(good)
        )[0]
    )
    assert result.verdict is Verdict.INCONCLUSIVE


def test_the_verdict_is_that_of_the_platform_as_it_is_and_each_remedy_has_its_own() -> None:
    looks = iter([symptom_observed("it hurts"), symptom_not_observed("no more")])
    report, _ = played(made(lambda watch: next(looks), remedies=True))
    (result,) = report.scenarios
    assert [one.verdict for one in result.variants] == [Verdict.VULNERABLE, Verdict.PROTECTED]
    assert result.verdict is Verdict.VULNERABLE
    assert report.exit_code == 0


def test_a_fault_that_affects_what_the_scenario_does_not_name_is_refused() -> None:
    sly = replace(
        AWAY, affected_objects=(AffectedObject(verb=Verb.PATCH, kind="deployment", name="other", namespace=SERVING),)
    )
    report, faults = played(made(lambda watch: symptom_observed("x"), fault=sly))
    assert only(report).verdict is Verdict.ERROR
    assert "affects objects that the scenario does not declare" in only(report).reason
    assert not faults.taken


def test_a_target_without_faults_skips_and_shows_nothing() -> None:
    one = made(lambda watch: symptom_observed("x"))
    report = run([(one, one.variants)], target=FakeTarget(FakeSession()), stack=STACK, emit=lambda event: None)
    assert only(report).verdict is Verdict.SKIPPED
    assert report.exit_code == 2


def test_the_lease_is_held_while_playing_and_acquired_before_anything_is_changed() -> None:
    held: list[int] = []
    faults = FakeFaultClient({KEY: there()})

    def symptom(watch: Watch) -> Observation:
        held.append(faults.leased)
        return symptom_not_observed("x")

    played(made(symptom), faults)
    assert held == [1]
    faults.leased = 1
    with pytest.raises(UsageError, match="another run"):
        played(made(symptom), faults)
    assert len(faults.taken) == 1


class StuckLease(FakeFaultClient):
    """The lease cannot be released."""

    @contextmanager
    def lease(self, wait: float = 0.0) -> Iterator[FakeFaultClient]:
        yield self
        raise PlatformError("cannot release the lease: no route to host", remedy="wait")


def test_a_lease_that_cannot_be_released_loses_no_result_and_is_reported() -> None:
    report, _ = played(made(lambda watch: symptom_observed("it hurts")), StuckLease({KEY: there()}))
    assert (only(report).verdict, only(report).reason) == (Verdict.VULNERABLE, "it hurts")
    assert report.errors == ("cannot release the lease: no route to host; remedy: wait",)
    assert report.exit_code == 2
    assert "error   cannot release the lease" in plain(summary(report))
    assert "cannot release the lease" in scenario_html.write(report)


def test_a_variant_during_which_another_run_acquired_the_lease_is_an_error_and_no_further_fault_is_injected() -> None:
    faults = FakeFaultClient({KEY: there()})

    def symptom(watch: Watch) -> Observation:
        faults.lost = "this run lost the lease: other holds it"
        return symptom_observed("it hurts")

    report, _ = played(made(symptom, remedies=True), faults)
    first, second = report.scenarios[0].variants
    assert (first.verdict, second.verdict) == (Verdict.ERROR, Verdict.ERROR)
    assert "this run lost the lease: other holds it, and another run may have disturbed" in first.reason
    assert "observed: it hurts; remedy: play it again" in first.reason
    assert "this run lost the lease: other holds it" in second.reason
    assert len(faults.taken) == 1
    assert faults.objects[KEY] == there()


def test_a_lease_that_is_lost_after_its_last_renewal_is_noticed_before_the_verdict() -> None:
    faults = FakeFaultClient({KEY: there()})

    def verify() -> None:
        faults.lost = "this run lost the lease: other holds it"

    faults.verify = verify
    result = only(played(made(lambda watch: symptom_not_observed("fine")), faults)[0])
    assert result.verdict is Verdict.ERROR
    assert result.reason.startswith("this run lost the lease: other holds it, and another run may have disturbed")
    assert "observed: fine" in result.reason


def test_a_variant_whose_lease_cannot_be_read_at_its_end_is_an_error_that_keeps_what_was_observed() -> None:
    faults = FakeFaultClient({KEY: there()})

    def verify() -> None:
        raise PlatformError("kubectl get lease: connection refused")

    faults.verify = verify
    result = only(played(made(lambda watch: symptom_observed("it hurts")), faults)[0])
    assert result.verdict is Verdict.ERROR
    assert "still holds the cluster's lease: kubectl get lease: connection refused, and another run" in result.reason
    assert "observed: it hurts; remedy: play it again" in result.reason


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"symptom": lambda watch: "it hurts"}, "what its symptom returns is 'it hurts'"),
        ({"symptom": lambda watch: None}, "what its symptom returns is None"),
        ({"steady_state": lambda faults: True}, "returned True"),
    ],
)
def test_a_part_of_a_scenario_that_returns_something_else_is_an_error_that_says_so(
    wrong: dict[str, Any], words: str
) -> None:
    report, faults = played(made(**{"symptom": lambda watch: symptom_observed("it hurts"), **wrong}))
    result = only(report)
    assert result.verdict is Verdict.ERROR
    assert words in result.reason
    assert "; remedy: " in result.reason
    assert faults.objects[KEY] == there()


def test_a_stage_that_yields_something_else_than_a_case_is_an_error_that_says_so() -> None:
    @scenario(
        title="t",
        happens="h",
        recognise="r",
        remedy="m",
        variants=[unprotected("bare", "as it is")],
        affected_objects=AWAY.affected_objects,
    )
    def incident() -> Iterator[Any]:
        yield AWAY

    result = only(played(incident)[0])
    assert result.verdict is Verdict.ERROR
    assert result.reason.startswith("scenario test_scenarios_playing.incident (")
    assert "what it yields is Fault(" in result.reason
