"""How the checks of a cluster judge what they see, on a fake cluster: above all what they do not take for a pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes.contract_cluster import HANDOVER, FakeCluster, pod, refusing
from samples.rollouts import answer

from trivet.contracts import admission, deployment, monitoring, network, scaling
from trivet.errors import CannotTell
from trivet.model.contract import Contract
from trivet.model.finding import Finding
from trivet.model.handover import HttpExchange
from trivet.model.network import NetworkPath
from trivet.model.outcome import Outcome, combine
from trivet.model.subjects import ModelDirectory
from trivet.model.traffic import Answer
from trivet.stacks.read import load_stack

NEEDED = NetworkPath(
    name="mlflow → database", namespace="platform", selector={"app": "mlflow"}, host="database", port=5432, allowed=True
)
FORBIDDEN = NetworkPath(
    name="predictor → database", namespace="serving", selector={"app": "p"}, host="database", port=5432, allowed=False
)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake needs no time."""
    for module, name in ((network, "EFFECT"), (scaling, "REACHED"), (scaling, "WATCHED"), (scaling, "EVERY")):
        monkeypatch.setattr(module, name, 0.01)
    for module, name in ((admission, "ANSWERED"), (scaling, "TO_ZERO"), (monitoring, "SCRAPED"), (monitoring, "STILL")):
        monkeypatch.setattr(module, name, 0.01)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def judged(contract: Contract, **clients: Any) -> tuple[Outcome, str]:
    findings: Sequence[Finding] = list(contract.check(**clients))
    outcome = combine(finding.outcome for finding in findings)
    return outcome, "\n".join(finding.message for finding in findings if finding.outcome is outcome)


class Serving:
    name = "classifier"
    ready = True
    failure = ""

    def get(self, path: str) -> HttpExchange:
        return HttpExchange(method="GET", url=f"http://c{path}", request=None, status=200, body="", seconds=0.1)


# deployment


@pytest.mark.parametrize(("name", "mode"), [("2024.11-fixed", "RawDeployment"), ("current", "Standard")])
def test_the_mode_without_knative_is_called_as_the_stacks_kserve_calls_it(name: str, mode: str) -> None:
    assert deployment.standard_mode(load_stack(name)) == mode


# admission


def test_what_is_stored_as_applied_passes_though_the_server_adds_to_it() -> None:
    def admit(document: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**document, "metadata": {**document["metadata"], "uid": "1"}}

    outcome, message = judged(admission.applied_fields_are_stored, cluster=FakeCluster(admit=admit), handover=HANDOVER)
    assert (outcome, message) == (Outcome.PASSED, "all 7 applied values are stored unchanged")


def test_a_value_that_is_gone_or_another_one_is_named() -> None:
    def admit(document: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**document, "spec": {"predictor": {"minReplicas": 1, "model": {}, "maxReplicas": 3}}}

    outcome, message = judged(admission.applied_fields_are_stored, cluster=FakeCluster(admit=admit), handover=HANDOVER)
    assert outcome is Outcome.FAILED
    assert "spec.predictor.minReplicas is 1, applied was 2" in message
    assert "spec.predictor.model.storageUri is missing" in message


def test_an_unknown_field_that_is_dropped_silently_is_found() -> None:
    outcome, message = judged(admission.unknown_field_is_rejected, cluster=FakeCluster(), handover=HANDOVER)
    assert (outcome, message.rpartition(" is ")[2]) == (Outcome.FAILED, "stored")


def test_a_refusal_for_another_reason_is_no_refusal_of_the_unknown_field() -> None:
    cluster = FakeCluster(admit=refusing("quota exceeded"))
    outcome, message = judged(admission.unknown_field_is_rejected, cluster=cluster, handover=HANDOVER)
    assert (outcome, message) == (Outcome.FAILED, "rejected, but not for its unknown field: quota exceeded")


def test_a_webhook_that_does_not_answer_is_no_webhook_that_refuses() -> None:
    cluster = FakeCluster(admit=refusing('failed calling webhook "x": connection refused'))
    assert (
        judged(admission.inconsistent_service_is_rejected, cluster=cluster, handover=HANDOVER)[0]
        is Outcome.INCONCLUSIVE
    )


def test_a_refusal_of_everything_shows_nothing() -> None:
    def admit(document: Mapping[str, Any]) -> Mapping[str, Any]:
        return refusing("no")({**document, "spec": {}})

    with pytest.raises(CannotTell, match="the valid service is rejected too"):
        judged(admission.inconsistent_service_is_rejected, cluster=FakeCluster(admit=admit), handover=HANDOVER)


def test_a_contradiction_that_is_admitted_is_named() -> None:
    outcome, message = judged(admission.inconsistent_service_is_rejected, cluster=FakeCluster(), handover=HANDOVER)
    assert (outcome, "a negative containerConcurrency is admitted" in message) == (Outcome.FAILED, True)


# network


def denied(how: str) -> Callable[[FakeCluster, str, str], str]:
    """A network in which a policy has an effect."""
    return lambda cluster, _pod, _host: how if any(kind == "networkpolicy" for kind, _ in cluster.there) else "open"


@pytest.mark.parametrize("how", ["refused", "timed out"])
def test_a_policy_that_rejects_or_drops_is_enforced(how: str) -> None:
    cluster = FakeCluster(reach=denied(how))
    outcome, message = judged(network.policies_are_enforced, cluster=cluster)
    assert (outcome, f"open before, {how}" in message) == (Outcome.PASSED, True)
    assert not cluster.there, "the probe left something behind"


@pytest.mark.parametrize(
    ("reach", "outcome", "words"),
    [
        (denied("open"), Outcome.FAILED, "last seen open"),
        (lambda *_: "refused", Outcome.INCONCLUSIVE, "already refused"),
        (lambda *_: "", Outcome.INCONCLUSIVE, "python3: not found"),
    ],
)
def test_a_policy_without_effect_is_found_and_a_probe_that_cannot_see_is_no_proof(
    reach: Callable[..., str], outcome: Outcome, words: str
) -> None:
    seen, message = judged(network.policies_are_enforced, cluster=FakeCluster(reach=reach))
    assert (seen, words in message) == (outcome, True)


def paths_judged(contract: Contract, seen: Mapping[str, str], *paths: NetworkPath) -> tuple[Outcome, str]:
    """By the probe from each path's only pod, which is called after its namespace."""
    namespaces = iter([path.namespace for path in sorted(paths, key=lambda path: not path.allowed)])
    cluster = FakeCluster(
        paths=paths, pods=[[pod(name)] for name in namespaces], reach=lambda _, name, host: seen[name]
    )
    return judged(contract, cluster=cluster, trainer=None, serving=Serving())


def test_a_needed_path_that_is_closed_or_whose_name_is_unknown_is_found() -> None:
    contract = network.needed_paths_are_open
    assert paths_judged(contract, {"platform": "open"}, NEEDED)[0] is Outcome.PASSED
    outcome, message = paths_judged(contract, {"platform": "timed out"}, NEEDED)
    assert (outcome, message) == (
        Outcome.FAILED,
        "mlflow → database: database:5432 is timed out, but the platform needs it",
    )
    outcome, message = paths_judged(contract, {"platform": "unresolved"}, NEEDED)
    assert (outcome, "the host name does not resolve" in message) == (Outcome.FAILED, True)


def test_a_path_without_a_pod_to_begin_at_is_no_open_one() -> None:
    outcome, message = judged(
        network.needed_paths_are_open, cluster=FakeCluster(paths=[NEEDED]), trainer=None, serving=Serving()
    )
    assert (outcome, "no pod with app=mlflow is ready in platform" in message) == (Outcome.INCONCLUSIVE, True)


@pytest.mark.parametrize(
    ("control", "forbidden", "outcome"),
    [
        ("open", "refused", Outcome.PASSED),
        ("open", "timed out", Outcome.PASSED),
        ("open", "open", Outcome.FAILED),
        ("refused", "refused", Outcome.INCONCLUSIVE),
    ],
)
def test_a_forbidden_path_counts_as_closed_only_where_somebody_gets_through(
    control: str, forbidden: str, outcome: Outcome
) -> None:
    seen = {"platform": control, "serving": forbidden}
    assert paths_judged(network.forbidden_paths_are_closed, seen, NEEDED, FORBIDDEN)[0] is outcome


def test_a_target_that_forbids_nothing_is_skipped_and_not_passed() -> None:
    assert paths_judged(network.forbidden_paths_are_closed, {"platform": "open"}, NEEDED)[0] is Outcome.SKIPPED


# scaling


def test_replicas_that_are_there_at_every_look_pass_and_one_that_goes_missing_is_found() -> None:
    def found(*pods: Mapping[str, Any]) -> tuple[Outcome, str]:
        return judged(scaling.min_replicas_are_ready, cluster=FakeCluster(pods=[pods]), handover=HANDOVER)

    assert found(pod("a"), pod("b"))[0] is Outcome.PASSED
    assert found(pod("a"), pod("b", deletionTimestamp="now"))[0] is Outcome.FAILED
    outcome, message = found(pod("a"), pod("b", ready=False))
    assert (outcome, "minReplicas is 2, but the numbers of ready pods were [1" in message) == (Outcome.FAILED, True)


@pytest.fixture
def model(tmp_path: Path) -> ModelDirectory:
    """A model with an example of one row."""
    (tmp_path / "example.json").write_text(json.dumps({"columns": ["a", "b"], "data": [[1.0, 2.0]]}))
    mlmodel = {"saved_input_example_info": {"type": "dataframe", "artifact_path": "example.json"}}
    return ModelDirectory(path=tmp_path, root=tmp_path, mlmodel=mlmodel, line=lambda keys: 1)


class Predictor:
    def predict(self, rows: Any) -> list[Any]:
        return [1]


class Traffic:
    def __init__(self, *answers: Answer) -> None:
        self.answers = answers

    def send(self, service: str, request: Mapping[str, Any], *, times: int, **_: Any) -> list[Answer]:
        refused = len(request["inputs"]) == 1
        return [answer(0, 0, status=500) if refused else self.answers[0]] * times


@pytest.mark.parametrize(
    ("pods", "first", "outcome", "words"),
    [
        ([[pod("a")], [], [pod("b")]], answer(0, 1, seconds=9.5), Outcome.PASSED, "after a cold start of 9.5 s"),
        ([[pod("a")]], answer(0, 1), Outcome.FAILED, "last seen a"),
        ([[]], answer(0, 1, status=503), Outcome.FAILED, "the first request was lost: HTTP 503"),
        ([[]], answer(0, 7), Outcome.FAILED, "got [7], the trainer predicts [1]"),
        ([[]], answer(0, 1), Outcome.INCONCLUSIVE, "something else answered it"),
    ],
)
def test_a_service_must_be_gone_and_come_back_with_the_right_answer(
    pods: Sequence[Sequence[Mapping[str, Any]]], first: Answer, outcome: Outcome, words: str, model: ModelDirectory
) -> None:
    seen, message = judged(
        scaling.scales_to_zero_and_back,
        cluster=FakeCluster(pods=pods),
        traffic=Traffic(first),
        handover=HANDOVER,
        predictor=Predictor(),
        model_directory=model,
    )
    assert (seen, words in message) == (outcome, True), message


# monitoring


class Metrics:
    """Counts good and bad requests, and says nothing of what it has not."""

    def __init__(self, good: float | None, bad: float | None, probes: float | None = 3.0) -> None:
        self.good, self.bad, self.probes = good, bad, probes

    def query(self, promql: str) -> list[tuple[Mapping[str, str], float]]:
        every = None if self.good is None or self.bad is None else self.good + self.bad
        number = (
            self.probes
            if "/ready" in promql
            else self.good
            if '"200"' in promql
            else self.bad
            if "[45]" in promql
            else every
        )
        return [] if number is None else [({}, number)]


@pytest.mark.parametrize(
    ("metrics", "outcome", "words"),
    [
        (Metrics(25, 5), Outcome.PASSED, "requests: 30 sent and counted"),
        (Metrics(None, None), Outcome.FAILED, "Prometheus has no such series"),
        (Metrics(0, 0), Outcome.FAILED, "requests: 30 sent, but 0 counted"),
        (Metrics(27, 5), Outcome.FAILED, "requests: 30 sent, but 32 counted"),
        (Metrics(25, 5, probes=None), Outcome.INCONCLUSIVE, "no readiness probe was counted"),
    ],
)
def test_counts_must_be_equal_to_what_was_sent_and_no_series_is_no_zero(
    metrics: Metrics, outcome: Outcome, words: str, model: ModelDirectory
) -> None:
    seen, message = judged(
        monitoring.requests_are_counted,
        cluster=FakeCluster(),
        metrics=metrics,
        traffic=Traffic(answer(0, 1)),
        handover=HANDOVER,
        model_directory=model,
    )
    assert (seen, words in message) == (outcome, True), message


def test_requests_that_did_not_go_as_intended_leave_nothing_to_compare(model: ModelDirectory) -> None:
    with pytest.raises(CannotTell, match="had an unexpected result"):
        judged(
            monitoring.requests_are_counted,
            cluster=FakeCluster(),
            metrics=Metrics(25, 5),
            traffic=Traffic(answer(0, 1, status=503)),
            handover=HANDOVER,
            model_directory=model,
        )


class Annotated(FakeCluster):
    def __init__(self, status: int, body: str, **annotations: str) -> None:
        found = {f"prometheus.kserve.io/{key}": value for key, value in annotations.items()}
        super().__init__(pods=[[pod("a", annotations=found)]])
        self.answer = HttpExchange(method="GET", url="", request=None, status=status, body=body, seconds=0.1)

    def pod_get(self, name: str, port: int, path: str) -> HttpExchange:
        return self.answer


@pytest.mark.parametrize(
    ("cluster", "outcome"),
    [
        (Annotated(200, "rest_server_requests_total 1", port="8082"), Outcome.PASSED),
        (Annotated(404, "", port="8080"), Outcome.FAILED),
        (Annotated(200, "<html>", port="8080"), Outcome.FAILED),
        (Annotated(200, ""), Outcome.SKIPPED),
    ],
)
def test_the_annotated_port_must_have_the_metrics(cluster: Annotated, outcome: Outcome) -> None:
    contract = monitoring.annotated_port_has_metrics
    assert judged(contract, cluster=cluster, handover=HANDOVER, serving=Serving())[0] is outcome
