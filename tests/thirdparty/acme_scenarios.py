"""A third party's scenario in one module: Acme's feature store is stopped, and whether its model still answers."""

from collections.abc import Iterator

import trivet.authoring as trivet

STOPPED = trivet.stopped("features", namespace=trivet.SERVING)


@trivet.scenario(
    title="The model does not answer without the feature store",
    happens="The feature store is stopped, and every request fails, also one that needs no feature.",
    recognise="HTTP errors since the store was stopped; the model's pods are ready.",
    remedy="Answer with defaults.",
    variants=[trivet.unprotected("as-it-is", "the model as it is deployed", expected=None)],
    affected_objects=STOPPED.affected_objects,
)
def feature_store_away(cluster: trivet.ClusterClient) -> Iterator[trivet.Case]:
    def symptom(watch: trivet.Watch) -> trivet.Observation:
        watch.wait(2)
        outage = watch.outage(since=trivet.INJECTED)
        return (trivet.symptom_observed if outage.lost else trivet.symptom_not_observed)(str(outage))

    def steady_state() -> str:
        replicas = ((cluster.get("deployment", "features") or {}).get("spec") or {}).get("replicas")
        return f"replicas: {replicas}" if replicas else ""

    workload = trivet.Workload(service="classifier", request={"inputs": []}, rate=20)
    yield trivet.Case(fault=STOPPED, steady_state=steady_state, symptom=symptom, workload=workload)
