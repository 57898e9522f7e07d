"""What KServe's validation expressions (CEL) and webhook refuse of an LLMInferenceService.

Read at KServe 0.20.0, v1alpha1 and v1alpha2: ``x-kubernetes-validations`` of config/crd/full/llmisvc, and the webhook. The expressions of
the Gateway API on an inline HTTPRoute are not judged; ``rules.schema.not_judged`` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import Keys
from trivet.contracts.rules.rule import Companion, Rules
from trivet.contracts.values import each, integer, mapping, path
from trivet.contracts.violation import Violation

LLM = Rules("kserve", "kserve")

_CRD = "config/crd/full/llmisvc/serving.kserve.io_llminferenceservices.yaml, x-kubernetes-validations"
_WEBHOOK = "pkg/apis/serving/v1alpha1 and v1alpha2/llm_inference_service_validation.go"


def _workloads(companion: Companion) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    """The workloads of an LLMInferenceService: its own, and that of the prefill."""
    if companion.resource.kind == "LLMInferenceService":
        yield ("spec",), companion.spec
        if isinstance(prefill := companion.spec.get("prefill"), dict):
            yield ("spec", "prefill"), prefill


@LLM.rule(f"{_CRD} of spec, scaling, wva and keda")
def llm_scaling(companion: Companion) -> Iterator[Violation]:
    for keys, workload in _workloads(companion):
        scaling, at = workload.get("scaling"), (*keys, "scaling")
        if not isinstance(scaling, dict):
            continue
        if workload.get("replicas") is not None:
            yield Violation(
                (*keys, "replicas"), f"{path(keys)} has replicas and scaling, and KServe admits one of them"
            )
        least, most = integer(scaling.get("minReplicas", 1)), integer(scaling.get("maxReplicas"))
        if least is not None and most is not None and least > most:
            yield Violation((*at, "minReplicas"), f"{path(at)}.minReplicas {least} is greater than maxReplicas {most}")
        wva = scaling.get("wva")
        if wva is None:
            yield Violation(at, f"{path(at)} has no wva, which scales the service")
        elif isinstance(wva, dict):
            yield from _actuators((*at, "wva"), wva, least)


def _actuators(keys: Keys, wva: Mapping[str, Any], least: int | None) -> Iterator[Violation]:
    given = [name for name in ("hpa", "keda") if wva.get(name) is not None]
    if len(given) != 1:
        yield Violation(keys, f"{path(keys)} must have one of hpa and keda, not {' and '.join(given) or 'none'}")
    keda, at = mapping(wva.get("keda")), (*keys, "keda")
    idle = integer(keda.get("idleReplicaCount"))
    if idle is not None and least is not None and idle >= least:
        yield Violation(
            (*at, "idleReplicaCount"), f"{path(at)}.idleReplicaCount {idle} is not less than minReplicas {least}"
        )
    advanced = mapping(keda.get("advanced"))
    if any(mapping(advanced.get("scalingModifiers")).values()):
        yield Violation((*at, "advanced", "scalingModifiers"), f"{path(at)}.advanced.scalingModifiers is set by KServe")
    if mapping(advanced.get("horizontalPodAutoscalerConfig")).get("name"):
        where = (*at, "advanced", "horizontalPodAutoscalerConfig", "name")
        yield Violation(where, f"{path(where)} is set by KServe")


@LLM.rule(f"{_WEBHOOK}, validateWorkloadParallelism")
def llm_parallelism(companion: Companion) -> Iterator[Violation]:
    for keys, workload in _workloads(companion):
        parallelism, at = mapping(workload.get("parallelism")), (*keys, "parallelism")
        pipeline, data, local = (integer(parallelism.get(name)) for name in ("pipeline", "data", "dataLocal"))
        by_pipeline, by_data = (pipeline or 0) > 0, max(data or 0, local or 0) > 0
        if workload.get("worker") is not None and not (by_pipeline or by_data):
            yield Violation(
                (*keys, "worker"), f"{path(keys)}.worker needs parallelism of pipeline, or of data and dataLocal"
            )
        if by_pipeline and by_data:
            yield Violation(at, f"{path(at)} has pipeline and data, and KServe admits one of them")
        if (data is None) != (local is None):
            yield Violation(at, f"{path(at)} must have data and dataLocal together")
        for name, number in (("pipeline", pipeline), ("data", data), ("dataLocal", local)):
            if number is not None and number <= 0:
                yield Violation((*at, name), f"{path(at)}.{name} {number} is not positive")


@LLM.rule(f"{_WEBHOOK}, validateRouterCrossFieldConstraints")
def llm_route(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind != "LLMInferenceService":
        return
    router = mapping(companion.spec.get("router"))
    http = mapping(mapping(router.get("route")).get("http"))
    at: Keys = ("spec", "router", "route", "http")
    gateway, references = router.get("gateway"), http.get("refs")
    if references and http.get("spec") is not None:
        yield Violation(at, f"{path(at)} has refs and spec, and KServe admits one of them")
    if references and isinstance(gateway, dict) and not gateway.get("refs"):
        yield Violation((*at, "refs"), f"{path(at)}.refs needs a gateway of its own: set spec.router.gateway.refs")


@LLM.rule(f"{_WEBHOOK}, validateSchedulerConfig")
def llm_scheduler(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind != "LLMInferenceService":
        return
    at: Keys = ("spec", "router", "scheduler")
    scheduler = mapping(mapping(companion.spec.get("router")).get("scheduler"))
    replicas = integer(scheduler.get("replicas"))
    if replicas is not None and replicas <= 0:
        yield Violation((*at, "replicas"), f"{path(at)}.replicas {replicas} is not positive")
    config = scheduler.get("config")
    if isinstance(config, dict):
        given = [name for name in ("inline", "ref") if config.get(name) is not None]
        if len(given) != 1:
            where = (*at, "config")
            yield Violation(
                where, f"{path(where)} must have one of inline and ref, not {' and '.join(given) or 'none'}"
            )


@LLM.rule(f"{_CRD} of the scheduler's pool")
def llm_pool(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind != "LLMInferenceService":
        return
    at: Keys = ("spec", "router", "scheduler", "pool", "spec")
    pool = mapping(mapping(mapping(mapping(companion.spec.get("router")).get("scheduler")).get("pool")).get("spec"))
    picker = pool.get("endpointPickerRef")
    if isinstance(picker, dict) and picker.get("kind", "Service") == "Service" and picker.get("port") is None:
        yield Violation((*at, "endpointPickerRef"), f"{path(at)}.endpointPickerRef of a Service has no port")
    numbers: list[Any] = []
    for keys, port in each(pool.get("targetPorts"), (*at, "targetPorts")):
        if port.get("number") in numbers:
            yield Violation((*keys, "number"), f"{path(keys)}.number {port['number']} stands twice in targetPorts")
        numbers.append(port.get("number"))
