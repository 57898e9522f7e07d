"""runtime → prometheus: the metrics that alert rules and canary judgements use exist, and count the requests correctly."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from uuid import uuid4

from trivet.authoring import (
    MUST,
    PROMETHEUS,
    SHOULD,
    CannotTell,
    ClusterClient,
    Finding,
    Handover,
    Location,
    MetricsClient,
    ModelDirectory,
    Resource,
    ServingClient,
    Stack,
    TrafficClient,
    contract,
    deployed,
    evidence,
    failed,
    inconclusive,
    last_answer,
    not_applicable,
    passed,
    service_pods,
)
from trivet.contracts.deploying import service_like
from trivet.contracts.signatures import example_rows
from trivet.contracts.values import mapping
from trivet.integration import read_signature, v2_request
from trivet.integration.monitoring import durations_total_query, requests_total_query
from trivet.integration.request_metrics import KNATIVE, MLSERVER_REST

SEAM = ("runtime", "prometheus")

(REQUESTS,) = {counter.name for counter in MLSERVER_REST.requests}

VERSIONS: Mapping[str, str] = {"runtime": ">=1.5"}
"""The oldest version of MLServer whose metrics these contracts were verified with."""

GOOD = 25
BAD = 5
SCRAPED = 60.0
"""Seconds within which Prometheus must discover and scrape the pod."""
STILL = 12.0
"""Seconds that the counts must then stay constant."""

OBSERVABILITY, PROTOCOL = "config-observability", "request-metrics-protocol"
"""The ConfigMap and the key in it by which Knative 1.19 and later export what their queue-proxies count."""
UNTIL_1_18 = "metrics.request-metrics-backend-destination"

PORT, PATH = "prometheus.kserve.io/port", "prometheus.kserve.io/path"


@contract(
    title="The metrics of a predictor must count exactly the requests that were sent",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=(PROMETHEUS,),
    rationale=(
        "Alerts and canary judgements rely on these numbers. An alert on a missing metric never fires; a metric that also counts probes "
        "shows errors during every roll-out."
    ),
    remedy=(
        "Use the queries of trivet.integration.monitoring; scrape the predictor's pods on port 8082 (MLServer), not the annotated port."
    ),
    sources=(
        "MLServer 1.5.0 and 1.7.1 mlserver/rest/app.py: PrometheusMiddleware, prefix rest_server",
        "measured (MLServer 1.5.0): the label path holds the route, /v2/models/{model_name}/infer, not the name of the model",
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
        raise CannotTell("the model was saved without an input example to send")
    request = v2_request(read_signature(model_directory.mlmodel), rows)
    wrong = {**request, "inputs": request["inputs"][1:]}
    # A new name, because Prometheus returns series of a deleted service for five minutes.
    name = f"measured-{uuid4().hex[:8]}"
    with deployed(cluster, service_like(handover, name, min_replicas=1, max_replicas=1)):
        sent = traffic.send(name, request, times=GOOD)
        refused = traffic.send(name, wrong, times=BAD)
        odd = next((one for one in sent if one.status != 200), None) or next(
            (one for one in refused if one.status < 400), None
        )
        if odd:
            raise CannotTell(
                f"a request had an unexpected result, so that there is nothing to compare the counts with: {odd}"
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
        probed = _value(metrics, probes)
    proof = (evidence("counted", "table", {query: counted[what] for what, (query, _) in expected.items()}),)
    for what, (query, number) in expected.items():
        if counted[what] is None:
            yield failed(f"{what}: Prometheus has no such series: {query}", evidence=proof)
        elif counted[what] != number:
            yield failed(f"{what}: {number} sent, but {counted[what]:g} counted by {query}", evidence=proof)
        else:
            yield passed(f"{what}: {number} sent and counted", evidence=proof)
    if probed is None:
        yield inconclusive(
            "no readiness probe was counted, so it is unknown whether the queries exclude probes", evidence=proof
        )
    else:
        yield passed(f"the queries exclude {probed:g} readiness probes", evidence=proof)


@contract(
    title="The port in the Prometheus annotation of a predictor's pods should serve metrics",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "If Prometheus discovers its targets by annotations, it scrapes the annotated port. If that is not the port of the metrics, no "
        "alert on the predictor fires."
    ),
    remedy=(
        "Set MLSERVER_METRICS_PORT to the annotated port, correct the annotation in the ServingRuntime, or scrape port 8082 with a "
        "scrape configuration of your own."
    ),
    sources=(
        "kserve 0.14.1 and 0.20.0 config/runtimes/kserve-mlserver.yaml: prometheus.kserve.io/port 8080",
        "MLServer 1.5.0 and 1.7.1 mlserver/settings.py: metrics_port 8082",
    ),
)
def annotated_port_has_metrics(cluster: ClusterClient, handover: Handover, serving: ServingClient) -> Iterator[Finding]:
    name = handover.service["metadata"]["name"]
    if not serving.ready:
        raise CannotTell(f"{name} did not become ready: {serving.failure}")
    pods = service_pods(cluster, name)
    if not pods:
        raise CannotTell(f"{name} has no pod")
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
        yield passed(f"port {port}, path {path} serves {REQUESTS}", location=place, evidence=proof)
    elif answer.status == 200:
        yield failed(f"port {port}, path {path} answers, but without {REQUESTS}", location=place, evidence=proof)
    else:
        yield failed(
            f"the annotated port {port}, path {path} returns HTTP {answer.status}",
            location=place,
            evidence=proof,
        )


@contract(
    title="Knative should export the metrics of its queue-proxies to Prometheus",
    level=SHOULD,
    seam=SEAM,
    versions={"knative": ">=1.19"},
    rationale=(
        "From 1.19 on Knative exports nothing by default and reads other keys than before. After an upgrade the series that canaries are "
        "judged by are gone, and with them errors that the runtime does not count itself, as KServe's own servers do not."
    ),
    remedy=f"Set {PROTOCOL}: prometheus in the ConfigMap {OBSERVABILITY}, and scrape port 9091 of the predictors' pods.",
    sources=(
        *KNATIVE.facts,
        "knative pkg of serving 0.48.1 observability/metrics/config.go: Config.Validate, DefaultConfig (protocol none)",
        f"knative pkg of serving 0.42.2 metrics/config_observability.go: {UNTIL_1_18}",
    ),
)
def request_metrics_are_exported(resource: Resource, stack: Stack) -> Iterator[Finding]:
    if (resource.kind, resource.name) != ("ConfigMap", OBSERVABILITY):
        yield not_applicable("it does not say what Knative exports", location=resource.at())
        return
    data = mapping(resource.document.get("data"))
    protocol, where = data.get(PROTOCOL, "none"), resource.at("data", PROTOCOL)
    version = stack.components.get("knative", "1.19 and later")
    if protocol == "prometheus":
        yield passed(f"the queue-proxies of Knative {version} serve {KNATIVE.duration}", location=where)
    elif protocol in ("grpc", "http/protobuf"):
        yield inconclusive(
            f"the queue-proxies send their metrics by OTLP ({protocol}): this file does not show whether Prometheus has {KNATIVE.duration}",
            location=where,
        )
    elif protocol == "none":
        stated = f"{PROTOCOL} is none" if PROTOCOL in data else f"{PROTOCOL} is not set"
        ignored = f"; it does not read {UNTIL_1_18}" if UNTIL_1_18 in data else ""
        yield failed(
            f"the queue-proxies of Knative {version} export no metrics of requests: {stated}{ignored}", location=where
        )
    else:
        yield failed(
            f"{PROTOCOL} is {protocol!r}, which Knative {version} rejects; use prometheus, grpc, http/protobuf or none",
            location=where,
        )


def _counted(metrics: MetricsClient, expected: Mapping[str, tuple[str, int]]) -> dict[str, float | None]:
    """The result of each query, once all are as expected and stay constant, or after SCRAPED seconds."""

    def look() -> dict[str, float | None]:
        return {what: _value(metrics, query) for what, (query, _) in expected.items()}

    def fits(seen: Mapping[str, float | None]) -> bool:
        return all(seen[what] == number for what, (_, number) in expected.items())

    seen = last_answer(look, until=fits, timeout=SCRAPED, poll=2.0)
    if fits(seen):
        time.sleep(STILL)  # two scrapes: a metric that also counts probes keeps growing
        seen = look()
    return seen


def _value(metrics: MetricsClient, query: str) -> float | None:
    """The value of a query; None without a series."""
    found = metrics.query(query)
    return found[0][1] if found else None
