"""How findings become a result, and results an exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes.target import STACK, FakeSession, FakeTarget

from trivet.authoring.contracts import MUST, SHOULD, contract
from trivet.engine.run import run
from trivet.errors import CannotTell, NotOffered, PlatformError
from trivet.model.contract import Contract
from trivet.model.events import ContractEnded, Event, RunEnded, RunStarted
from trivet.model.finding import Finding, failed, inconclusive, not_applicable, passed
from trivet.model.outcome import Level, Outcome
from trivet.model.report import ConformanceReport
from trivet.model.stack import Stack
from trivet.model.subjects import Manifest


def made(check: Callable[..., Any], level: Level = MUST, versions: Mapping[str, str] | None = None) -> Contract:
    return contract(
        title="A must B", level=level, seam=("mlflow", "kserve"), rationale="because", remedy="do C", versions=versions
    )(check)


def judged(*contracts: Contract, target: FakeTarget | None = None) -> tuple[ConformanceReport, list[Event]]:
    events: list[Event] = []
    report = run(contracts, target=target or FakeTarget(), stack=STACK, profile="core", emit=events.append)
    return report, events


def holds() -> Iterator[Finding]:
    yield passed("seen")


def breaks() -> Iterator[Finding]:
    yield passed("seen")
    yield failed("not so", remedy="do D")


def observes_nothing() -> Iterator[Finding]:
    yield from ()


@pytest.mark.parametrize(
    ("check", "level", "outcome", "code"),
    [
        (holds, MUST, Outcome.PASSED, 0),
        (breaks, MUST, Outcome.FAILED, 1),
        (breaks, SHOULD, Outcome.FAILED, 0),
        (observes_nothing, MUST, Outcome.INCONCLUSIVE, 2),
        (observes_nothing, SHOULD, Outcome.INCONCLUSIVE, 0),
        (lambda: 1 / 0, MUST, Outcome.ERROR, 2),
        (lambda: 1 / 0, SHOULD, Outcome.ERROR, 2),
    ],
)
def test_outcome_and_exit_code_follow_the_findings(
    check: Callable[..., Any], level: Level, outcome: Outcome, code: int
) -> None:
    report, _ = judged(made(holds), made(check, level))
    assert report.contracts[1].outcome is outcome
    assert report.exit_code == code


def test_a_failure_outweighs_an_inconclusive_finding() -> None:
    report, _ = judged(made(breaks), made(observes_nothing))
    assert (report.exit_code, report.verdict) == (1, "not conformant")


def test_only_advice_and_skips_are_not_a_conformant_stack() -> None:
    report, _ = judged(made(holds, SHOULD), made(lambda: [not_applicable("no such thing")]))
    assert report.exit_code == 2


def test_a_bug_in_a_check_is_an_error_with_its_traceback_and_not_a_failure() -> None:
    report, _ = judged(made(lambda: 1 / 0))
    (result,) = report.contracts
    assert "ZeroDivisionError" in result.reason
    assert "Traceback" in result.findings[0].evidence[0].text


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (CannotTell("never ready"), Outcome.INCONCLUSIVE),
        (NotOffered("no cluster"), Outcome.SKIPPED),
        (PlatformError("the server died"), Outcome.ERROR),
    ],
)
def test_what_a_client_raises_decides_the_outcome_and_is_the_reason(error: Exception, outcome: Outcome) -> None:
    def asks(serving: Any) -> Iterator[Finding]:
        yield passed("never reached")

    report, _ = judged(made(asks), target=FakeTarget(serving=error))
    assert report.contracts[0].outcome is outcome
    assert str(error) in report.contracts[0].reason


def test_a_contract_outside_its_versions_is_skipped_with_both_named() -> None:
    report, _ = judged(made(breaks, versions={"mlflow": ">=3"}))
    assert report.contracts[0].outcome is Outcome.SKIPPED
    assert report.contracts[0].reason == "applies to mlflow>=3; the stack has 2.17.2"


def test_a_feature_that_the_target_lacks_skips_the_contract_before_any_client_is_waited_for() -> None:
    def asks(serving: Any) -> Iterator[Finding]:
        yield passed("never reached")

    needing = contract(
        title="A must B",
        level=MUST,
        seam=("mlflow", "kserve"),
        rationale="because",
        remedy="do C",
        features=("ScaleToZero",),
    )(asks)
    (result,) = judged(needing, target=FakeTarget(serving=CannotTell("never there")))[0].contracts
    assert result.outcome is Outcome.SKIPPED
    assert result.reason.startswith(
        "the target lacks the feature ScaleToZero: a service without traffic may scale to zero"
    )


def manifests(*names: str) -> tuple[Manifest, ...]:
    return tuple(Manifest(file=f"{name}.yaml", document={}, line=lambda keys: 1) for name in names)


def test_a_contract_over_a_static_subject_runs_once_per_subject() -> None:
    def reads(manifest: Manifest, stack: Stack) -> Iterator[Finding]:
        yield passed(f"{manifest.file.removesuffix('.yaml')} on {stack.name}")

    report, _ = judged(made(reads), target=FakeTarget(manifest=manifests("one", "two")))
    assert [finding.message for finding in report.contracts[0].findings] == ["one on fake", "two on fake"]


def test_no_subject_at_all_is_inconclusive() -> None:
    def reads(manifest: str) -> Iterator[Finding]:
        yield passed(manifest)

    report, _ = judged(made(reads))
    assert report.contracts[0].outcome is Outcome.INCONCLUSIVE


def test_the_finding_of_the_worst_outcome_gives_reason_and_remedy() -> None:
    report, _ = judged(made(breaks))
    assert (report.contracts[0].reason, report.contracts[0].remedy) == ("not so", "do D")


def test_every_contract_is_in_the_report_once_and_in_order_and_was_emitted_once() -> None:
    contracts = [made(holds), made(breaks), made(observes_nothing), made(lambda: [inconclusive("who knows")])]
    report, events = judged(*contracts)
    assert [result.id for result in report.contracts] == [c.id for c in contracts]
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunEnded)
    assert sum(isinstance(event, ContractEnded) for event in events) == len(contracts)


def test_the_target_is_stopped_when_a_check_is_interrupted() -> None:
    def interrupted() -> Iterator[Finding]:
        raise KeyboardInterrupt
        yield

    target = FakeTarget()
    with pytest.raises(KeyboardInterrupt):
        judged(made(interrupted), target=target)
    assert target.stopped


def test_a_document_that_is_not_utf_8_does_not_lose_the_report(tmp_path: Path) -> None:
    class Session(FakeSession):
        def documents(self, everything: bool = False) -> Mapping[str, Path]:
            return {"model/notes.txt": tmp_path / "notes.txt"}

    class Target(FakeTarget):
        @contextmanager
        def start(self, stack: Stack, emit: Any) -> Iterator[FakeSession]:
            yield Session({})

    (tmp_path / "notes.txt").write_bytes("gr\xfcn".encode("latin-1"))
    report, _ = judged(made(holds), target=Target())
    assert report.documents == {"model/notes.txt": "gr\ufffdn"}


class Waiting(FakeSession):
    """A session whose features cost a pipeline's run."""

    asked = 0

    def features(self) -> Mapping[str, str]:
        Waiting.asked += 1
        return {}


class WaitingTarget(FakeTarget):
    @contextmanager
    def start(self, stack: Stack, emit: Any) -> Iterator[FakeSession]:
        yield Waiting(self.given)


@pytest.mark.parametrize(("also", "asked"), [(False, 0), (True, 1)])
def test_a_run_over_what_the_stack_declares_asks_for_no_features(
    monkeypatch: pytest.MonkeyPatch, also: bool, asked: int
) -> None:
    def named(stack: Any) -> Iterator[Finding]:
        yield passed(str(stack.name))

    def coloured(colour: str) -> Iterator[Finding]:
        yield passed(colour)

    monkeypatch.setattr(Waiting, "asked", 0)
    contracts = [made(named), *([made(coloured)] if also else [])]
    report = run(contracts, target=WaitingTarget(colour="white"), stack=STACK, profile="core", emit=lambda event: None)
    assert all(one.outcome is Outcome.PASSED for one in report.contracts)
    assert Waiting.asked == asked
