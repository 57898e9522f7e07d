"""kfp → kserve, live: admission of an InferenceService by the API server and KServe's webhooks.

Every request is a server-side dry run: conversion, defaulting, validation and pruning apply, and nothing is stored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from trivet.authoring import (
    MUST,
    SHOULD,
    CannotTell,
    ClusterClient,
    Finding,
    Handover,
    Location,
    Refused,
    contract,
    evidence,
    failed,
    inconclusive,
    passed,
)

SEAM = ("kfp", "kserve")

VERSIONS: Mapping[str, str] = {"kserve": ">=0.14"}
"""The oldest versions that these contracts were run with."""

NAME = "trivet-admission"
UNREACHABLE = "failed calling webhook"
"""The beginning of the API server's error if a webhook did not answer, which says nothing about the rules of the webhook."""
ANSWERED = 45.0
"""Seconds within which a webhook must answer: KServe allows 10 for one request, which may be too short on an overloaded node."""

_VALIDATION = (
    "kserve 0.14.1 and 0.20.0 pkg/apis/serving/v1beta1/inference_service_validation.go and component.go, Validate"
)


@contract(
    title="An InferenceService of the core library must be stored as it was applied",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "A field that the API server drops, or that a webhook overwrites, has no effect: the probe is missing, the limits do not apply."
    ),
    remedy="Compare the version of KServe's CRDs on the cluster with the stack's; correct the field, or install CRDs that have it.",
    sources=(
        "Kubernetes: CRD structural schemas, field pruning",
        "KServe's Python client does not request strict validation",
    ),
)
def applied_fields_are_stored(cluster: ClusterClient, handover: Handover) -> Iterator[Finding]:
    applied = _renamed(handover)
    # Not strict, like the Python clients, so that dropped fields show.
    stored = cluster.apply(applied, strict=False, dry_run=True)
    proof = (evidence("as applied", "manifest", applied), evidence("as stored", "manifest", stored))
    lost = list(_differences(applied, stored, ""))
    for difference in lost:
        yield failed(f"the stored object differs from the applied one: {difference}", location=_place(), evidence=proof)
    if not lost:
        yield passed(
            f"all {_leaves(applied)} applied values are stored unchanged",
            location=_place(),
            evidence=proof,
        )


@contract(
    title="Strict validation must reject an unknown field by its name",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "Without strict validation the field is dropped and the setting keeps its default, while the manifest seems applied."
    ),
    remedy=(
        "Apply with kubectl (strict by default), or with fieldValidation=Strict on the request; run `trivet lint` on manifests before."
    ),
    sources=(
        "Kubernetes 1.25 and later: fieldValidation, kubectl --validate=strict",
        'measured (KServe 0.14.1): unknown field "spec.predictor.containerSpec"',
    ),
)
def unknown_field_is_rejected(cluster: ClusterClient, handover: Handover) -> Iterator[Finding]:
    service = _renamed(handover)
    cluster.apply(service, dry_run=True)  # the service without the unknown field must be valid
    service["spec"]["predictor"]["containerSpec"] = {"readinessProbe": {"periodSeconds": 5}}
    try:
        stored = cluster.apply(service, dry_run=True)
    except Refused as refusal:
        if "containerSpec" in refusal.message:
            yield passed(f"rejected by name: {_short(refusal)}", location=_place())
        else:
            yield failed(f"rejected, but not for its unknown field: {_short(refusal)}", location=_place())
        return
    kept = "containerSpec" in stored["spec"]["predictor"]
    yield failed(
        f"spec.predictor.containerSpec, which no version of the API has, is {'stored' if kept else 'accepted and silently dropped'}",
        location=_place(),
        evidence=(evidence("as stored", "manifest", stored),),
    )


@contract(
    title="KServe must reject an inconsistent InferenceService",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale="If the webhook is not called, or not for this namespace, everything is admitted; it then fails later, or silently.",
    remedy=(
        "Check that the validating webhook inferenceservice.serving.kserve.io exists and covers the namespace, and that its service "
        "answers."
    ),
    sources=(_VALIDATION,),
)
def inconsistent_service_is_rejected(cluster: ClusterClient, handover: Handover) -> Iterator[Finding]:
    cases: tuple[tuple[str, Mapping[str, Any], str], ...] = (
        ("a name that starts with a digit", {"metadata": {"name": "1st-classifier"}}, "must start with alphabetical"),
        (
            "a custom container in addition to the model",
            {"spec": {"predictor": {"containers": [{"name": "kserve-container", "image": "example/own:1"}]}}},
            "exactly one of",
        ),
        (
            "minReplicas greater than maxReplicas",
            {"spec": {"predictor": {"minReplicas": 3, "maxReplicas": 2}}},
            "cannot be greater than MaxReplicas",
        ),
        ("a negative minReplicas", {"spec": {"predictor": {"minReplicas": -1}}}, "cannot be less than 0"),
        (
            "a negative containerConcurrency",
            {"spec": {"predictor": {"containerConcurrency": -1}}},
            "cannot be less than 0",
        ),
        (
            "an unknown autoscaler class",
            {"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "vertical"}}},
            "not a supported autoscaler class",
        ),
    )
    yield from _refusals(cluster, handover, cases)


@contract(
    title="KServe should reject an InferenceService that it cannot deploy as specified",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "A manifest that is admitted and then fails in the controller, or is partly ignored, looks deployed. KServe's webhooks do not "
        "validate percentages, storage URIs or the autoscaler of another mode, and replace a model by a framework field next to it."
    ),
    remedy="Build with trivet.integration.build_inference_service, which rejects these, or run `trivet lint` on the manifest.",
    sources=(
        _VALIDATION + ": no rule for canaryTrafficPercent",
        "kserve 0.14.1 and 0.20.0 inference_service_defaults.go, assignSKLearnRuntime: replaces spec.predictor.model before validation",
        "kserve 0.14.1 and 0.20.0 pkg/controller/v1beta1/inferenceservice/utils/utils.go, ValidateStorageURI: after admission",
        "measured (KServe 0.14.1): autoscalerClass hpa in Serverless mode is admitted and ignored",
    ),
)
def undeployable_service_is_rejected(cluster: ClusterClient, handover: Handover) -> Iterator[Finding]:
    cases: tuple[tuple[str, Mapping[str, Any], str], ...] = (
        (
            "a framework field in addition to the model, which replaces the model",
            {"spec": {"predictor": {"sklearn": {"storageUri": handover.storage_uri}}}},
            "exactly one of",
        ),
        ("a canary of 150 %", {"spec": {"predictor": {"canaryTrafficPercent": 150}}}, "anary"),
        (
            "a storage URI that no initializer fetches",
            {"spec": {"predictor": {"model": {"storageUri": "ftp://models/1/"}}}},
            "torage",
        ),
        (
            "an autoscaler that Serverless mode ignores",
            {
                "metadata": {
                    "annotations": {
                        "serving.kserve.io/deploymentMode": "Serverless",
                        "serving.kserve.io/autoscalerClass": "hpa",
                    }
                }
            },
            "utoscaler",
        ),
    )
    yield from _refusals(cluster, handover, cases)


def _refusals(
    cluster: ClusterClient, handover: Handover, cases: tuple[tuple[str, Mapping[str, Any], str], ...]
) -> Iterator[Finding]:
    """Each case must be rejected for its reason, and the service without it admitted."""
    valid = _renamed(handover)
    try:
        _dry_run(cluster, valid)
    except Refused as refusal:
        raise CannotTell(
            f"the valid service is rejected too, so rejections show nothing: {_short(refusal)}"
        ) from refusal
    for what, change, because in cases:
        document = _merged(valid, change)
        place = Location(object=f"InferenceService/{document['metadata']['name']}")
        proof = (evidence(what, "manifest", document),)
        try:
            _dry_run(cluster, document)
        except Refused as refusal:
            if UNREACHABLE in refusal.message:
                yield inconclusive(f"{what}: the webhook did not answer: {_short(refusal)}", location=place)
            elif because in refusal.message:
                yield passed(f"{what} is rejected: {_short(refusal)}", location=place)
            else:
                yield failed(
                    f"{what} is rejected for another reason: {_short(refusal)}", location=place, evidence=proof
                )
        else:
            yield failed(f"{what} is admitted", location=place, evidence=proof)


def _dry_run(cluster: ClusterClient, document: Mapping[str, Any]) -> None:
    """Raises Refused; if a webhook does not answer, only after retries for ANSWERED seconds."""
    deadline = time.monotonic() + ANSWERED
    while True:
        try:
            cluster.apply(document, dry_run=True)
        except Refused as refusal:
            if UNREACHABLE not in refusal.message or time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def _renamed(handover: Handover) -> dict[str, Any]:
    """The service of the handover under an unused name."""
    service = deepcopy(dict(handover.service))
    service["metadata"]["name"] = NAME
    service.pop("status", None)
    return service


def _merged(document: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for key, value in change.items():
        merged[key] = _merged(merged.get(key) or {}, value) if isinstance(value, Mapping) else value
    return merged


def _differences(applied: Any, stored: Any, place: str) -> Iterator[str]:
    """The values of ``applied`` that differ in ``stored``; values that the server adds are not differences."""
    if isinstance(applied, Mapping) and isinstance(stored, Mapping):
        for key, value in applied.items():
            here = f"{place}.{key}" if place else str(key)
            if key in stored:
                yield from _differences(value, stored[key], here)
            else:
                yield f"{here} is missing"
    elif applied != stored:
        yield f"{place} is {stored!r}, applied was {applied!r}"


def _leaves(document: Any) -> int:
    return sum(_leaves(value) for value in document.values()) if isinstance(document, Mapping) else 1


def _short(refusal: Refused) -> str:
    text = refusal.message
    start = text.find("denied the request: ")
    return " ".join((text[start + 20 :] if start >= 0 else text).split())[:240]


def _place() -> Location:
    return Location(object=f"InferenceService/{NAME}")
