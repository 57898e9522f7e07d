"""Deploys InferenceServices: applies them, waits until they serve, promotes and rolls back, and moves what MLflow records along.

Every change is made at the ``resourceVersion`` at which the service was read and checked; on a conflict it is read and checked again.
Nothing is decided here: :mod:`trivet.integration.canary` judges canaries.

It needs the verbs get, create and update of ``inferenceservices.serving.kserve.io``, get of ``revisions.serving.knative.dev`` and list of
``pods``.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from trivet.errors import PlatformError, UsageError
from trivet.integration.inference_service import DEPLOYMENT_MODE, KNATIVE_MODES, SOURCE_URI, STANDARD_MODES, is_own_key
from trivet.integration.kubernetes_api import (
    FIELD_MANAGER,
    INFERENCE_SERVICES,
    KNATIVE_REVISIONS,
    PODS,
    ConflictError,
    KubernetesApi,
    KubernetesError,
)
from trivet.integration.lineage import SERVICE_TAG, ServiceLink, link_service, read_link, unlink_service
from trivet.integration.rollout import deployment_mode, is_ready, predictor_status, stated_uri, traffic_shares
from trivet.integration.tracking import TrackingApi, quoted

SERVING_TIMEOUT = 600.0
"""Seconds until a service must serve what was applied: pulling images, downloading the model and loading it count."""
TRAFFIC_TIMEOUT = 120.0
"""Seconds until traffic must have moved to a revision whose pods run: 2 to 10 were measured."""
ATTEMPTS = 5
_PAUSE = 0.1

PREDICTOR_DIGEST = "trivet.dev/predictor-digest"
"""The annotation that says of what predictor a revision or pod was made: KServe copies annotations to them, and its status does not say
which generation of a service it is about (kserve 0.14.1 and 0.20.0 pkg/apis/serving/v1beta1/inference_service_status.go,
``ObservedGeneration`` is that of Knative's Service)."""

_SERVICE_LABEL = "serving.kserve.io/inferenceservice"
_REVISION_LABEL = "serving.knative.dev/revision"

Json = Mapping[str, Any]


class DeploymentError(PlatformError):
    """The service did not come to serve what was asked in time."""


class PreconditionFailed(DeploymentError):
    """The service is not what the caller decided upon: another revision is the newest, or another client changed it. Nothing was changed,
    or what was changed is put back; judge again."""


@dataclass(frozen=True, kw_only=True)
class Applied:
    """``service`` as the API server stored it, and ``previous`` as a manifest of what it was before: None when it was created. ``changed``
    is False when it already was as asked. Keep ``previous`` for :func:`roll_back`."""

    service: dict[str, Any]
    previous: dict[str, Any] | None
    changed: bool


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What serves: ``revision`` is the newest one (empty in a standard mode, which has none), ``shares`` the percentage by revision, and
    ``service`` the InferenceService as last read."""

    service: dict[str, Any]
    revision: str
    shares: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class RegistryNames:
    """How MLflow's registry says what serves. ``stages`` also moves the stages Production, Staging and Archived, for readers who still use
    them."""

    production: str = "production"
    canary: str = "canary"
    stages: bool = False


REGISTRY_NAMES = RegistryNames()


def apply_inference_service(service: Json, *, cluster: KubernetesApi, field_manager: str = FIELD_MANAGER) -> Applied:
    """Create the InferenceService, or make the one there is what ``service`` says.

    ``service`` is that of :func:`build_inference_service`. Its predictor replaces the whole predictor that is there. Of labels and
    annotations, those that trivet writes, and those that ``field_manager`` set before, go when ``service`` has them not; others', and a
    transformer or explainer that ``service`` does not mention, stay. When it is created, ``canaryTrafficPercent`` is left out: there is
    nothing to split the traffic with. So build with ``exists=True`` when in doubt. A conflict with another writer is tried again.

    It does not wait; see :func:`wait_until_serving`. Raises KubernetesError, DeploymentError while the service is being deleted, and
    ConflictError when others write it all the time.
    """
    namespace, name = _key(service)
    for _ in _attempts():
        existing = cluster.get(INFERENCE_SERVICES, namespace, name)
        try:
            if existing is None:
                first = _laid_over({}, service, field_manager)
                first["spec"]["predictor"].pop("canaryTrafficPercent", None)
                created = cluster.create(INFERENCE_SERVICES, first, field_manager=field_manager)
                return Applied(service=created, previous=None, changed=True)
            if existing["metadata"].get("deletionTimestamp"):
                raise DeploymentError(
                    f"InferenceService {namespace}/{name} is being deleted",
                    remedy="apply it again when it is gone; a finalizer that does not end keeps it",
                )
            stored = _replaced(existing, _laid_over(existing, service, field_manager), cluster, field_manager)
        except ConflictError:
            continue
        return Applied(
            service=stored,
            previous=manifest_of(existing),
            changed=stored["metadata"]["resourceVersion"] != existing["metadata"]["resourceVersion"],
        )
    raise _busy(namespace, name)


def has_all_traffic(existing: Json, service: Json, *, field_manager: str = FIELD_MANAGER) -> bool:
    """Whether ``existing``, as the API server returns it, was made of ``service`` and is to have all traffic, as after a promotion:
    applying ``service`` with its percentage would give most of the traffic to the revision before.

    It compares the storage URI, labels and annotations, of which one is the digest of the predictor that was applied. The deployment mode
    is left out, which KServe renames from 0.16 on.
    """
    if _predictor(existing).get("canaryTrafficPercent") not in (None, 100) or existing["metadata"].get(
        "deletionTimestamp"
    ):
        return False
    wanted = _laid_over(existing, service, field_manager)

    def stated(of: Json) -> list[Any]:
        metadata = of["metadata"]
        annotations = {**(metadata.get("annotations") or {}), DEPLOYMENT_MODE: ""}
        return [stated_uri(of), metadata.get("labels") or {}, annotations]

    return stated(wanted) == stated(existing)


def wait_until_serving(
    applied: Json,
    *,
    cluster: KubernetesApi,
    timeout: float = SERVING_TIMEOUT,
    interval: float = 2.0,
    progress: Callable[[str], None] | None = None,
) -> Serving:
    """Wait until what ``applied`` (``Applied.service``) asks for is served: the newest revision is ready, was made of its predictor and
    storage URI, and has the share of the traffic that was asked for; in a standard mode ready pods of it and no others.

    ``progress`` gets what is missing whenever that changes. Raises DeploymentError that says what was last seen when ``timeout`` seconds
    are over, and PreconditionFailed when another client changes the service meanwhile or deletes it.
    """
    namespace, name = _key(applied)
    if "generation" not in applied["metadata"]:
        raise UsageError(
            f"InferenceService {namespace}/{name} is not as the API server stored it: it has no generation",
            remedy="pass what apply_inference_service returns, its field service",
        )

    def missing(observed: Json) -> str:
        _require_unchanged(observed, applied)
        return _missing(observed, cluster)

    model = stated_uri(applied) or "its predictor"
    return _wait(f"to serve {model}", namespace, name, missing, cluster, timeout, interval, progress)


def promote(
    name: str,
    namespace: str,
    *,
    revision: str,
    cluster: KubernetesApi,
    tracking: TrackingApi | None = None,
    registry: RegistryNames = REGISTRY_NAMES,
    timeout: float = TRAFFIC_TIMEOUT,
    interval: float = 2.0,
    field_manager: str = FIELD_MANAGER,
) -> Serving:
    """Give ``revision``, the newest one, all traffic, wait until it has it, and with ``tracking`` move links and aliases
    (:func:`record_traffic`).

    Promoting again what is promoted changes nothing and records it again, so that a caller that was killed may repeat it. Raises
    PreconditionFailed when the newest revision is another one or not ready, also when another only comes up while this runs (the
    percentage is put back then, unless another client wrote one), UsageError in a mode without revisions, and DeploymentError.
    """
    before: list[Any] = []

    def without_percentage(observed: Json) -> dict[str, Any]:
        _require_newest(observed, revision, cluster)
        wanted = deepcopy(dict(observed))
        before[:] = [wanted["spec"]["predictor"].pop("canaryTrafficPercent", None)]
        return wanted

    _change(namespace, name, without_percentage, cluster, field_manager)

    def missing(observed: Json) -> str:
        newest = predictor_status(observed).get("latestCreatedRevision")
        if newest != revision:
            put_back = False
            if before[0] is not None:

                def with_percentage(seen: Json) -> dict[str, Any]:
                    stated = _predictor(seen).get("canaryTrafficPercent") is not None
                    return dict(seen) if stated else _with_percentage(seen, before[0])

                stored = _change(namespace, name, with_percentage, cluster, field_manager)
                put_back = _predictor(stored)["canaryTrafficPercent"] == before[0]
            raise PreconditionFailed(
                f"revision {newest} of InferenceService {namespace}/{name} came up while {revision} was promoted"
                + (f": it gets {before[0]} % of the traffic again" if put_back else ""),
                remedy="judge the newest revision, and promote that one",
            )
        rolled_out = predictor_status(observed).get("latestRolledoutRevision")
        if traffic_shares(observed) == {revision: 100} and rolled_out == revision:
            return ""
        return f"the traffic is {_text(traffic_shares(observed))}, and {rolled_out or 'no revision'} is rolled out"

    serving = _wait(f"to give {revision} all traffic", namespace, name, missing, cluster, timeout, interval)
    if tracking is not None:
        record_traffic(serving.service, cluster=cluster, tracking=tracking, registry=registry)
    return serving


def roll_back(
    name: str,
    namespace: str,
    *,
    revision: str,
    cluster: KubernetesApi,
    previous: Json | None = None,
    tracking: TrackingApi | None = None,
    registry: RegistryNames = REGISTRY_NAMES,
    timeout: float = SERVING_TIMEOUT,
    interval: float = 2.0,
    field_manager: str = FIELD_MANAGER,
) -> Serving:
    """Take the traffic from ``revision``, the newest one (in a standard mode: its storage URI), and give it to what served before.

    First, where pods of the earlier revision run, its share becomes 100 % within seconds. Then, with ``previous`` (``Applied.previous``),
    the service becomes what it was, with labels and annotations: KServe makes a revision of that, which gets the traffic when it is
    ready; until then the earlier revision keeps it. Without ``previous`` the service's labels go on to name the bad version, and its next
    change deploys it again. With ``tracking`` links and aliases move (:func:`record_traffic`), as soon as the traffic has, and again with
    what ``previous`` states, if it has trivet's labels.

    A caller that was killed may repeat it. Raises PreconditionFailed when a newer revision exists, UsageError when there is nothing to
    roll back to, and DeploymentError.
    """
    end = time.monotonic() + timeout
    target = None if previous is None else manifest_of(previous)
    observed = _read(namespace, name, cluster)
    _require_rollback(observed, revision, target)
    serving: Serving | None = None
    component = predictor_status(observed)
    complete = (
        _is_restored(observed, target)
        and "canaryTrafficPercent" not in _predictor(observed)
        and component.get("latestRolledoutRevision") == component.get("latestCreatedRevision")
    )
    splits = _splits_traffic(observed) and not complete
    keeps = _earlier_with_pods(observed, revision, cluster) if splits else ""
    if keeps and not _is_restored(observed, target):

        def kept(seen: Json) -> dict[str, Any]:
            _require_rollback(seen, revision, target)
            return _with_percentage(seen, 0)

        def moved(seen: Json) -> str:
            shares = traffic_shares(seen)
            return "" if shares == {keeps: 100} else f"the traffic is {_text(shares)}"

        _change(namespace, name, kept, cluster, field_manager)
        left = min(TRAFFIC_TIMEOUT, end - time.monotonic())
        serving = _wait(f"to give {keeps} all traffic", namespace, name, moved, cluster, left, interval)
        if tracking is not None:
            record_traffic(serving.service, cluster=cluster, tracking=tracking, registry=registry)
    if target is not None:
        serving = _restore(
            namespace, name, revision, target, keeps, cluster, field_manager, end - time.monotonic(), interval
        )
        if tracking is not None and states_model(serving.service):
            record_traffic(serving.service, cluster=cluster, tracking=tracking, registry=registry)
    if serving is None:
        raise UsageError(
            f"InferenceService {namespace}/{name} has no earlier revision whose pods run, and what it was before is unknown",
            remedy="pass the InferenceService from before the roll-out as previous",
        )
    return serving


def record_traffic(
    service: Json, *, cluster: KubernetesApi, tracking: TrackingApi, registry: RegistryNames = REGISTRY_NAMES
) -> None:
    """Write into MLflow what ``service`` serves now: the tag that links a version and the service stands at the versions with traffic and
    no others; the alias ``registry.production`` at the version of the stable revision, ``registry.canary`` at that of the newest
    one while it has part of the traffic, and nowhere otherwise.

    promote and roll_back call it; call it after :func:`wait_until_serving`. Repeating it changes nothing. A revision without trivet's
    labels, which something else deployed, is left out. Raises UsageError for a service without them, and TrackingError.
    """
    served = _served(service, cluster)
    for _, described in served.links:
        link_service(service, tracking, revision=described)
    tagged: set[str] = set()
    newest = read_link(service)
    # The newest one's model too, when only what something else deployed has traffic.
    for model, any_link in {link.model_name: link for link in (newest, *(link for link, _ in served.links))}.items():
        versions = {link.model_version for link, _ in served.links if link.model_name == model}
        tagged |= _tagged(any_link, tracking)
        unlink_service(any_link, tracking, serving=versions)
    if served.stable is not None:
        _point(served.stable, registry.production, tracking)
        if registry.stages:
            _move(served.stable, "Production", tracking)
    if served.canary is not None:
        _point(served.canary, registry.canary, tracking)
        if registry.stages:
            _move(served.canary, "Staging", tracking)
        return
    own = tagged | {newest.model_version}
    if _aliases(newest.model_name, tracking).get(registry.canary) in own:
        tracking.delete_registered_model_alias(newest.model_name, registry.canary)
    if registry.stages:
        for version in tracking.search_model_versions(f"name = {quoted(newest.model_name)}"):
            if version.get("current_stage") == "Staging" and str(version["version"]) in own:
                tracking.transition_model_version_stage(newest.model_name, str(version["version"]), "Archived")


def states_model(service: Json) -> bool:
    """Whether trivet's labels of a service or its revision say which registered version it serves, as :func:`record_traffic` needs."""
    try:
        read_link(service)
    except UsageError:
        return False
    return True


# applying


def _laid_over(existing: Json, service: Json, field_manager: str) -> dict[str, Any]:
    """``existing`` with what ``service`` says of it, and without what an earlier deployment of trivet's left there."""
    wanted = deepcopy(dict(existing)) or {"metadata": {key: service["metadata"][key] for key in ("name", "namespace")}}
    metadata = wanted["metadata"]
    set_before = _fields_of(field_manager, metadata)
    for kind in ("labels", "annotations"):
        stays = {
            key: value
            for key, value in (metadata.get(kind) or {}).items()
            if not is_own_key(key) and key not in set_before[kind]
        }
        metadata[kind] = stays | dict(service["metadata"].get(kind) or {})
    metadata["annotations"][PREDICTOR_DIGEST] = _digest(service)
    wanted["spec"] = {**(wanted.get("spec") or {}), **deepcopy(dict(service["spec"]))}
    return wanted


def _fields_of(field_manager: str, metadata: Json) -> dict[str, set[str]]:
    """The keys of labels and annotations that ``field_manager`` set last, as ``managedFields`` says."""
    found: dict[str, set[str]] = {"labels": set(), "annotations": set()}
    for entry in metadata.get("managedFields") or ():
        if entry.get("manager") == field_manager:
            fields = (entry.get("fieldsV1") or {}).get("f:metadata") or {}
            for kind, keys in found.items():
                keys |= {key.removeprefix("f:") for key in fields.get(f"f:{kind}") or {} if key != "."}
    return found


def _digest(service: Json) -> str:
    """What distinguishes predictors of which KServe makes different revisions."""
    stated = {key: value for key, value in _predictor(service).items() if key != "canaryTrafficPercent"}
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()[:16]


def manifest_of(service: Json) -> dict[str, Any]:
    """What a service says, without what the API server and KServe add."""
    kept = ("name", "namespace", "labels", "annotations")
    metadata = {key: deepcopy(value) for key, value in service["metadata"].items() if key in kept}
    return {
        "apiVersion": INFERENCE_SERVICES.api_version,
        "kind": INFERENCE_SERVICES.kind,
        "metadata": metadata,
        "spec": deepcopy(dict(service["spec"])),
    }


def _change(
    namespace: str,
    name: str,
    change: Callable[[Json], dict[str, Any]],
    cluster: KubernetesApi,
    field_manager: str,
) -> dict[str, Any]:
    """The service after ``change``, which sees it as it is and raises when it must not be changed; again after a conflict."""
    for _ in _attempts():
        observed = _read(namespace, name, cluster)
        try:
            return _replaced(observed, change(observed), cluster, field_manager)
        except ConflictError:
            continue
    raise _busy(namespace, name)


def _replaced(observed: Json, wanted: dict[str, Any], cluster: KubernetesApi, field_manager: str) -> dict[str, Any]:
    if wanted == observed:
        return wanted
    try:
        return cluster.replace(INFERENCE_SERVICES, wanted, field_manager=field_manager)
    except KubernetesError as error:
        if error.status == 404:  # deleted since it was read: read it again
            raise ConflictError(error.message, status=404) from error
        raise


def _attempts() -> Iterator[int]:
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE * 2**attempt)
        yield attempt


def _busy(namespace: str, name: str) -> ConflictError:
    return ConflictError(
        f"InferenceService {namespace}/{name} was changed by another client at each of {ATTEMPTS} attempts",
        remedy="find who writes it: `kubectl get inferenceservice … --show-managed-fields`",
        status=409,
    )


# waiting


def _wait(
    what: str,
    namespace: str,
    name: str,
    missing: Callable[[Json], str],
    cluster: KubernetesApi,
    timeout: float,
    interval: float,
    progress: Callable[[str], None] | None = None,
) -> Serving:
    """Read the service until ``missing`` says nothing any more; errors of the API server that may pass are waited out."""
    end = time.monotonic() + timeout
    seen = "nothing"
    while True:
        observed: dict[str, Any] | None = None
        try:
            observed = _read(namespace, name, cluster)
            lacking = missing(observed)
        except KubernetesError as error:
            if 400 <= error.status < 500 and error.status != 429:
                raise
            lacking = error.message
        if not lacking:
            assert observed is not None
            newest = (
                str(predictor_status(observed).get("latestCreatedRevision") or "") if _splits_traffic(observed) else ""
            )
            return Serving(service=observed, revision=newest, shares=traffic_shares(observed))
        if lacking != seen:
            seen = lacking
            if progress is not None:
                progress(lacking)
        if time.monotonic() + interval >= end:
            state = "" if observed is None else _state(observed, cluster)
            raise DeploymentError(
                f"timed out after {timeout:.0f} s waiting for InferenceService {namespace}/{name} {what}: last seen {seen}{state}",
                remedy="read the events and the log of the pod that is not ready; a large model or image needs a longer timeout",
            )
        time.sleep(interval)


def _missing(observed: Json, cluster: KubernetesApi) -> str:
    """What is missing until a service serves what its spec asks for; empty when nothing is."""
    namespace, name = _key(observed)
    if not _splits_traffic(observed):
        pods = _pods(namespace, {_SERVICE_LABEL: name, "component": "predictor"}, cluster)
        current = [pod for pod in pods if made_of(pod, observed)]
        if not any(is_ready(pod) for pod in current):
            return f"no ready pod of it among {len(current)}"
        if len(current) < len(pods):
            return f"{len(pods) - len(current)} pods of what was before"
        return "" if is_ready(observed) else "Ready is not True"
    component = predictor_status(observed)
    newest = str(component.get("latestCreatedRevision") or "")
    if not newest:
        return "no revision"
    revision = cluster.get(KNATIVE_REVISIONS, namespace, newest)
    if revision is None or not made_of(revision, observed):
        return f"{newest} as the newest revision, which was made of an earlier predictor"
    if component.get("latestReadyRevision") != newest:
        return f"the newest revision {newest} not ready"
    shares = traffic_shares(observed)
    wanted = _predictor(observed).get("canaryTrafficPercent")
    alone = component.get("latestRolledoutRevision") in (None, "", newest) and not component.get(
        "previousRolledoutRevision"
    )
    if shares.get(newest, 0) != (100 if wanted is None or alone else wanted):
        return (
            f"{newest} with {shares.get(newest, 0)} % of the traffic instead of {100 if wanted is None else wanted} %"
        )
    return "" if is_ready(observed) else "Ready is not True"


def made_of(made: Json, service: Json) -> bool:
    """Whether a revision or pod was made of what ``service`` says now, as far as trivet's annotations and KServe's tell."""
    annotations = made["metadata"].get("annotations") or {}
    labels = made["metadata"].get("labels") or {}
    stated = service["metadata"].get("annotations") or {}
    uri = stated_uri(service)
    return (
        annotations.get(PREDICTOR_DIGEST) == stated.get(PREDICTOR_DIGEST)
        and (not uri or annotations.get(SOURCE_URI) in (None, uri))
        and all(
            labels.get(key) == value
            for key, value in (service["metadata"].get("labels") or {}).items()
            if is_own_key(key)
        )
    )


def _state(observed: Json, cluster: KubernetesApi) -> str:
    """Conditions, KServe's last failure and what pods wait for, as the end of a sentence."""
    namespace, name = _key(observed)
    status = observed.get("status") or {}
    said = [
        f"{condition['type']}={condition.get('status')}"
        + (f" ({condition['reason']}: {condition.get('message', '')})" if condition.get("reason") else "")
        for condition in status.get("conditions") or ()
        if condition.get("status") != "True"
    ]
    failure = (status.get("modelStatus") or {}).get("lastFailureInfo") or {}
    if failure:
        said.append(f"last failure {failure.get('reason', '')}: {failure.get('message', '')}")
    try:
        for pod in _pods(namespace, {_SERVICE_LABEL: name}, cluster):
            inside = pod.get("status") or {}
            for container in [*(inside.get("initContainerStatuses") or ()), *(inside.get("containerStatuses") or ())]:
                waiting = (container.get("state") or {}).get("waiting")
                if waiting:
                    said.append(f"pod {pod['metadata']['name']}: {container['name']} {waiting.get('reason', 'waits')}")
    except KubernetesError as error:
        said.append(f"pods unknown ({error.message})")
    return "".join(f"; {text}" for text in said)


def _pods(namespace: str, labels: Mapping[str, str], cluster: KubernetesApi) -> list[dict[str, Any]]:
    """Pods that are not being deleted."""
    found = cluster.list(PODS, namespace, labels=labels)
    return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]


# preconditions


def _require_unchanged(observed: Json, applied: Json) -> None:
    namespace, name = _key(observed)
    now, then = observed["metadata"], applied["metadata"]
    if now.get("uid") == then.get("uid") and now.get("generation") == then["generation"]:
        own = [
            {key: value for key, value in (metadata.get(kind) or {}).items() if is_own_key(key)}
            for metadata in (now, then)
            for kind in ("labels", "annotations")
        ]
        if own[:2] == own[2:]:
            return
    raise PreconditionFailed(
        f"another client changed InferenceService {namespace}/{name}, which is at generation {now.get('generation')} "
        f"instead of {then['generation']}",
        remedy="find who writes it: `kubectl get inferenceservice … --show-managed-fields`",
    )


def _require_newest(observed: Json, revision: str, cluster: KubernetesApi) -> None:
    namespace, name = _key(observed)
    if not _splits_traffic(observed):
        raise UsageError(
            f"InferenceService {namespace}/{name} has no revisions to promote: KServe splits traffic in a Knative mode only",
            remedy="in a standard mode what is applied gets all traffic; roll it back with roll_back",
        )
    component = predictor_status(observed)
    newest, ready = component.get("latestCreatedRevision"), component.get("latestReadyRevision")
    if newest != revision:
        raise PreconditionFailed(
            f"the newest revision of InferenceService {namespace}/{name} is {newest}, not {revision}",
            remedy="judge the newest revision, and promote that one",
        )
    if ready != revision:
        raise PreconditionFailed(
            f"revision {revision} of InferenceService {namespace}/{name} is not ready; {ready or 'none'} is",
            remedy="wait until it serves, and judge it",
        )
    described = cluster.get(KNATIVE_REVISIONS, namespace, revision)
    if described is None or not made_of(described, observed):
        raise PreconditionFailed(
            f"InferenceService {namespace}/{name} was changed after {revision} had been made of it",
            remedy="wait until the newest revision serves, and judge that one",
        )


def _require_rollback(observed: Json, revision: str, target: Json | None) -> None:
    """Raise unless ``revision`` is the newest, or the roll-back from it to ``target`` is under way."""
    namespace, name = _key(observed)
    if _is_restored(observed, target):
        return
    if _splits_traffic(observed):
        newest = str(predictor_status(observed).get("latestCreatedRevision") or "")
    else:
        newest = stated_uri(observed)
        if target is None:
            raise UsageError(
                f"InferenceService {namespace}/{name} keeps no earlier revision in a standard mode",
                remedy="pass the InferenceService from before as previous",
            )
    if newest != revision:
        raise PreconditionFailed(
            f"the newest of InferenceService {namespace}/{name} is {newest}, not {revision}: it would be rolled back unjudged",
            remedy="judge the newest one, or roll that one back",
        )


def _is_restored(observed: Json, target: Json | None) -> bool:
    """Whether the service already says what ``target`` says."""
    annotations = observed["metadata"].get("annotations") or {}
    return (
        target is not None
        and annotations.get(PREDICTOR_DIGEST) == _digest(target)
        and _own_labels(observed) == _own_labels(target)
    )


def _own_labels(service: Json) -> dict[str, str]:
    return {key: value for key, value in (service["metadata"].get("labels") or {}).items() if is_own_key(key)}


def _earlier_with_pods(observed: Json, revision: str, cluster: KubernetesApi) -> str:
    """The revision that can take the traffic at once; empty when none has pods."""
    component = predictor_status(observed)
    rolled_out = str(component.get("latestRolledoutRevision") or "")
    if rolled_out and rolled_out != revision:
        return rolled_out  # it has traffic, so its pods run
    earlier = str(component.get("previousRolledoutRevision") or "")
    namespace, _ = _key(observed)
    running = bool(earlier) and any(is_ready(pod) for pod in _pods(namespace, {_REVISION_LABEL: earlier}, cluster))
    return earlier if running else ""


def _restore(
    namespace: str,
    name: str,
    revision: str,
    target: Json,
    keeps: str,
    cluster: KubernetesApi,
    field_manager: str,
    timeout: float,
    interval: float,
) -> Serving:
    """Make the service what ``target`` says. While ``keeps`` has the traffic, what KServe makes of it gets none before it is ready."""
    end = time.monotonic() + timeout
    manifest = deepcopy(dict(target))
    manifest["spec"]["predictor"].pop("canaryTrafficPercent", None)

    def restored(seen: Json) -> dict[str, Any]:
        _require_rollback(seen, revision, target)
        if not _is_restored(seen, target) and _predictor_is(seen, manifest):
            raise UsageError(
                f"InferenceService {namespace}/{name} and the one passed as previous say the same",
                remedy="pass the InferenceService from before the roll-out",
            )
        wanted = _laid_over(seen, manifest, field_manager)
        return _with_percentage(wanted, 0) if keeps else wanted

    stored = _change(namespace, name, restored, cluster, field_manager)
    serving = wait_until_serving(stored, cluster=cluster, timeout=end - time.monotonic(), interval=interval)
    if not keeps:
        return serving
    return promote(
        name,
        namespace,
        revision=serving.revision,
        cluster=cluster,
        timeout=max(end - time.monotonic(), TRAFFIC_TIMEOUT),
        interval=interval,
        field_manager=field_manager,
    )


def _predictor_is(observed: Json, manifest: Json) -> bool:
    now = {key: value for key, value in _predictor(observed).items() if key != "canaryTrafficPercent"}
    return now == _predictor(manifest) and _own_labels(observed) == _own_labels(manifest)


# what MLflow records


@dataclass
class _Served:
    """Links of the revisions with traffic, each with the Revision that states it (None: the service), the stable one and the canary."""

    links: list[tuple[ServiceLink, Json | None]] = field(default_factory=list)
    stable: ServiceLink | None = None
    canary: ServiceLink | None = None


def _served(service: Json, cluster: KubernetesApi) -> _Served:
    newest_link = read_link(service)
    if not _splits_traffic(service):
        return _Served(links=[(newest_link, None)], stable=newest_link)
    found = _Served()
    namespace, _ = _key(service)
    newest = predictor_status(service).get("latestCreatedRevision")
    shares = traffic_shares(service)
    for name in sorted(shares, key=lambda name: shares[name]):
        described = cluster.get(KNATIVE_REVISIONS, namespace, name)
        if described is None:
            continue
        try:
            link = read_link(service, revision=described)
        except UsageError:  # deployed by something else
            continue
        found.links.append((link, described))
        if name == newest and shares[name] < 100:
            found.canary = link
        else:
            found.stable = link
    return found


def _tagged(link: ServiceLink, tracking: TrackingApi) -> set[str]:
    """The versions that have a tag of the service."""
    key = f"{SERVICE_TAG}{link.namespace}/{link.service}"
    return {
        str(version["version"])
        for version in tracking.search_model_versions(f"name = {quoted(link.model_name)}")
        if any(tag["key"] == key for tag in version.get("tags", []))
    }


def _aliases(model_name: str, tracking: TrackingApi) -> dict[str, str]:
    found = tracking.get_registered_model(model_name).get("aliases", [])
    return {str(entry["alias"]): str(entry["version"]) for entry in found}


def _point(link: ServiceLink, alias: str, tracking: TrackingApi) -> None:
    if _aliases(link.model_name, tracking).get(alias) != link.model_version:
        tracking.set_registered_model_alias(link.model_name, alias, link.model_version)


def _move(link: ServiceLink, stage: str, tracking: TrackingApi) -> None:
    if tracking.get_model_version(link.model_name, link.model_version).get("current_stage") != stage:
        tracking.transition_model_version_stage(link.model_name, link.model_version, stage, archive_existing=True)


# reading


def _read(namespace: str, name: str, cluster: KubernetesApi) -> dict[str, Any]:
    observed = cluster.get(INFERENCE_SERVICES, namespace, name)
    if observed is None:
        raise PreconditionFailed(
            f"there is no InferenceService {namespace}/{name}", remedy="check name and namespace, or apply it first"
        )
    return observed


def _key(service: Json) -> tuple[str, str]:
    metadata = service.get("metadata") or {}
    if not metadata.get("name") or not metadata.get("namespace") or not isinstance(_predictor(service), Mapping):
        raise UsageError(
            "this is no InferenceService with a name, a namespace and a predictor",
            remedy="pass what build_inference_service returns",
        )
    return metadata["namespace"], metadata["name"]


def _predictor(service: Json) -> Json:
    found: Json = (service.get("spec") or {}).get("predictor") or {}
    return found


def _splits_traffic(observed: Json) -> bool:
    """Whether the service is in a Knative mode. Without the annotation, which the platform's default replaces, its status tells."""
    mode = deployment_mode(observed)
    if mode in KNATIVE_MODES + STANDARD_MODES:
        return mode in KNATIVE_MODES
    return "traffic" in predictor_status(observed) or "latestReadyRevision" in predictor_status(observed)


def _with_percentage(observed: Json, percentage: int) -> dict[str, Any]:
    wanted = deepcopy(dict(observed))
    wanted["spec"]["predictor"]["canaryTrafficPercent"] = percentage
    return wanted


def _text(shares: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {percent} %" for name, percent in shares.items()) or "unknown"
