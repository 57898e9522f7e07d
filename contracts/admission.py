"""kfp → kserve, live: what the API server and KServe's webhooks do with an InferenceService before anything is deployed.

Everything is a server-side dry run: it goes through conversion, defaulting, validation and pruning, and nothing is stored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from trivet.authoring.contracts import MUST, SHOULD, contract
from trivet.errors import CannotTell
from trivet.model.clients import ClusterClient, Refused
from trivet.model.finding import Finding, Location, evidence, failed, inconclusive, passed
from trivet.model.handover import Handover

SEAM = ("kfp", "kserve")

VERSIONS: Mapping[str, str] = {"kserve": ">=0.14"}
"""The oldest versions whose behaviour was run for these statements."""

NAME = "trivet-admission"
UNREACHABLE = "failed calling webhook"
"""How the API server begins when it refuses because a webhook did not answer: that says nothing about the webhook's rules."""
ANSWERED = 45.0
"""Seconds in which a webhook must have answered: KServe gives it 10 for one request, which an overloaded node may need."""

_VALIDATION = (
    "kserve 0.14.1 and 0.20.0 pkg/apis/serving/v1beta1/inference_service_validation.go and component.go, Validate"
)


@contract(
    title="An InferenceService of the core library must be stored as it was applied",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "A field that the API server drops, or that a webhook overwrites, configures nothing: a probe that is not there, limits that "
        "do not hold."
    ),
    remedy="Compare the version of KServe's CRDs on the cluster with the stack's; correct the field, or install the CRDs that have it.",
    sources=(
        "Kubernetes: CRD structural schemas, field pruning",
        "KServe's Python client asks for no strict validation",
    ),
)
def nothing_applied_vanishes(cluster: ClusterClient, handover: Handover) -> Iterator[Finding]:
    applied = _renamed(handover)
    # As the Python clients do it: whatever would vanish, vanishes here.
    stored = cluster.apply(applied, strict=False, dry_run=True)
    proof = (evidence("as applied", "manifest", applied), evidence("as stored", "manifest", stored))
    lost = list(_differences(applied, stored, ""))
    for difference in lost:
        yield failed(f"what was applied is not what is stored: {difference}", location=_place(), evidence=proof)
    if not lost:
        yield passed(
            f"all {_leaves(applied)} values that were applied are stored as they were",
            location=_place(),
            evidence=proof,
        )


@contract(
    title="A field that KServe's API does not have must be refused, by name, when validation is strict",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "Without strict validation the field is dropped and what it was to configure keeps its default, while everything looks applied."
    ),
    remedy=(
        "Apply with kubectl (strict by default), or with fieldValidation=Strict on the request; judge manifests with `trivet lint` before."
    ),
    sources=(
        "Kubernetes 1.25 and later: fieldValidation, kubectl --validate=strict",
        'measured (KServe 0.14.1): unknown field "spec.predictor.containerSpec"',
    ),
)
def unknown_field_is_refused(cluster: ClusterClient, handover: Handover) -> Iterator[Finding]:
    service = _renamed(handover)
    cluster.apply(service, dry_run=True)  # the service itself is sound, or what follows would show nothing
    service["spec"]["predictor"]["containerSpec"] = {"readinessProbe": {"periodSeconds": 5}}
    try:
        stored = cluster.apply(service, dry_run=True)
    except Refused as refusal:
        if "containerSpec" in refusal.message:
            yield passed(f"refused by name: {_short(refusal)}", location=_place())
        else:
            yield failed(f"refused, but not for its unknown field: {_short(refusal)}", location=_place())
        return
    kept = "containerSpec" in stored["spec"]["predictor"]
    yield failed(
        f"spec.predictor.containerSpec, which no version of the API has, is {'stored' if kept else 'accepted and dropped without a word'}",
        location=_place(),
        evidence=(evidence("as stored", "manifest", stored),),
    )


@contract(
    title="KServe must refuse an InferenceService that contradicts itself",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale="A webhook that is not called, or not for this namespace, lets everything through; then it fails later, or never says so.",
    remedy=(
        "See that the validating webhook inferenceservice.serving.kserve.io exists, covers the namespace, and that its service answers."
    ),
    sources=(_VALIDATION,),
)
def contradictions_are_refused(cluster: ClusterClient, handover: Handover) -> Iterator[Finding]:
    cases: tuple[tuple[str, Mapping[str, Any], str], ...] = (
        ("a name that begins with a digit", {"metadata": {"name": "1st-classifier"}}, "must start with alphabetical"),
        (
            "a container of one's own beside the model",
            {"spec": {"predictor": {"containers": [{"name": "kserve-container", "image": "example/own:1"}]}}},
            "exactly one of",
        ),
        (
            "more replicas at least than at most",
            {"spec": {"predictor": {"minReplicas": 3, "maxReplicas": 2}}},
            "cannot be greater than MaxReplicas",
        ),
        ("fewer replicas than none", {"spec": {"predictor": {"minReplicas": -1}}}, "cannot be less than 0"),
        ("a negative concurrency", {"spec": {"predictor": {"containerConcurrency": -1}}}, "cannot be less than 0"),
        (
            "an autoscaler class that does not exist",
            {"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "vertical"}}},
            "not a supported autoscaler class",
        ),
    )
    yield from _refusals(cluster, handover, cases)


@contract(
    title="KServe should refuse an InferenceService that it cannot deploy as it says",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "What is admitted and then fails in the controller, or is ignored, looks deployed to whoever applied it. KServe's webhooks do not "
        "look at percentages, storage URIs or the autoscaler of another mode, and replace a model by what stands beside it."
    ),
    remedy="Build with trivet.integration.build_inference_service, which refuses these, or judge the manifest with `trivet lint`.",
    sources=(
        _VALIDATION + ": no rule for canaryTrafficPercent",
        "kserve 0.14.1 and 0.20.0 inference_service_defaults.go, assignSKLearnRuntime: replaces spec.predictor.model before validation",
        "kserve 0.14.1 and 0.20.0 pkg/controller/v1beta1/inferenceservice/utils/utils.go, ValidateStorageURI: after admission",
        "measured (KServe 0.14.1): autoscalerClass hpa in Serverless mode is admitted and ignored",
    ),
)
def what_cannot_be_deployed_is_refused(cluster: ClusterClient, handover: Handover) -> Iterator[Finding]:
    cases: tuple[tuple[str, Mapping[str, Any], str], ...] = (
        (
            "a second predictor in the older spelling, which takes the place of the model",
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
    """Each case must be refused for its reason, and the service without it admitted."""
    sound = _renamed(handover)
    try:
        _dry_run(cluster, sound)
    except Refused as refusal:
        raise CannotTell(f"the sound service is refused too, so refusals show nothing: {_short(refusal)}") from refusal
    for what, change, because in cases:
        document = _merged(sound, change)
        place = Location(object=f"InferenceService/{document['metadata']['name']}")
        proof = (evidence(what, "manifest", document),)
        try:
            _dry_run(cluster, document)
        except Refused as refusal:
            if UNREACHABLE in refusal.message:
                yield inconclusive(f"{what}: the webhook did not answer: {_short(refusal)}", location=place)
            elif because in refusal.message:
                yield passed(f"{what} is refused: {_short(refusal)}", location=place)
            else:
                yield failed(f"{what} is refused for another reason: {_short(refusal)}", location=place, evidence=proof)
        else:
            yield failed(f"{what} is admitted", location=place, evidence=proof)


def _dry_run(cluster: ClusterClient, document: Mapping[str, Any]) -> None:
    """Raises Refused; when a webhook did not answer, only after ANSWERED seconds of asking again."""
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
    """The service that was handed over, under a name that nothing has."""
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
    """What ``applied`` says and ``stored`` does not; what the server adds is no difference."""
    if isinstance(applied, Mapping) and isinstance(stored, Mapping):
        for key, value in applied.items():
            here = f"{place}.{key}" if place else str(key)
            if key in stored:
                yield from _differences(value, stored[key], here)
            else:
                yield f"{here} is gone"
    elif applied != stored:
        yield f"{place} is {stored!r}, and was {applied!r}"


def _leaves(document: Any) -> int:
    return sum(_leaves(value) for value in document.values()) if isinstance(document, Mapping) else 1


def _short(refusal: Refused) -> str:
    text = refusal.message
    start = text.find("denied the request: ")
    return " ".join((text[start + 20 :] if start >= 0 else text).split())[:240]


def _place() -> Location:
    return Location(object=f"InferenceService/{NAME}")
