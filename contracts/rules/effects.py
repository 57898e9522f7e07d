"""Settings of an InferenceService that KServe or the deployment mode does not read, so that they change nothing.

Read at KServe 0.12.1, 0.13.1, 0.14.1 and 0.20.0.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import lru_cache

from trivet.authoring import Replacement
from trivet.contracts.quantities import SMALLEST_MEMORY, quantity
from trivet.contracts.rules.companions import S3_ANNOTATIONS
from trivet.contracts.rules.rule import KNATIVE, STANDARD, Rules, Service
from trivet.contracts.values import each, mapping, path
from trivet.contracts.violation import Violation

EFFECTS = Rules("kserve", "kserve")

_GROUP = "serving.kserve.io"
_CONSTANTS = "pkg/constants/constants.go"

_ANNOTATIONS = {
    f"{_GROUP}/{name}"
    for name in (
        *(
            "gke-accelerator",
            "deploymentMode",
            "enable-tag-routing",
            "disable-localmodel",
            "autoscalerClass",
            "metrics",
        ),
        *(
            "targetUtilizationPercentage",
            "enable-metric-aggregation",
            "enable-prometheus-scraping",
            "stop",
            "nodegroup",
        ),
        *("logger-secret-name", "logger-secret-path", "logger-secret-file", "disable-auto-update", "server-type"),
        *("gpu-resource-types", "storage-initializer-uid", "storageSecretName", "gateway"),
    )
}
"""What KServe reads of an InferenceService's annotations, in any of its versions."""

_VISIBILITY = ("networking.kserve.io/visibility", "networking.knative.dev/visibility")
"""Labels by which a service is reachable inside the cluster only."""


@EFFECTS.rule(
    f"{_CONSTANTS}: annotations; pkg/credentials/s3: annotations of Secrets and ServiceAccounts",
    fields=("annotations",),
)
def annotations_are_read(service: Service) -> Iterator[Violation]:
    for key in service.annotations:
        name = str(key).rpartition("/")[2]
        at = ("metadata", "annotations", key)
        if key in _VISIBILITY:
            yield Violation(at, f"KServe reads {key} from the labels, not from the annotations")
        elif not str(key).startswith(f"{_GROUP}/") or key in _ANNOTATIONS:
            continue
        elif name in S3_ANNOTATIONS:
            yield Violation(
                at, f"KServe reads {key} from the Secret or its ServiceAccount, not from the InferenceService"
            )
        elif near := _nearest(key):
            fix = Replacement(key, near) if near not in service.annotations else None
            yield Violation(at, f"KServe ignores {key}: it has no such annotation; did you mean {near}?", fix=fix)


@lru_cache(maxsize=1024)
def _nearest(key: str) -> str:
    """The annotation of KServe that ``key`` is certainly meant to be: the same with other separators and case, or nearly so."""
    plain = {name.replace("-", "").lower(): name for name in _ANNOTATIONS}
    found = difflib.get_close_matches(key.replace("-", "").replace("_", "").lower(), plain, 2, cutoff=0.93)
    return plain[found[0]] if len(found) == 1 or (found and found[0] == key.replace("-", "").lower()) else ""


@EFFECTS.rule(f"{_CONSTANTS}: annotations, none of which is read from labels", fields=("labels",))
def annotations_among_labels(service: Service) -> Iterator[Violation]:
    for key in mapping(service.metadata.get("labels")):
        if key in _ANNOTATIONS:
            yield Violation(
                ("metadata", "labels", key), f"KServe reads {key} from the annotations, not from the labels"
            )


@EFFECTS.rule(
    "pkg/controller/v1beta1/inferenceservice/reconcilers/knative/ksvc_reconciler.go, createKnativeService: min-scale is minReplicas; "
    "knative serving 0.42.2 pkg/apis/autoscaling/register.go: min-scale before minScale",
    modes=(KNATIVE,),
    fields=("autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/minScale"),
)
def min_scale(service: Service) -> Iterator[Violation]:
    for keys, given in service.annotated:
        for name in ("min-scale", "minScale"):
            key = f"autoscaling.knative.dev/{name}"
            if key in given:
                yield Violation(
                    (*keys, key), f"{key} has no effect: KServe sets it by minReplicas, which is 1 by default"
                )


@EFFECTS.rule(
    "pkg/controller/v1beta1/inferenceservice/reconcilers/hpa/hpa_reconciler.go, createHPA: at least 1 replica",
    modes=(STANDARD,),
    fields=("minReplicas",),
)
def no_replicas(service: Service) -> Iterator[Violation]:
    if service.annotations.get(f"{_GROUP}/autoscalerClass", "hpa") != "hpa":
        return
    for keys, settings in service.components:
        if settings.get("minReplicas") == 0 and not isinstance(settings["minReplicas"], bool):
            where = (*keys, "minReplicas")
            yield Violation(
                where, f"{path(where)} 0 has no effect: an HPA keeps 1 replica; Knative mode scales to zero"
            )


@EFFECTS.rule(
    "pkg/controller/v1beta1/inferenceservice/reconcilers/hpa/hpa_reconciler.go of 0.15.0: the annotation is read no more",
    versions=">=0.15",
    modes=(STANDARD,),
    fields=("serving.kserve.io/targetUtilizationPercentage", "serving.kserve.io/metrics"),
)
def target_utilization(service: Service) -> Iterator[Violation]:
    for name, field in (("targetUtilizationPercentage", "scaleTarget"), ("metrics", "scaleMetric")):
        if (key := f"{_GROUP}/{name}") in service.annotations:
            yield Violation(
                ("metadata", "annotations", key),
                f"{key} has no effect since KServe 0.15: write {field} of the component",
            )


@EFFECTS.rule(
    "pkg/controller/v1beta1/inferenceservice/reconcilers/hpa/hpa_reconciler.go, getHPAMetrics: only metrics with a resource",
    versions=">=0.15",
    modes=(STANDARD,),
    fields=("autoScaling",),
)
def metrics_of_keda(service: Service) -> Iterator[Violation]:
    stated = service.annotations.get(f"{_GROUP}/autoscalerClass", "hpa")
    if stated == "keda":
        return
    for component, settings in service.components:
        scaling = mapping(settings.get("autoScaling"))
        for keys, metric in each(scaling.get("metrics"), (*component, "autoScaling", "metrics")):
            if (kind := metric.get("type")) in ("External", "PodMetric"):
                yield Violation(
                    (*keys, "type"),
                    f"{path(keys)} of type {kind} has no effect with the autoscaler {stated}: "
                    f"annotate {_GROUP}/autoscalerClass: keda",
                )


@EFFECTS.rule(
    "knative serving 0.42.2 and 0.48.1 pkg/apis/autoscaling/annotation_validation.go, validateClass: another class is another autoscaler's",
    modes=(KNATIVE,),
    fields=("autoscaling.knative.dev/class",),
)
def autoscaler_class(service: Service) -> Iterator[Violation]:
    for keys, given in service.annotated:
        stated = str(given.get(_CLASS, "")).strip()
        near = next((one for one in ("kpa", "hpa") if stated.lower().partition(".")[0] == one), "")
        if near and stated != f"{near}.autoscaling.knative.dev":
            yield Violation(
                (*keys, _CLASS),
                f"no autoscaler of Knative has the class {stated!r}, so that nothing scales the revision and it is never "
                f"ready; did you mean {near}.autoscaling.knative.dev?",
            )


_CLASS = "autoscaling.knative.dev/class"


@EFFECTS.rule("k8s.io/kubernetes pkg/api/pod/warnings.go: fractional byte value", fields=("requests",))
def memory_requests(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        request = mapping(mapping(container.spec.get("resources")).get("requests")).get("memory")
        number = quantity(request)
        if number is not None and 0 < number < SMALLEST_MEMORY:
            at = (*container.keys, "resources", "requests", "memory")
            yield Violation(
                at,
                f"{path(at)} {request} is {float(number):.12g} bytes, which reserves nothing: write Mi or Gi",
            )


@EFFECTS.rule(
    "pkg/controller/v1beta1/inferenceservice/reconcilers: only knative/ksvc_reconciler.go reads ContainerConcurrency; "
    "pkg/apis/serving/v1beta1/transformer_custom.go, explainer_custom.go, explainer_art.go, explainer_alibi.go: --workers",
    modes=(STANDARD,),
    fields=("containerConcurrency",),
)
def concurrency(service: Service) -> Iterator[Violation]:
    if service.predictor.get("containerConcurrency"):
        where = ("spec", "predictor", "containerConcurrency")
        yield Violation(where, f"{path(where)} has no effect: only Knative limits the requests of a pod")


@EFFECTS.rule(
    "pkg/controller/v1beta1/inferenceservice/components/predictor.go, Reconcile: only reconcileRawDeployment takes the pod of workers",
    versions=">=0.15",
    modes=(KNATIVE,),
    fields=("workerSpec",),
)
def workers(service: Service) -> Iterator[Violation]:
    if service.predictor.get("workerSpec") is not None:
        where = ("spec", "predictor", "workerSpec")
        yield Violation(where, f"{path(where)} has no effect: KServe makes workers in Standard mode only")


@EFFECTS.rule(
    "k8s.io/kubernetes 1.34.4 pkg/api/pod/util.go, dropDisabledFields, dropContainerRestartRules; pkg/features/kube_features.go: alpha",
    modes=(STANDARD,),
    fields=("restartPolicy", "restartPolicyRules", "hostnameOverride"),
)
def fields_of_alpha_features(service: Service) -> Iterator[Violation]:
    if not service.since("1.34", "kubernetes") or service.since("1.35", "kubernetes"):
        return
    for pod in service.pods:
        given = [((*pod.keys, "hostnameOverride"), "HostnameOverride")] if pod.settings.get("hostnameOverride") else []
        for container in (*pod.containers, *pod.init_containers):
            for name in ("restartPolicy", "restartPolicyRules"):
                value = container.spec.get(name)
                sidecar = value == "Always" and container.keys[-2] == "initContainers"
                if value and not sidecar:
                    given.append(((*container.keys, name), "ContainerRestartRules"))
        for keys, feature in given:
            yield Violation(
                keys, f"{path(keys)} has no effect: Kubernetes 1.34 drops it without the feature gate {feature}"
            )
