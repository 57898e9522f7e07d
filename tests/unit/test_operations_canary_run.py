"""The run of a canary's judge: what it decides survives kills, nothing is decided from nothing, and one of two acts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from fakes.canary import (
    CANARY,
    NAMESPACE,
    NEWER,
    SERVICE,
    STABLE,
    ScriptedKnownRequests,
    ScriptedMetrics,
    moving_traffic,
    status_of,
    with_canary,
)
from fakes.kubernetes_api import StoredObjects

from trivet.errors import CannotTell, PlatformError, UsageError
from trivet.integration.canary import LIMITS, CanaryLimits
from trivet.integration.canary_counts import ArmCounts, CanaryWindow
from trivet.integration.deployment import PreconditionFailed
from trivet.integration.inference_service import DEPLOYMENT_MODE
from trivet.integration.known_requests import KnownAnswer
from trivet.integration.kubernetes_api import INFERENCE_SERVICES, LEASES, KubernetesError
from trivet.integration.prometheus import PrometheusError
from trivet.model.operation import Decision, OperationReport
from trivet.operations.canary_run import CanaryActions, CanaryGone, RunSettings, run_canary, without_own
from trivet.operations.lease import LeaseHeld, LeaseLost, lease_name, record_of


class Killed(BaseException):
    """Stands for SIGKILL: nothing handles it, and nothing is cleaned up."""


@dataclass
class Platform:
    """A cluster with a canary, whose clocks move when the judge sleeps."""

    cluster: StoredObjects
    time: float = 1_800_000_000.0
    during: Callable[[float], object] = lambda now: None
    messages: list[str] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.during(self.time)

    def judge(
        self,
        metrics: ScriptedMetrics,
        *,
        actions: CanaryActions | None = None,
        holder: str = "judge",
        limits: CanaryLimits = LIMITS,
        known: ScriptedKnownRequests | None = None,
        **settings: Any,
    ) -> OperationReport:
        return run_canary(
            SERVICE,
            NAMESPACE,
            cluster=self.cluster,
            metrics=metrics,
            actions=actions or moving_traffic(self.cluster),
            limits=limits,
            known=known,
            settings=RunSettings(**settings),
            holder=holder,
            clock=self.now,
            sleep=self.sleep,
            progress=self.messages.append,
        )

    def service(self) -> dict[str, Any]:
        found = self.cluster.get(INFERENCE_SERVICES, NAMESPACE, SERVICE)
        assert found is not None
        return found

    def record(self) -> dict[str, Any]:
        return record_of(self.cluster.get(LEASES, NAMESPACE, lease_name(SERVICE)))

    def set_status(self, canary: str, stable: str, percent: int) -> None:
        self.cluster.set_status(INFERENCE_SERVICES, NAMESPACE, SERVICE, status_of(canary, stable, percent))


@pytest.fixture
def platform() -> Platform:
    found = Platform(StoredObjects())
    with_canary(found.cluster)
    return found


def untouched(platform: Platform) -> bool:
    return "replace" not in platform.cluster.writes(INFERENCE_SERVICES)


def test_a_sound_canary_is_promoted(platform: Platform) -> None:
    report = platform.judge(ScriptedMetrics(platform.now))

    assert (report.decision, report.acted, report.exit_code) == (Decision.PROMOTE, True, 0)
    assert (report.revision, report.stable) == (CANARY, STABLE)
    assert report.windows > 1
    assert report.end - report.start == report.windows * 60
    assert platform.service()["spec"]["predictor"]["canaryTrafficPercent"] == 100


def test_it_says_after_the_first_window_how_long_a_decision_takes(platform: Platform) -> None:
    platform.judge(ScriptedMetrics(platform.now))

    (sound,) = [text for text in platform.messages if text.startswith("at this traffic")]
    (worse,) = [text for text in platform.messages if text.startswith("for a canary with 2.0% errors")]
    assert "PROMOTE after about 42 minutes and 5040 requests to the canary" in sound
    assert "ROLL_BACK after about" in worse
    assert not any("deadline" in text or "--interval" in text for text in platform.messages)


def test_it_says_after_the_first_window_when_shorter_windows_would_decide_sooner(platform: Platform) -> None:
    platform.judge(ScriptedMetrics(platform.now, rate=2000))

    (sooner,) = [text for text in platform.messages if "--interval" in text]
    assert sooner.startswith("with windows of 15 s (--interval): ROLL_BACK after about")


def test_it_says_after_the_first_window_that_the_deadline_comes_before_a_decision(platform: Platform) -> None:
    platform.judge(ScriptedMetrics(platform.now, rate=30))

    (said,) = [text for text in platform.messages if "deadline" in text]
    assert said.startswith("that is after the deadline of 120 minutes: send the canary a larger share")


def test_it_says_after_the_first_window_that_a_worse_canary_would_stay_undecided(platform: Platform) -> None:
    platform.judge(ScriptedMetrics(platform.now, rate=2))

    sound, worse = [text for text in platform.messages if "deadline" in text]
    assert sound.startswith("that is after the deadline of 120 minutes: send the canary a larger share")
    assert worse.startswith("that is after 120 minutes too, so that such a canary stays undecided")


def test_a_canary_that_fails_is_rolled_back_with_exit_code_1(platform: Platform) -> None:
    report = platform.judge(ScriptedMetrics(platform.now, errors=30))

    assert (report.decision, report.acted, report.exit_code) == (Decision.ROLL_BACK, True, 1)
    assert platform.service()["spec"]["predictor"]["canaryTrafficPercent"] == 0


def test_a_canary_with_wrong_values_is_rolled_back_by_known_requests(platform: Platform) -> None:
    known = ScriptedKnownRequests({CANARY: 11})
    report = platform.judge(ScriptedMetrics(platform.now), known=known)
    assert (report.decision, report.acted) == (Decision.ROLL_BACK, True)
    assert "known requests as expected, the stable revision" in report.reason
    # Each window sends the next request, to both.
    assert known.asked[:4] == [(CANARY, 0), (STABLE, 0), (CANARY, 1), (STABLE, 1)]


def test_values_that_both_revisions_get_wrong_do_not_count(platform: Platform) -> None:
    known = ScriptedKnownRequests({CANARY: 1, STABLE: 1})
    report = platform.judge(ScriptedMetrics(platform.now), known=known)
    assert report.decision is Decision.PROMOTE
    assert "known requests as expected" in report.reason
    assert report.evidence["gaps"] == []


def test_it_says_beforehand_what_known_requests_can_show(platform: Platform) -> None:
    platform.judge(ScriptedMetrics(platform.now), known=ScriptedKnownRequests({}))
    (said,) = (one for one in platform.messages if one.startswith("known requests"))
    assert said == (
        "known requests: 44 rows, which a canary that loses 2.0% of all answers passes with a probability of 41%; "
        "a promotion takes at least 14 windows of them, 14 minutes"
    )


def test_known_requests_that_cannot_show_enough_before_the_deadline_are_refused(platform: Platform) -> None:
    with pytest.raises(
        UsageError, match=r"6 known rows in 2 requests, .* after 126 minutes, and the deadline is after 120"
    ):
        platform.judge(ScriptedMetrics(platform.now), known=ScriptedKnownRequests({}, each=3))
    assert untouched(platform)


def test_a_stable_revision_that_cannot_be_reached_decides_nothing(platform: Platform) -> None:
    with pytest.raises(PlatformError, match=rf"nothing is decided about rec; for 600 s: {STABLE} cannot be reached"):
        platform.judge(ScriptedMetrics(platform.now), known=ScriptedKnownRequests({}, away=1000))
    assert untouched(platform)
    assert platform.record() == {}


def test_a_stable_revision_that_can_be_reached_later_is_waited_for(platform: Platform) -> None:
    report = platform.judge(ScriptedMetrics(platform.now), known=ScriptedKnownRequests({}, away=3))
    assert report.decision is Decision.PROMOTE


def test_a_canary_that_answers_no_known_request_is_rolled_back(platform: Platform) -> None:
    known = ScriptedKnownRequests({CANARY: None})
    report = platform.judge(ScriptedMetrics(platform.now), known=known)
    assert report.decision is Decision.ROLL_BACK
    # Each is sent twice before it counts as wrong.
    assert [index for revision, index in known.asked if revision == CANARY][:4] == [0, 0, 1, 1]


def test_without_answers_of_the_stable_revision_values_are_not_shown_and_nothing_is_promoted(
    platform: Platform,
) -> None:
    report = platform.judge(ScriptedMetrics(platform.now), known=ScriptedKnownRequests({STABLE: None}))
    assert (report.decision, report.acted) == (Decision.UNDECIDED, False)
    assert "no known request was answered" in report.reason


@pytest.mark.parametrize("period", [2, 10])
def test_a_canary_that_fails_some_of_the_known_requests_is_not_promoted(platform: Platform, period: int) -> None:
    class Partial(ScriptedKnownRequests):
        def ask(self, revision: str, index: int) -> KnownAnswer:
            answer = super().ask(revision, index)
            return replace(answer, status=500) if revision == CANARY and index % period else answer

    report = platform.judge(ScriptedMetrics(platform.now), known=Partial({}, each=230))
    assert report.decision is not Decision.PROMOTE


def test_an_answer_that_is_missing_once_is_no_wrong_one(platform: Platform) -> None:
    class Flaky(ScriptedKnownRequests):
        def ask(self, revision: str, index: int) -> KnownAnswer:
            answer = super().ask(revision, index)
            again = self.asked.count((revision, index)) > 1
            return KnownAnswer(rows=answer.rows) if revision == CANARY and index == 3 and not again else answer

    report = platform.judge(ScriptedMetrics(platform.now), known=Flaky({}))
    assert report.decision is Decision.PROMOTE


def test_a_canary_with_errors_is_rolled_back_whether_it_answers_known_requests_or_not(platform: Platform) -> None:
    metrics = ScriptedMetrics(platform.now, errors=30)
    assert platform.judge(metrics, known=ScriptedKnownRequests({CANARY: None})).decision is Decision.ROLL_BACK


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_windows_that_were_missed_show_no_values(platform: Platform, kept: int) -> None:
    def die(start: float) -> None:
        if len(metrics.read) == kept:
            raise Killed

    metrics, known = ScriptedMetrics(platform.now, before=die), ScriptedKnownRequests({CANARY: 1})
    with pytest.raises(Killed):
        platform.judge(metrics, known=known)
    platform.time += 3600
    metrics.before = lambda start: None
    assert platform.judge(metrics, known=known, holder="next").decision is not Decision.PROMOTE
    asked = [index for revision, index in known.asked if revision == STABLE]
    assert asked == list(range(len(asked)))
    # None for the 60 windows that were missed.
    assert len(metrics.read) - len(asked) in (60, 61, 62)


def test_a_judge_that_goes_on_without_known_requests_promotes_nothing(platform: Platform) -> None:
    def die(start: float) -> None:
        if len(metrics.read) == 1:
            raise Killed

    metrics = ScriptedMetrics(platform.now, before=die)
    with pytest.raises(Killed):
        platform.judge(metrics, known=ScriptedKnownRequests({}))
    metrics.before = lambda start: None
    assert platform.judge(metrics, holder="next").decision is Decision.UNDECIDED
    assert any("without them (--known) it is not promoted" in one for one in platform.messages)


def test_a_judge_that_goes_on_with_known_requests_that_began_without_needs_them(platform: Platform) -> None:
    def die(start: float) -> None:
        if len(metrics.read) == 1:
            raise Killed

    metrics = ScriptedMetrics(platform.now, before=die)
    with pytest.raises(Killed):
        platform.judge(metrics)
    metrics.before = lambda start: None
    report = platform.judge(metrics, known=ScriptedKnownRequests({STABLE: None}), holder="next")
    assert report.decision is Decision.UNDECIDED


def test_known_requests_that_the_stable_revision_answers_slowly_are_refused(platform: Platform) -> None:
    known = ScriptedKnownRequests({})
    known.slowest = 0.6
    with pytest.raises(UsageError, match=r"takes 0\.60 s for a known request, and max_latency is 0\.5 s"):
        platform.judge(ScriptedMetrics(platform.now), known=known)
    assert untouched(platform)


def test_the_judges_own_requests_are_no_traffic_of_clients() -> None:
    window = CanaryWindow(
        start=0,
        end=60,
        canary=ArmCounts(requests=12, errors=2, slower={0.1: 3, 0.5: 1, 1.0: 0}),
        stable=ArmCounts(requests=1, errors=None, slower={0.5: 0}),
    )
    own = [
        *(["canary", 15.0, 500, 0.7], ["canary", 16.0, 200, 0.2], ["canary", 17.0, 0, 0.9]),
        *(["stable", 15.0, 200, 0.1], ["stable", 16.0, 200, 0.1], ["canary", 60.0, 200, 9.0]),
    ]
    found = without_own(window, own)
    assert found.canary == ArmCounts(requests=10, errors=1, slower={1.0: 0})
    # It has fewer than were sent: a scrape may lie between.
    assert found.stable == ArmCounts(requests=0, errors=None)
    assert without_own(window, []) == window


@pytest.mark.parametrize("interval", [60.0, 15.0, 5.0])
@pytest.mark.parametrize(("to_canary", "to_stable"), [(12, 48), (20, 180), (100, 400)])
def test_known_requests_that_are_slow_or_fail_on_both_revisions_do_not_tell_against_the_one_with_less_traffic(
    platform: Platform, to_canary: int, to_stable: int, interval: float
) -> None:
    sent: list[tuple[float, bool]] = []

    class Counting(ScriptedMetrics):
        """Counts the known requests too, as Prometheus does."""

        def window(self, source: str, *, canary: str, stable: str, start: float, end: float) -> CanaryWindow:
            own = [slow for at, slow in sent if start <= at < end]
            bad = sum(own)
            return CanaryWindow(
                start=start,
                end=end,
                canary=ArmCounts(requests=to_canary + len(own), errors=bad, slower={0.5: bad}),
                stable=ArmCounts(requests=to_stable + len(own), errors=bad, slower={0.5: bad}),
            )

    class Slow(ScriptedKnownRequests):
        def ask(self, revision: str, index: int) -> KnownAnswer:
            slow = bool(index % 2)
            if revision == STABLE:
                sent.append((platform.time, slow))
            answer = super().ask(revision, index)
            return replace(answer, seconds=0.9, status=500, wrong=0) if slow else answer

    limits = CanaryLimits(burst_size=1, deadline=36_000)
    report = platform.judge(Counting(platform.now), known=Slow({}), limits=limits, interval=interval)
    assert report.decision is Decision.PROMOTE


def test_too_little_traffic_is_undecided_and_changes_nothing(platform: Platform) -> None:
    report = platform.judge(ScriptedMetrics(platform.now, rate=1))

    assert (report.decision, report.acted, report.exit_code) == (Decision.UNDECIDED, False, 2)
    assert untouched(platform)


def test_without_a_canary_there_is_nothing_to_judge(platform: Platform) -> None:
    platform.set_status(CANARY, STABLE, 100)

    report = platform.judge(ScriptedMetrics(platform.now))

    assert (report.decision, report.exit_code) == (Decision.NO_CANARY, 0)
    assert platform.cluster.get(LEASES, NAMESPACE, lease_name(SERVICE)) is None


def test_decide_only_leaves_the_service_as_it_is_and_a_later_judge_acts(platform: Platform) -> None:
    report = platform.judge(ScriptedMetrics(platform.now), decide_only=True)
    assert (report.decision, report.acted) == (Decision.PROMOTE, False)
    assert untouched(platform)

    metrics = ScriptedMetrics(platform.now)
    assert platform.judge(metrics).acted
    assert metrics.read == []


@pytest.mark.parametrize("errors", [0, 30])
def test_decide_only_judges_the_next_revision_too(platform: Platform, errors: int) -> None:
    assert platform.judge(ScriptedMetrics(platform.now, errors=errors), decide_only=True).revision == CANARY
    platform.set_status(NEWER, STABLE, 20)
    metrics = ScriptedMetrics(platform.now)

    report = platform.judge(metrics, decide_only=True)

    assert (report.revision, report.decision, report.acted) == (NEWER, Decision.PROMOTE, False)
    assert report.windows == len(metrics.read)


def test_decide_only_reports_no_canary_once_somebody_promoted_it(platform: Platform) -> None:
    platform.judge(ScriptedMetrics(platform.now), decide_only=True)
    platform.set_status(CANARY, STABLE, 100)

    assert platform.judge(ScriptedMetrics(platform.now), decide_only=True).decision is Decision.NO_CANARY


@pytest.mark.parametrize("errors", [0, 30])
def test_a_decision_that_is_carried_out_is_reported_again_and_not_repeated(platform: Platform, errors: int) -> None:
    first = platform.judge(ScriptedMetrics(platform.now, errors=errors))
    writes = platform.cluster.writes(INFERENCE_SERVICES)

    again = platform.judge(ScriptedMetrics(platform.now, errors=errors))

    assert again.decision is (Decision.ROLL_BACK if errors else Decision.NO_CANARY)
    assert again.exit_code == first.exit_code
    assert platform.cluster.writes(INFERENCE_SERVICES) == writes


def test_an_undecided_judgement_stays_until_a_new_one_is_asked_for(platform: Platform) -> None:
    platform.judge(ScriptedMetrics(platform.now, rate=1))

    metrics = ScriptedMetrics(platform.now)
    assert platform.judge(metrics).decision is Decision.UNDECIDED
    assert metrics.read == []
    assert platform.judge(metrics, restart=True).decision is Decision.PROMOTE


# kills


@pytest.mark.parametrize("errors", [0, 8, 30])
def test_a_judge_that_is_killed_at_each_request_decides_as_one_that_is_not(errors: int) -> None:
    def report(kill: bool) -> tuple[OperationReport, dict[str, Any], int]:
        platform = Platform(StoredObjects())
        with_canary(platform.cluster)
        metrics = ScriptedMetrics(platform.now, errors=errors)
        requests, deaths = 0, 0

        def before(verb: str, plural: str, name: str) -> None:
            nonlocal requests
            requests += 1
            # A process that dies leaves its thread behind here, so that its renewals must fail too.
            if kill and requests > deaths:
                raise Killed

        platform.cluster.before = before
        while True:
            requests = 0
            try:
                return platform.judge(metrics, holder=f"judge {deaths}"), platform.record(), deaths
            except Killed:
                deaths += 1

    plain, plain_record, _ = report(kill=False)
    killed, killed_record, deaths = report(kill=True)

    assert deaths > 20
    assert killed.decision is plain.decision
    assert (killed.windows, killed.evidence, killed.reason) == (plain.windows, plain.evidence, plain.reason)
    # The first kills delay the beginning.
    assert killed_record["judge"] | {"times": []} == plain_record["judge"] | {"times": []}


def test_a_judge_that_slept_for_an_hour_reads_every_window_that_it_missed(platform: Platform) -> None:
    metrics = ScriptedMetrics(platform.now)

    def die(start: float) -> None:
        if len(metrics.read) == 2:
            raise Killed

    metrics.before = die
    with pytest.raises(Killed):
        platform.judge(metrics)
    platform.time += 3600
    metrics.before = lambda start: None

    report = platform.judge(metrics, holder="another")

    assert report.decision is Decision.PROMOTE
    assert [start for start, _ in metrics.read[1:]] == [end for _, end in metrics.read[:-1]]


@pytest.mark.parametrize("share", [0.01, 0.03])
def test_a_judge_that_goes_on_with_other_limits_than_the_given_ones_says_so(platform: Platform, share: float) -> None:
    metrics = ScriptedMetrics(platform.now)

    def die(start: float) -> None:
        if len(metrics.read) == 2:
            raise Killed

    metrics.before = die
    with pytest.raises(Killed):
        platform.judge(metrics, limits=CanaryLimits(max_error_rate=0.01))
    metrics.before = lambda start: None
    platform.judge(metrics, holder="another", limits=CanaryLimits(max_error_rate=share))

    words = "the limits are those it began with; --restart begins anew with the ones that are given"
    assert (words in platform.messages) is (share != 0.01)


def test_an_api_server_that_is_away_while_the_lease_is_acquired_is_asked_again(platform: Platform) -> None:
    refusals = 3

    def away(verb: str, plural: str, name: str) -> None:
        nonlocal refusals
        if plural == "leases" and verb == "create" and refusals:
            refusals -= 1
            raise KubernetesError("connection refused", status=0)

    platform.cluster.before = away
    assert platform.judge(ScriptedMetrics(platform.now)).decision is Decision.PROMOTE
    assert refusals == 0


def test_a_decision_that_was_saved_before_the_kill_is_carried_out(platform: Platform) -> None:
    def die(revision: str) -> None:
        raise Killed

    with pytest.raises(Killed):
        platform.judge(ScriptedMetrics(platform.now), actions=CanaryActions(promote=die, roll_back=die))
    assert platform.record()["decision"] == "PROMOTE"
    metrics = ScriptedMetrics(platform.now)

    report = platform.judge(metrics, holder="another")

    assert (report.decision, report.acted) == (Decision.PROMOTE, True)
    assert metrics.read == []


# two judges


def test_a_second_judge_does_not_start_while_the_first_renews(platform: Platform) -> None:
    metrics = ScriptedMetrics(platform.now)
    other = Platform(platform.cluster)

    def second(start: float) -> None:
        if len(metrics.read) == 1:
            other.during = lambda now: renew_lease(platform)
            with pytest.raises(LeaseHeld):
                other.judge(ScriptedMetrics(other.now), holder="second")

    metrics.before = second
    assert platform.judge(metrics, holder="first").decision is Decision.PROMOTE


def renew_lease(platform: Platform) -> None:
    """Renew the first judge's lease, as its thread does."""
    current = platform.cluster.get(LEASES, NAMESPACE, lease_name(SERVICE))
    assert current is not None
    current["spec"]["renewTime"] = str(current["metadata"]["resourceVersion"])
    platform.cluster.replace(LEASES, current)


def test_a_judge_that_was_suspended_before_it_acts_does_not_act_after_another_has(platform: Platform) -> None:
    acted: list[str] = []
    judged: list[OperationReport] = []
    actions = moving_traffic(platform.cluster, acted.append)

    def suspended(revision: str) -> object:
        platform.time += 3600
        judged.append(platform.judge(ScriptedMetrics(platform.now), actions=actions, holder="second"))
        return actions.promote(revision)

    with pytest.raises(LeaseLost):
        platform.judge(
            ScriptedMetrics(platform.now),
            actions=CanaryActions(promote=suspended, roll_back=suspended),
            holder="first",
        )
    assert judged[0].acted
    assert acted == ["promote"]


# nothing is decided from nothing


def forbidden(verb: str, plural: str, name: str) -> None:
    raise KubernetesError(f"{plural} is forbidden: cannot {verb}", status=403, reason="Forbidden")


@pytest.mark.parametrize("plural", ["inferenceservices", "leases"])
def test_permission_that_is_withdrawn_while_it_judges_ends_it_at_once(platform: Platform, plural: str) -> None:
    def withdraw(start: float) -> None:
        if len(metrics.read) == 2:
            platform.cluster.before = lambda verb, of, name: forbidden(verb, of, name) if of == plural else None

    metrics = ScriptedMetrics(platform.now, before=withdraw)
    started = platform.time
    with pytest.raises(KubernetesError, match="trivet canary rbac") as error:
        platform.judge(metrics)
    assert error.value.exit_code == 2
    assert platform.time - started < 300
    assert untouched(platform)


def test_permission_that_is_withdrawn_before_it_acts_is_an_error_and_the_decision_stays(platform: Platform) -> None:
    def act(revision: str) -> None:
        forbidden("update", "inferenceservices", SERVICE)

    with pytest.raises(KubernetesError, match="trivet canary rbac"):
        platform.judge(ScriptedMetrics(platform.now), actions=CanaryActions(promote=act, roll_back=act))
    assert (platform.record()["decision"], platform.record()["acted"]) == ("PROMOTE", False)


def test_a_prometheus_that_stays_away_ends_it_without_a_decision(platform: Platform) -> None:
    def away(start: float) -> None:
        raise PlatformError("Prometheus at http://p does not answer", remedy="check it")

    started = platform.time
    with pytest.raises(PlatformError, match=r"nothing is decided about rec; for 600 s: Prometheus") as error:
        platform.judge(ScriptedMetrics(platform.now, before=away))
    assert error.value.exit_code == 2
    assert 600 <= platform.time - started < 800
    assert untouched(platform)


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_prometheus_refuses_end_it_at_once(platform: Platform, status: int) -> None:
    def refuse(start: float) -> None:
        raise PrometheusError("Prometheus at http://p asks for credentials", remedy="pass token_file", status=status)

    metrics = ScriptedMetrics(platform.now, before=refuse)
    with pytest.raises(PrometheusError, match=r"asks for credentials\n  remedy: pass token_file") as error:
        platform.judge(metrics)
    assert error.value.exit_code == 2
    assert len(metrics.read) <= 1
    assert not any(message.startswith("trying again") for message in platform.messages)
    assert untouched(platform)


def test_a_prometheus_that_comes_back_costs_no_window(platform: Platform) -> None:
    began = platform.time

    def away(start: float) -> None:
        if began + 200 < platform.time < began + 500:
            raise PlatformError("Prometheus does not answer")

    metrics = ScriptedMetrics(platform.now, before=away)
    report = platform.judge(metrics)

    assert report.decision is Decision.PROMOTE
    assert [start for start, _ in metrics.read[1:]] == [end for _, end in metrics.read[:-1]]
    assert "trying again: Prometheus does not answer" in platform.messages


def test_samples_that_are_lost_for_good_are_skipped(platform: Platform) -> None:
    began = platform.time

    def lost(start: float) -> None:
        if start < began + 400:
            raise CannotTell("Prometheus has no samples of that time")

    metrics = ScriptedMetrics(platform.now, before=lost)
    report = platform.judge(metrics)

    assert report.decision is Decision.PROMOTE
    assert all(start >= began + 400 for start, _ in metrics.read)


def test_counters_that_are_never_there_are_an_error(platform: Platform) -> None:
    def never(start: float) -> None:
        raise CannotTell("no pod of the canary is scraped")

    with pytest.raises(PlatformError, match=r"nothing is decided about rec.*no pod of the canary"):
        platform.judge(ScriptedMetrics(platform.now, before=never))
    assert untouched(platform)


def test_a_gap_longer_than_the_patience_is_skipped_when_what_comes_after_it_can_be_read(platform: Platform) -> None:
    metrics = ScriptedMetrics(platform.now)

    def die(start: float) -> None:
        if len(metrics.read) == 2:
            raise Killed

    metrics.before = die
    with pytest.raises(Killed):
        platform.judge(metrics)
    platform.time += 1800
    back = platform.time

    def lost(start: float) -> None:
        if start < back:
            raise CannotTell("Prometheus has no samples of that time")

    metrics.before = lost
    report = platform.judge(metrics, holder="another")

    assert (report.decision, report.acted) == (Decision.PROMOTE, True)
    assert [start for start, _ in metrics.read[2:]] == [back, *(end for _, end in metrics.read[2:-1])]
    assert f"skipping {back - metrics.read[1][1]:.0f} s: Prometheus has no samples of that time" in platform.messages


def test_a_judge_that_gave_up_goes_on_when_windows_can_be_read_again(platform: Platform) -> None:
    readable = float("inf")

    def lost(start: float) -> None:
        if start < readable:
            raise CannotTell("no pod of the canary is scraped")

    metrics = ScriptedMetrics(platform.now, before=lost)
    for _ in range(2):
        started = platform.time
        with pytest.raises(PlatformError, match=r"nothing is decided about rec; for 1500 s: no pod of the canary"):
            platform.judge(metrics)
        assert platform.time - started >= 1200
        platform.time += 3600
    readable = platform.time

    assert platform.judge(metrics).decision is Decision.PROMOTE


def test_another_prometheus_with_an_earlier_clock_decides_nothing(platform: Platform) -> None:
    metrics = ScriptedMetrics(lambda: platform.time - (7200 if len(metrics.read) == 2 else 0))
    with pytest.raises(PlatformError, match=r"clock is .* s before the end of the last window"):
        platform.judge(metrics)
    assert len(metrics.read) == 2
    assert untouched(platform)


@pytest.mark.parametrize("offset", [-1e9, 1e9])
def test_only_prometheus_clock_counts_for_windows(platform: Platform, offset: float) -> None:
    report = platform.judge(ScriptedMetrics(lambda: platform.time + offset))

    assert report.decision is Decision.PROMOTE
    assert report.start == 1_800_000_000.0 + offset


def test_a_service_that_does_not_exist_is_wrong_usage(platform: Platform) -> None:
    platform.cluster.delete(INFERENCE_SERVICES, NAMESPACE, SERVICE)

    with pytest.raises(UsageError, match="there is no InferenceService 'rec'"):
        platform.judge(ScriptedMetrics(platform.now))


def test_a_service_in_a_mode_without_revisions_is_wrong_usage(platform: Platform) -> None:
    service = platform.service()
    service["metadata"]["annotations"] = {DEPLOYMENT_MODE: "Standard"}
    platform.cluster.replace(INFERENCE_SERVICES, service)

    with pytest.raises(UsageError, match="deployment mode Standard, which has no revisions"):
        platform.judge(ScriptedMetrics(platform.now))


def test_a_standard_mode_by_the_platforms_default_is_wrong_usage(platform: Platform) -> None:
    status = {"deploymentMode": "RawDeployment", "conditions": [{"type": "Ready", "status": "True"}]}
    platform.cluster.set_status(INFERENCE_SERVICES, NAMESPACE, SERVICE, status)

    with pytest.raises(UsageError, match="deployment mode RawDeployment, which has no revisions"):
        platform.judge(ScriptedMetrics(platform.now))


def changing(platform: Platform, change: Callable[[], object]) -> ScriptedMetrics:
    """Metrics during whose third window something changes."""

    def before(start: float) -> None:
        if len(metrics.read) == 2:
            change()

    metrics = ScriptedMetrics(platform.now, before=before)
    return metrics


def test_a_service_that_is_deleted_while_it_is_judged_is_an_error(platform: Platform) -> None:
    metrics = changing(platform, lambda: platform.cluster.delete(INFERENCE_SERVICES, NAMESPACE, SERVICE))

    with pytest.raises(CanaryGone, match="was deleted while it was judged: nothing is decided") as error:
        platform.judge(metrics)
    assert error.value.exit_code == 2


def test_a_service_that_is_deleted_and_created_again_is_another(platform: Platform) -> None:
    def again() -> None:
        platform.cluster.delete(INFERENCE_SERVICES, NAMESPACE, SERVICE)
        with_canary(platform.cluster)

    with pytest.raises(CanaryGone, match="deleted and created again"):
        platform.judge(changing(platform, again))
    metrics = ScriptedMetrics(platform.now)
    report = platform.judge(metrics, holder="another")
    assert report.windows == len(metrics.read)


def test_a_newer_revision_ends_the_judgement_and_gets_one_of_its_own(platform: Platform) -> None:
    with pytest.raises(CanaryGone, match=f"{NEWER} became the canary"):
        platform.judge(changing(platform, lambda: platform.set_status(NEWER, STABLE, 20)))
    assert untouched(platform)

    metrics = ScriptedMetrics(platform.now)
    report = platform.judge(metrics, holder="another")
    assert report.revision == NEWER
    assert report.windows == len(metrics.read)


def test_a_canary_that_somebody_promoted_is_not_judged_on(platform: Platform) -> None:
    with pytest.raises(CanaryGone, match=f"{CANARY} has all traffic, by another hand"):
        platform.judge(changing(platform, lambda: platform.set_status(CANARY, STABLE, 100)))


def test_a_newer_revision_at_the_moment_of_the_action_is_not_promoted(platform: Platform) -> None:
    actions = moving_traffic(platform.cluster)

    def too_late(revision: str) -> object:
        platform.set_status(NEWER, STABLE, 20)
        return actions.promote(revision)

    with pytest.raises(PreconditionFailed):
        platform.judge(
            ScriptedMetrics(platform.now), actions=CanaryActions(promote=too_late, roll_back=actions.roll_back)
        )
    assert untouched(platform)
    assert platform.judge(ScriptedMetrics(platform.now), holder="another").revision == NEWER


def test_an_api_server_that_is_away_for_a_moment_is_asked_again(platform: Platform) -> None:
    began = platform.time

    def away(verb: str, plural: str, name: str) -> None:
        if began + 100 < platform.time < began + 300:
            raise KubernetesError("connection refused", status=0)

    platform.cluster.before = away
    assert platform.judge(ScriptedMetrics(platform.now)).decision is Decision.PROMOTE


def test_a_record_of_another_version_is_an_error_unless_it_begins_anew(platform: Platform) -> None:
    platform.judge(ScriptedMetrics(platform.now, rate=1))
    lease = platform.cluster.get(LEASES, NAMESPACE, lease_name(SERVICE))
    assert lease is not None
    (name,) = lease["metadata"]["annotations"]
    text = (
        lease["metadata"]["annotations"][name]
        .replace('"UNDECIDED"', '"CONTINUE"')
        .replace('"version": 2', '"version": 9')
    )
    lease["metadata"]["annotations"][name] = text
    platform.cluster.replace(LEASES, lease)

    with pytest.raises(PlatformError, match="record of version 9, and this trivet reads 2"):
        platform.judge(ScriptedMetrics(platform.now))
    assert platform.judge(ScriptedMetrics(platform.now), restart=True).decision is Decision.PROMOTE


def test_evidence_of_another_version_is_an_error_unless_it_begins_anew(platform: Platform) -> None:
    platform.judge(ScriptedMetrics(platform.now, rate=1))
    lease = platform.cluster.get(LEASES, NAMESPACE, lease_name(SERVICE))
    assert lease is not None
    (name,) = lease["metadata"]["annotations"]
    record = json.loads(lease["metadata"]["annotations"][name])
    record["decision"], record["judge"]["version"] = "CONTINUE", 1
    lease["metadata"]["annotations"][name] = json.dumps(record)
    platform.cluster.replace(LEASES, lease)

    with pytest.raises(PlatformError, match="evidence of version 1, and this trivet reads") as refused:
        platform.judge(ScriptedMetrics(platform.now))
    assert "--restart" in refused.value.remedy
    assert platform.judge(ScriptedMetrics(platform.now), restart=True).decision is Decision.PROMOTE


@pytest.mark.parametrize("settings", [{"interval": 0}, {"patience": -1}])
def test_times_that_are_none_are_wrong_usage(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="use a number of seconds above 0"):
        RunSettings(**settings)  # type: ignore[arg-type]
