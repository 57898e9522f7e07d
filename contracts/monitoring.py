"""runtime → prometheus, live: what alert rules and the judgement of a canary count is there, and counts what happened."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from uuid import uuid4

from trivet.authoring.contracts import MUST, SHOULD, contract
from trivet.contracts.deploying import service_like
from trivet.contracts.signatures import example_rows
from trivet.errors import CannotTell
from trivet.integration import read_signature, v2_request
from trivet.integration.monitoring import REQUESTS, durations_total_query, requests_total_query
from trivet.model.clients import ClusterClient, MetricsClient, ServingClient, TrafficClient
from trivet.model.feature import PROMETHEUS
from trivet.model.finding import Finding, Location, evidence, failed, inconclusive, not_applicable, passed
from trivet.model.handover import Handover
from trivet.model.subjects import ModelDirectory
from trivet.toolkit.readiness import service_pods
from trivet.toolkit.rollout import deployed
from trivet.toolkit.waiting import last_answer

SEAM = ("runtime", "prometheus")

VERSIONS: Mapping[str, str] = {"runtime": ">=1.5"}
"""The oldest version of MLServer whose metrics were read for these statements."""

GOOD = 25
BAD = 5
SCRAPED = 60.0
"""Seconds in which Prometheus must have found the pod and scraped it; and in which the counts must not go on growing afterwards."""
STILL = 12.0

PORT, PATH = "prometheus.kserve.io/port", "prometheus.kserve.io/path"


@contract(
    title="The metrics of a predictor must count exactly the requests that were sent",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=(PROMETHEUS,),
    rationale=(
        "Alerts and canaries are judged by these numbers. A metric that does not exist makes an alert that never fires; one that counts "
        "probes as well makes errors out of every roll-out."
    ),
    remedy=(
        "Query with trivet.integration.monitoring; scrape the predictor's pods on port 8082 (MLServer), whatever their annotation says."
    ),
    sources=(
        "MLServer 1.5.0 and 1.7.1 mlserver/rest/app.py: PrometheusMiddleware, prefix rest_server",
        "measured (MLServer 1.5.0): the label path is the route's, /v2/models/{model_name}/infer, and names no model",
        "MLServer 1.5.0 and 1.7.1 mlserver/settings.py: metrics_port 8082",
        "measured (KServe 0.14.1): there is no kserve_request_total",
    ),
)
def requests_are_counted(
    cluster: ClusterClient,
    metrics: MetricsClient,
    traffic: TrafficClient,
    handover: Handover,
    model_directory: ModelDirectory,
) -> Iterator[Finding]:
    rows = example_rows(model_directory)
    if not rows:
        raise CannotTell("the model was saved without an input example to ask with")
    request = v2_request(read_signature(model_directory.mlmodel), rows)
    wrong = {**request, "inputs": request["inputs"][1:]}
    # A name that no service had before: Prometheus goes on telling of what is gone for five minutes.
    name = f"measured-{uuid4().hex[:8]}"
    with deployed(cluster, service_like(handover, name, min_replicas=1, max_replicas=1)):
        sent = traffic.send(name, request, times=GOOD)
        refused = traffic.send(name, wrong, times=BAD)
        odd = next((one for one in sent if one.status != 200), None) or next(
            (one for one in refused if one.status < 400), None
        )
        if odd:
            raise CannotTell(
                f"the requests did not go as intended, so there is nothing to compare the counts with: {odd}"
            )
        expected = {
            "requests": (requests_total_query(name, cluster.namespace), GOOD + BAD),
            "requests answered 200": (requests_total_query(name, cluster.namespace, status="200"), GOOD),
            "requests answered 4xx or 5xx": (requests_total_query(name, cluster.namespace, status="[45].."), BAD),
            "durations in the histogram": (durations_total_query(name, cluster.namespace), GOOD + BAD),
        }
        counted = _counted(metrics, expected)
        ready = f'namespace="{cluster.namespace}",inferenceservice="{name}",path=~".*/ready"'
        probes = f"sum({REQUESTS}{{{ready}}})"
        beside = _value(metrics, probes)
    proof = (evidence("counted", "table", {query: counted[what] for what, (query, _) in expected.items()}),)
    for what, (query, number) in expected.items():
        if counted[what] is None:
            yield failed(f"{what}: Prometheus has no such series: {query}", evidence=proof)
        elif counted[what] != number:
            yield failed(f"{what}: {number} were sent, {counted[what]:g} are counted by {query}", evidence=proof)
        else:
            yield passed(f"{what}: {number} sent and counted", evidence=proof)
    if beside is None:
        yield inconclusive(
            "no readiness probe was counted, so nothing shows that the queries leave them out", evidence=proof
        )
    else:
        yield passed(f"{beside:g} readiness probes beside them are in none of these numbers", evidence=proof)


@contract(
    title="The port that a predictor's pods are annotated with for Prometheus should have metrics",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "Who lets Prometheus find its targets by annotations scrapes what they name. Where that is not the metrics' port, every alert "
        "on the predictor is silent."
    ),
    remedy=(
        "Set MLSERVER_METRICS_PORT to the annotated port, correct the annotation in the ServingRuntime, or scrape port 8082 by a rule of "
        "your own."
    ),
    sources=(
        "kserve 0.14.1 and 0.20.0 config/runtimes/kserve-mlserver.yaml: prometheus.kserve.io/port 8080",
        "MLServer 1.5.0 and 1.7.1 mlserver/settings.py: metrics_port 8082",
    ),
)
def annotated_port_has_metrics(cluster: ClusterClient, handover: Handover, serving: ServingClient) -> Iterator[Finding]:
    name = handover.service["metadata"]["name"]
    if not serving.ready:
        raise CannotTell(f"{name} never became ready: {serving.failure}")
    pods = service_pods(cluster, name)
    if not pods:
        raise CannotTell(f"{name} has no pod to look at")
    pod = pods[0]["metadata"]
    place = Location(object=f"Pod/{pod['name']}")
    annotations = pod.get("annotations") or {}
    if PORT not in annotations:
        yield not_applicable(f"the pods of {name} have no annotation {PORT}", location=place)
        return
    port, path = int(annotations[PORT]), annotations.get(PATH, "/metrics")
    answer = cluster.pod_get(pod["name"], port, path)
    proof = (evidence("the answer", "http", vars(answer)),)
    if answer.status == 200 and REQUESTS in str(answer.body):
        yield passed(f"port {port}, path {path} has {REQUESTS}", location=place, evidence=proof)
    elif answer.status == 200:
        yield failed(f"port {port}, path {path} answers, and has no {REQUESTS}", location=place, evidence=proof)
    else:
        yield failed(
            f"port {port}, path {path}, which the pod is annotated with, answers HTTP {answer.status}",
            location=place,
            evidence=proof,
        )


def _counted(metrics: MetricsClient, expected: Mapping[str, tuple[str, int]]) -> dict[str, float | None]:
    """What Prometheus says to each query, once all are as expected and stay so, or at the end of SCRAPED seconds."""

    def look() -> dict[str, float | None]:
        return {what: _value(metrics, query) for what, (query, _) in expected.items()}

    def fits(seen: Mapping[str, float | None]) -> bool:
        return all(seen[what] == number for what, (_, number) in expected.items())

    seen = last_answer(look, until=fits, timeout=SCRAPED, poll=2.0)
    if fits(seen):
        time.sleep(STILL)  # two scrapes: what counts too much goes on counting
        seen = look()
    return seen


def _value(metrics: MetricsClient, query: str) -> float | None:
    """The one value of a query; None when there is no such series."""
    found = metrics.query(query)
    return found[0][1] if found else None
