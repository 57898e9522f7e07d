"""Known failures: which findings a waiver or a baseline accepts, and what that does to outcome, exit code and report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.target import STACK, FakeSession, FakeTarget

from trivet.authoring.contracts import MUST, SHOULD, contract
from trivet.engine.acceptance import Acceptance, Baseline, Waivers, check_waivers, deviations, today
from trivet.engine.incremental import IncrementalRun
from trivet.engine.registry import Registry
from trivet.engine.run import run
from trivet.errors import UsageError
from trivet.model.contract import Contract
from trivet.model.events import ContractEnded, Event
from trivet.model.finding import Finding, Location, failed, inconclusive, passed
from trivet.model.fingerprint import fingerprint
from trivet.model.outcome import Level, Outcome
from trivet.model.report import ConformanceReport
from trivet.model.stack import Stack
from trivet.model.waiver import Waiver, WaiverStatus
from trivet.render import report_json

DAY = date(2026, 11, 30)


def made(check: Callable[..., Any], level: Level = MUST) -> Contract:
    return contract(title="A must B", level=level, seam=("mlflow", "kserve"), rationale="because", remedy="do C")(check)


def holds() -> Iterator[Finding]:
    yield passed("seen")


def breaks() -> Iterator[Finding]:
    yield passed("seen")
    yield failed("not so", location=Location(object="InferenceService/churn"))


def cannot_tell() -> Iterator[Finding]:
    yield inconclusive("who knows")


HOLDS, BREAKS, UNKNOWN = made(holds), made(breaks), made(cannot_tell)


def waiver(contract: str = BREAKS.id, **scope: Any) -> Waiver:
    given: dict[str, Any] = {"reason": "known", "owner": "ann", "expires": DAY} | scope
    return Waiver(contract=contract, **given)


def accepting(
    *waivers: Waiver, day: date = DAY, baseline: ConformanceReport | None = None, folder: Path | None = None
) -> Acceptance:
    named = {f"w{number}": one for number, one in enumerate(waivers)}
    return Acceptance(
        stack=STACK.name,
        target="fake",
        waivers=Waivers(named, folder or Path(), day),
        baseline=Baseline(file="old.json", findings=deviations(baseline.contracts)) if baseline else None,
    )


def judged(acceptance: Acceptance, *contracts: Contract, target: FakeTarget | None = None) -> ConformanceReport:
    return run(
        contracts,
        target=target or FakeTarget(),
        stack=STACK,
        profile="core",
        emit=lambda event: None,
        acceptance=acceptance,
    )


# waivers


def test_a_waived_failure_keeps_its_outcome_and_does_not_fail() -> None:
    report = judged(accepting(waiver()), HOLDS, BREAKS)
    result = report.contracts[1]
    assert (report.exit_code, result.outcome, result.accepted, result.blocks) == (0, Outcome.FAILED, True, False)
    (finding,) = [one for one in result.findings if one.outcome is Outcome.FAILED]
    assert finding.waiver is not None
    assert (finding.waiver.name, finding.waiver.reason, finding.waiver.expired) == ("w0", "known", False)
    assert [(use.status, use.findings) for use in report.waivers] == [(WaiverStatus.USED, 1)]


def test_a_waiver_is_valid_on_its_last_day_and_not_after_it() -> None:
    assert judged(accepting(waiver(), day=DAY), HOLDS, BREAKS).exit_code == 0
    report = judged(accepting(waiver(), day=DAY + timedelta(days=1)), HOLDS, BREAKS)
    assert (report.exit_code, report.waivers[0].status) == (1, WaiverStatus.EXPIRED)
    assert report.contracts[1].findings[1].waiver is not None
    assert not report.contracts[1].accepted


def test_a_waiver_expires_by_the_day_in_utc() -> None:
    assert Waivers({}, Path()).expired(waiver(expires=today() - timedelta(days=1)))
    assert not Waivers({}, Path()).expired(waiver(expires=today()))


def test_a_run_in_which_no_must_passed_is_not_conformant_for_its_waivers() -> None:
    assert judged(accepting(waiver()), BREAKS).exit_code == 2


@pytest.mark.parametrize(
    ("scope", "matches"),
    [
        ({}, True),
        ({"contract": "test_acceptance.*"}, True),
        ({"contract": "other.*"}, False),
        ({"message": "not"}, True),
        ({"message": "NOT"}, False),
        ({"message": "[n]ot"}, False),
        ({"stack": "fa*"}, True),
        ({"stack": "2024.11"}, False),
        ({"target": "fake"}, True),
        ({"target": "kind"}, False),
        ({"object": "InferenceService/*"}, True),
        ({"object": "Pod/*"}, False),
        ({"path": "*.yaml"}, False),
        ({"stack": "fake", "object": "Pod/*"}, False),
    ],
)
def test_every_key_of_a_waiver_must_match(scope: dict[str, str], matches: bool) -> None:
    report = judged(accepting(waiver(**scope)), HOLDS, BREAKS)
    assert report.exit_code == (0 if matches else 1)
    assert bool(report.contracts[1].findings[1].waiver) is matches


@pytest.mark.parametrize("check", [cannot_tell, lambda: 1 / 0])
def test_what_was_not_observed_cannot_be_waived(check: Callable[..., Any]) -> None:
    report = judged(accepting(waiver("*")), HOLDS, made(check))
    assert report.exit_code == 2
    assert not report.contracts[1].accepted


def test_a_contract_is_accepted_only_if_all_its_deviations_are() -> None:
    def several() -> Iterator[Finding]:
        yield failed("first", remedy="for the first")
        yield failed("second", remedy="for the second")
        yield inconclusive("third")

    report = judged(accepting(waiver("*.several", message="first")), HOLDS, made(several))
    result = report.contracts[1]
    assert (result.outcome, result.reason, result.remedy) == (Outcome.FAILED, "second", "for the second")
    assert report.exit_code == 1
    report = judged(
        accepting(waiver("*.several", message="first"), waiver("*.several", message="second")), HOLDS, made(several)
    )
    assert (report.contracts[1].outcome, report.contracts[1].reason) == (Outcome.INCONCLUSIVE, "third")
    assert report.exit_code == 2


def test_advice_can_be_waived_too() -> None:
    result = judged(accepting(waiver("*.breaks")), HOLDS, made(breaks, SHOULD)).contracts[1]
    assert result.accepted


def test_of_several_waivers_one_that_has_not_expired_accepts() -> None:
    report = judged(accepting(waiver(expires=DAY - timedelta(days=1)), waiver()), HOLDS, BREAKS)
    assert report.exit_code == 0
    finding = report.contracts[1].findings[1]
    assert finding.waiver is not None
    assert finding.waiver.name == "w1"


def test_what_a_waiver_did_is_in_the_report() -> None:
    waivers = (waiver("*.holds"), waiver("*.cannot_tell"), waiver("absent.*"), waiver(target="kind"), waiver())
    report = judged(accepting(*waivers), HOLDS, BREAKS, UNKNOWN)
    assert [use.status.value for use in report.waivers] == ["unused", "undecided", "undecided", "undecided", "used"]
    assert report_json.read(report_json.write(report)) == report


def test_events_and_incremental_runs_say_the_same_as_the_report() -> None:
    events: list[Event] = []
    acceptance = accepting(waiver())
    run([BREAKS], target=FakeTarget(), stack=STACK, profile="core", emit=events.append, acceptance=acceptance)
    assert [event.result.accepted for event in events if isinstance(event, ContractEnded)] == [True]
    with IncrementalRun(
        target=FakeTarget(), stack=STACK, profile="core", emit=events.append, acceptance=acceptance
    ) as one:
        assert one.judge(BREAKS).accepted
        assert one.report().waivers == one.waiver_uses
        assert one.waiver_uses[0].status is WaiverStatus.USED


class FileTarget(FakeTarget):
    """Its session has one file, which the report calls ``model/MLmodel``."""

    @contextmanager
    def start(self, stack: Stack, emit: Any) -> Iterator[FakeSession]:
        path = self.given["path"]

        class Session(FakeSession):
            def documents(self, everything: bool = False) -> Mapping[str, Path]:
                return {"model/MLmodel": path}

        yield Session({})


def test_paths_are_those_of_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "elsewhere" / "MLmodel"
    file.parent.mkdir()
    file.write_text("")

    def reads() -> Iterator[Finding]:
        yield failed("wrong", location=Location(file=str(file), line=3))

    acceptance = accepting(waiver("*.reads", path="model/"), folder=tmp_path)
    report = judged(acceptance, HOLDS, made(reads), target=FileTarget(path=file))
    assert report.exit_code == 0
    assert report.contracts[1].findings[0].location == Location(file="model/MLmodel", line=3)
    elsewhere = accepting(waiver("*.reads", path="elsewhere/"), folder=tmp_path)
    assert judged(elsewhere, HOLDS, made(reads), target=FileTarget(path=file)).exit_code == 1


# whether the waivers of the settings are about something


@pytest.mark.parametrize(
    ("wrong", "words", "remedy"),
    [
        ({"contract": "lineage.labels_are_vald"}, "unknown contract 'lineage.labels_are_vald'", "labels_are_valid"),
        ({"contract": "nothing.*"}, "unknown contract 'nothing.*'", "choose one of"),
        ({"contract": "paths.*", "target": "kint"}, "unknown target 'kint'", "did you mean 'kind'?"),
    ],
)
def test_a_waiver_of_nothing_is_refused_with_its_name_and_the_nearest(
    wrong: dict[str, str], words: str, remedy: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_waivers({"mine": waiver(**wrong)}, Registry())
    assert caught.value.message == f"the waiver 'mine' names an {words}"
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    "right",
    [
        {"contract": "paths.*"},
        {"contract": "lint.ignore_comments_are_used", "target": "static"},
        {"contract": "serving.*", "target": "model"},
        {"contract": "target.has_the_required_features", "target": "*"},
    ],
)
def test_a_waiver_of_any_contract_on_any_target_is_taken(right: dict[str, str]) -> None:
    check_waivers({"mine": waiver(**right)}, Registry())


def test_a_wrong_pattern_of_paths_is_refused() -> None:
    with pytest.raises(UsageError, match="invalid pattern"):
        Waivers({"mine": waiver(path="!")}, Path())


# the baseline of a run


def test_only_what_a_baseline_does_not_have_fails() -> None:
    before = judged(accepting(), HOLDS, BREAKS, UNKNOWN)
    report = judged(accepting(baseline=before), HOLDS, BREAKS, UNKNOWN)
    assert report.exit_code == 0
    assert [result.accepted for result in report.contracts] == [False, True, True]
    assert report.baseline is not None
    assert (report.baseline.file, report.baseline.accepted, report.baseline.gone) == ("old.json", 2, 0)

    def breaks() -> Iterator[Finding]:
        yield failed("not so", location=Location(object="InferenceService/churn"))
        yield failed("worse", location=Location(object="InferenceService/churn"))

    report = judged(accepting(baseline=before), HOLDS, made(breaks), UNKNOWN)
    assert (report.exit_code, report.contracts[1].reason) == (1, "worse")


def test_a_finding_is_accepted_as_often_as_the_baseline_has_it() -> None:
    def breaks() -> Iterator[Finding]:
        yield from [failed("not so", location=Location(object="InferenceService/churn"))] * 2

    before = judged(accepting(), HOLDS, BREAKS)
    report = judged(accepting(baseline=before), HOLDS, made(breaks))
    assert [finding.in_baseline for finding in report.contracts[1].findings] == [True, False]
    assert report.exit_code == 1


def test_what_the_baseline_has_of_judged_contracts_and_the_run_has_not_is_counted() -> None:
    before = judged(accepting(), HOLDS, BREAKS, UNKNOWN)
    report = judged(accepting(baseline=before), HOLDS, made(lambda: [passed("fine")]))
    assert report.baseline is not None
    assert report.baseline.gone == 0, "neither contract was judged"
    fixed = replace(BREAKS, check=holds)
    report = judged(accepting(baseline=before), HOLDS, fixed)
    assert report.baseline is not None
    assert (report.baseline.accepted, report.baseline.gone) == (0, 1)


def test_an_error_is_never_in_a_baseline() -> None:
    broken = made(lambda: 1 / 0)
    before = judged(accepting(), HOLDS, broken)
    assert deviations(before.contracts) == []
    assert judged(accepting(baseline=before), HOLDS, broken).exit_code == 2


def test_an_expired_waiver_outranks_the_baseline() -> None:
    before = judged(accepting(waiver()), HOLDS, BREAKS)
    report = judged(accepting(waiver(), day=DAY + timedelta(days=1), baseline=before), HOLDS, BREAKS)
    assert (report.exit_code, report.waivers[0].status) == (1, WaiverStatus.EXPIRED)
    assert report.baseline is not None
    assert (report.baseline.accepted, report.baseline.gone) == (0, 0)


def test_the_report_of_a_run_with_a_baseline_is_a_baseline() -> None:
    before = judged(accepting(), HOLDS, BREAKS)
    between = judged(accepting(baseline=before), HOLDS, BREAKS)
    assert judged(accepting(baseline=between), HOLDS, BREAKS).exit_code == 0


def test_nothing_known_changes_nothing() -> None:
    report = judged(accepting(), HOLDS, BREAKS)
    assert (report.exit_code, report.waivers, report.baseline) == (1, (), None)


def of_pod(name: str) -> str:
    return fingerprint("a.b", failed("no metrics", location=Location(object=f"Pod/{name}")))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "churn-predictor-00001-deployment-7d9c5bb8f9-x2x4z",
            "churn-predictor-00001-deployment-5f6d8b7c9b-lkj2q",
        ),
        (
            "recommendation-classifier-predictor-00001-deployment-f8d942b7ll",
            "recommendation-classifier-predictor-00001-deployment-5cc9dkx8tq",
        ),
    ],
)
def test_pods_of_one_deployment_have_one_fingerprint(one: str, other: str) -> None:
    assert of_pod(one) == of_pod(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("churn-0", "churn-1"), ("churn-predictor", "churn-canary"), ("a-predictor-x2x4z", "b-predictor-x2x4z")],
)
def test_other_pods_have_others(one: str, other: str) -> None:
    assert of_pod(one) != of_pod(other)
