"""What a check raises or returns, as an outcome: the same in a run, under lint and for a scenario. Severity, blocking, redaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from fakes.scenario_session import FakeFaultClient, FakeSession
from fakes.scenario_session import FakeTarget as FakeCluster
from fakes.target import STACK, FakeTarget

from trivet.authoring.contracts import MUST, SHOULD, contract
from trivet.authoring.scenarios import scenario, unprotected
from trivet.engine.lint import lint
from trivet.engine.outcomes import finding_of
from trivet.engine.run import run
from trivet.engine.scenarios.play import run as play
from trivet.errors import CannotTell, DeclarationError, NotOffered, PlatformError
from trivet.model.contract import Contract
from trivet.model.finding import Finding, failed, passed
from trivet.model.outcome import SEVERITY, Level, Outcome, blocks, combine
from trivet.model.report import ContractResult
from trivet.model.scenario import SEVERITY as VERDICTS
from trivet.model.scenario import Case, VariantResult, Verdict
from trivet.model.subjects import Manifest
from trivet.plugin import raise_for
from trivet.render.wording import OUTCOME_WORDINGS, wording
from trivet.stacks.read import load_stack

SERVICE = "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: churn}\n"


def made(check: Callable[..., Any], level: Level = MUST) -> Contract:
    return contract(title="A must B", level=level, seam=("kfp", "kserve"), rationale="because", remedy="do C")(check)


def run_alone(one: Contract) -> ContractResult:
    subject = Manifest(file="service.yaml", document={}, line=lambda keys: 1)
    target = FakeTarget(manifest=(subject,))
    (result,) = run([one], target=target, stack=STACK, profile="core", emit=lambda event: None).contracts
    return result


def linted(one: Contract, folder: Path) -> ContractResult:
    (folder / "service.yaml").write_text(SERVICE)
    (result,) = lint([folder], [one], load_stack("current")).report.contracts
    return result


@pytest.fixture(params=["run", "lint"])
def judged(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Contract], ContractResult]:
    """Judging one contract over a manifest, by both ways there are."""
    return run_alone if request.param == "run" else lambda one: linted(one, tmp_path)


RAISED = pytest.mark.parametrize(
    ("error", "outcome", "message", "remedy"),
    [
        (NotOffered("no cluster"), Outcome.SKIPPED, "no cluster", ""),
        (CannotTell("never ready", remedy="wait"), Outcome.INCONCLUSIVE, "never ready", "wait"),
        (PlatformError("it died", remedy="start it"), Outcome.ERROR, "could not observe: it died", "start it"),
        (DeclarationError("contract x (f:1): no", remedy="y"), Outcome.ERROR, "contract x (f:1): no", "y"),
        (KeyError("oops"), Outcome.ERROR, "the check raised KeyError: 'oops'", ""),
    ],
)


@RAISED
def test_an_exception_has_one_outcome_in_a_run_and_under_lint(
    judged: Callable[[Contract], ContractResult], error: Exception, outcome: Outcome, message: str, remedy: str
) -> None:
    def raises(manifest: Manifest) -> Iterator[Finding]:
        raise error
        yield

    result = judged(made(raises))
    (finding,) = result.findings
    assert (result.outcome, result.reason, result.remedy) == (outcome, message, remedy or "do C")
    assert finding.location
    assert Path(finding.location.file or "").name == "service.yaml"
    traces = [item.text for item in finding.evidence]
    assert all("in raises" in text for text in traces)
    assert len(traces) == (outcome is Outcome.ERROR)


@RAISED
def test_an_exception_has_the_same_outcome_in_a_scenario(
    error: Exception, outcome: Outcome, message: str, remedy: str
) -> None:
    result = played(error)
    assert result.verdict.value == outcome.value
    assert result.reason == message.replace("the check", "the scenario") + (f"; remedy: {remedy}" if remedy else "")
    assert [item.name for item in result.evidence] == ["traceback"] * (outcome is Outcome.ERROR)


def played(error: Exception) -> VariantResult:
    @scenario(
        title="t",
        happens="h",
        recognise="r",
        remedy="m",
        variants=[unprotected("bare", "as it is")],
        affected_objects=(),
    )
    def incident() -> Iterator[Case]:
        raise error
        yield

    target = FakeCluster(FakeSession(faults=FakeFaultClient()))
    report = play([(incident, incident.variants)], target=target, stack=STACK, emit=lambda event: None)
    (variant,) = report.scenarios[0].variants
    return variant


def test_what_was_found_before_an_exception_is_kept(judged: Callable[[Contract], ContractResult]) -> None:
    def breaks_off(manifest: Manifest) -> Iterator[Finding]:
        yield failed("not so")
        raise CannotTell("who knows")

    result = judged(made(breaks_off))
    assert [finding.message for finding in result.findings] == ["not so", "who knows"]
    assert result.outcome is Outcome.FAILED


def returns_one(manifest: Manifest):  # type: ignore[no-untyped-def]
    return passed("fine")


def returns_none(manifest: Manifest):  # type: ignore[no-untyped-def]
    passed("fine")


def yields_words(manifest: Manifest):  # type: ignore[no-untyped-def]
    yield "fine"


def yields_none(manifest: Manifest):  # type: ignore[no-untyped-def]
    yield failed("not so")
    yield None


def returns_the_last(manifest: Manifest):  # type: ignore[no-untyped-def]
    yield passed("fine")
    return failed("not so")


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (returns_one, "the check returned a Finding"),
        (returns_none, "the check returned None"),
        (yields_words, "the check yielded 'fine'"),
        (returns_the_last, "the check returned Finding(outcome=<Outcome.FAILED: 'FAILED'>, message='not so'"),
    ],
)
def test_a_check_that_gives_no_findings_is_an_error_that_says_so_with_file_and_line(
    judged: Callable[[Contract], ContractResult], check: Callable[..., Any], words: str
) -> None:
    result = judged(made(check))
    assert result.outcome is Outcome.ERROR
    assert result.reason.startswith(f"contract test_engine_outcomes.{check.__name__} (")
    assert f"test_engine_outcomes.py:{check.__code__.co_firstlineno}): {words}" in result.reason
    assert "yield" in result.remedy


def test_something_that_is_no_finding_does_not_hide_a_deviation(judged: Callable[[Contract], ContractResult]) -> None:
    result = judged(made(yields_none))
    assert result.outcome is Outcome.FAILED
    assert "the check yielded None" in result.findings[1].message


def test_a_list_of_findings_will_do(judged: Callable[[Contract], ContractResult]) -> None:
    assert judged(made(lambda manifest: [passed("fine")])).outcome is Outcome.PASSED


def test_a_contract_that_no_target_can_judge_is_an_error(judged: Callable[[Contract], ContractResult]) -> None:
    def holds(manifest: Manifest) -> Iterator[Finding]:
        yield passed("fine")

    result = judged(replace(made(holds, SHOULD), unrunnable="no registered target offers the client x"))
    assert (result.outcome, result.reason) == (Outcome.ERROR, "no registered target offers the client x")
    assert result.blocks


def test_messages_remedies_and_reasons_are_redacted(judged: Callable[[Contract], ContractResult]) -> None:
    def tells(manifest: Manifest) -> Iterator[Finding]:
        yield failed("asked with password=hunter2", remedy="try password: hunter2")
        yield failed("again with postgresql://mlflow:hunter2@db")

    result = judged(made(tells))
    assert "hunter2" not in repr(result)
    assert result.reason == "asked with password=[redacted] (and 1 more)"
    assert result.remedy == "try password: [redacted]"


@pytest.mark.parametrize("error", [CannotTell("token=hunter2", remedy="password=hunter2"), ValueError("token=hunter2")])
def test_messages_of_a_scenario_are_redacted(error: Exception) -> None:
    assert "hunter2" not in repr(played(error))


def test_every_outcome_has_its_place_in_the_one_order_of_severity() -> None:
    assert sorted(SEVERITY) == sorted(Outcome)
    for worse, better in pairwise(SEVERITY):
        assert combine([better, worse]) is worse
    assert sorted(VERDICTS) == sorted(Verdict)


def test_what_deviates_stands_before_what_does_not() -> None:
    assert [outcome.deviates for outcome in SEVERITY] == [True, True, True, False, False]
    order = [wording(outcome, Level.MUST) for outcome in SEVERITY]
    assert [one for one in OUTCOME_WORDINGS if one.name not in ("advice", "accepted")] == order
    assert OUTCOME_WORDINGS.index(wording(Outcome.FAILED, Level.SHOULD)) == 3
    assert OUTCOME_WORDINGS.index(wording(Outcome.FAILED, Level.MUST, accepted=True)) == 4


def test_a_deviation_from_a_must_blocks_and_an_error_always_does() -> None:
    blocking = {(outcome, level) for outcome, level in product(Outcome, Level) if blocks(outcome, level)}
    assert blocking == {
        (Outcome.FAILED, Level.MUST),
        (Outcome.INCONCLUSIVE, Level.MUST),
        (Outcome.ERROR, Level.MUST),
        (Outcome.ERROR, Level.SHOULD),
    }


def test_an_accepted_deviation_does_not_block_but_an_error_does() -> None:
    blocking = {outcome for outcome in Outcome if blocks(outcome, Level.MUST, accepted=True)}
    assert blocking == {Outcome.ERROR}


@pytest.mark.parametrize(("outcome", "level"), list(product(Outcome, Level)))
def test_pytest_goes_red_exactly_when_a_contract_blocks(outcome: Outcome, level: Level) -> None:
    result = run_alone(made(lambda manifest: [Finding(outcome=outcome, message="m")], level))
    assert result.outcome is outcome
    try:
        raise_for(result)
        red = False
    except (pytest.skip.Exception, pytest.xfail.Exception):
        red = False
    except Exception:
        red = True
    assert red is blocks(outcome, level)


def test_a_client_that_the_target_does_not_offer_skips_the_contract_with_what_it_gives() -> None:
    def asks(metrics: Any) -> Iterator[Finding]:
        yield passed("never reached")

    result = run_alone(made(asks))
    assert result.outcome is Outcome.SKIPPED
    assert result.reason == ("the target fake does not offer the client metrics: queries to the platform's Prometheus")


def test_the_traceback_is_that_of_the_exception_itself() -> None:
    try:
        raise PlatformError("it died") from OSError("no route")
    except PlatformError as error:
        (trace,) = finding_of(error).evidence
    assert "OSError: no route" in trace.text
