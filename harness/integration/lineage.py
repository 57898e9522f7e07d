"""Links run, registered version and InferenceService: written at deployment, read from either end, and verified.

A service names its run and version in labels (:mod:`trivet.integration.inference_service` writes them); a version names
its services in tags.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from trivet.errors import UsageError
from trivet.integration.artifacts import resolve_storage_uri
from trivet.integration.inference_service import MODEL_NAME, MODEL_VERSION, PIPELINE, RUN_ID, SOURCE_URI
from trivet.integration.rollout import newest_revision, traffic_shares
from trivet.integration.tracking import TrackingApi, TrackingError, quoted

SERVICE_TAG = "trivet.dev/service/"
"""Prefix of a tag of a version; namespace, "/" and name of the service follow. The tag's value is the storage URI of the
service."""


@dataclass(frozen=True, kw_only=True)
class ServiceLink:
    """One deployment of one registered version. ``run_id`` is empty for a version that was registered without a run."""

    namespace: str
    service: str
    storage_uri: str
    model_name: str
    model_version: str
    run_id: str


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """The link that a service states, with MLflow's records of its run and version; None for a record that no longer
    exists."""

    link: ServiceLink
    pipeline: str
    run: Mapping[str, Any] | None
    version: Mapping[str, Any] | None


def read_link(inference_service: Mapping[str, Any], *, revision: Mapping[str, Any] | None = None) -> ServiceLink:
    """The link that the labels and annotations of a service state. Raises UsageError that names missing labels.

    They are those of the newest revision. While an earlier one has traffic, after a rollback too, pass the ``Revision`` of Knative's that
    the link is wanted of: KServe copies labels and annotations to it, and writes the storage URI into an annotation.
    """
    stating = inference_service if revision is None else revision
    metadata = stating.get("metadata") or {}
    missing = [key for key in (RUN_ID, MODEL_NAME, MODEL_VERSION) if not _label(metadata, key)]
    if RUN_ID in (metadata.get("labels") or {}) and RUN_ID in missing:
        missing.remove(RUN_ID)  # the empty label of a version without a run
    if missing:
        raise UsageError(
            f"InferenceService {metadata.get('name')!r} does not state which model it serves: it has no "
            f"{', '.join(missing)}",
            remedy="build it with trivet.integration.build_inference_service, which sets these labels",
        )
    own = inference_service.get("metadata") or {}
    predictor = (inference_service.get("spec") or {}).get("predictor") or {}
    storage_uri = (
        (predictor.get("model") or {}).get("storageUri")
        if revision is None
        else (metadata.get("annotations") or {}).get(SOURCE_URI)
    )
    return ServiceLink(
        namespace=str(own.get("namespace") or "default"),
        service=str(own.get("name")),
        storage_uri=str(storage_uri or ""),
        model_name=_label(metadata, MODEL_NAME),
        model_version=_label(metadata, MODEL_VERSION),
        run_id=_label(metadata, RUN_ID),
    )


def link_service(
    inference_service: Mapping[str, Any], tracking: TrackingApi, *, revision: Mapping[str, Any] | None = None
) -> ServiceLink:
    """Record a service in a tag of the registered version that it serves; ``revision`` as for :func:`read_link`.

    Call it when the service is applied. :func:`trivet.integration.record_traffic` also removes the tags of versions that the service
    no longer serves. Raises UsageError when the version belongs to another run than the service states, and TrackingError.
    """
    stated = read_link(inference_service, revision=revision)
    version = tracking.get_model_version(stated.model_name, stated.model_version)
    if stated.run_id and version.get("run_id") != stated.run_id:
        raise UsageError(
            f"version {stated.model_version} of {stated.model_name!r} belongs to run {version.get('run_id')}, "
            f"but the service states run {stated.run_id}",
            remedy="build the service with the run id of the version",
        )
    tracking.set_model_version_tag(stated.model_name, stated.model_version, _tag(stated), stated.storage_uri)
    return stated


def unlink_service(link: ServiceLink, tracking: TrackingApi, *, serving: Collection[str] = ()) -> None:
    """Delete the tags of the service of ``link`` from every version of its model but those in ``serving``. Raises TrackingError."""
    for version in tracking.search_model_versions(f"name = {quoted(link.model_name)}"):
        tagged = any(tag["key"] == _tag(link) for tag in version.get("tags", []))
        if tagged and str(version["version"]) not in serving:
            tracking.delete_model_version_tag(link.model_name, str(version["version"]), _tag(link))


def trace_service(inference_service: Mapping[str, Any], tracking: TrackingApi) -> Lineage:
    """The run and the registered version of a service."""
    stated = read_link(inference_service)
    return Lineage(
        link=stated,
        pipeline=_label(inference_service["metadata"], PIPELINE),
        run=_if_there(lambda: tracking.get_run(stated.run_id)) if stated.run_id else None,
        version=_if_there(lambda: tracking.get_model_version(stated.model_name, stated.model_version)),
    )


def services_of_run(run_id: str, tracking: TrackingApi) -> list[ServiceLink]:
    """Every service that :func:`link_service` recorded for a version of the run, and that still serves it as far as
    :func:`trivet.integration.record_traffic` was called since."""
    return [
        ServiceLink(
            namespace=namespace,
            service=service,
            storage_uri=tag["value"],
            model_name=version["name"],
            model_version=str(version["version"]),
            run_id=run_id,
        )
        for version in tracking.search_model_versions(f"run_id = '{run_id}'")
        for tag in version.get("tags", [])
        if tag["key"].startswith(SERVICE_TAG)
        for namespace, _, service in [tag["key"].removeprefix(SERVICE_TAG).partition("/")]
    ]


def verify_link(inference_service: Mapping[str, Any], tracking: TrackingApi, *, alias: str = "") -> list[str]:
    """The inconsistencies between a service, its run and its version; empty when there are none.

    ``alias`` is an alias that should name the served version. When the server proxies artifacts, ``tracking`` needs its ``artifact_root``.
    A service whose status says that its newest revision has no traffic, as after a rollback by the percentage, is inconsistent: its labels
    name a version that it does not serve. :func:`trivet.integration.roll_back` with ``previous`` makes them name the one it serves.
    """
    lineage = trace_service(inference_service, tracking)
    stated = lineage.link
    served = f"version {stated.model_version} of {stated.model_name!r}"
    problems = []
    if elsewhere := _traffic_elsewhere(inference_service):
        # Whatever follows is of a version that answers nobody; the alias is right not to name it.
        return [f"the service states {served}, whose revision has no traffic: {elsewhere}"]
    if lineage.run is None:
        if stated.run_id:
            problems.append(f"run {stated.run_id} does not exist")
    elif lineage.run["info"]["lifecycle_stage"] == "deleted":
        problems.append(f"run {stated.run_id} is deleted: mlflow gc would delete its artifacts")
    if lineage.version is None:
        return [*problems, f"{served} does not exist"]
    if lineage.version.get("run_id", "") != stated.run_id:
        problems.append(
            f"{served} belongs to run {lineage.version.get('run_id')}, the service states run {stated.run_id}"
        )
    tags = {tag["key"]: tag["value"] for tag in lineage.version.get("tags", [])}
    written = tags.get(f"{SERVICE_TAG}{stated.namespace}/{stated.service}")
    if written is None:
        problems.append(f"{served} has no tag for the service {stated.namespace}/{stated.service}")
    elif written != stated.storage_uri:
        problems.append(f"{served} was deployed with {written}, the service has {stated.storage_uri}")
    if alias:
        problems += _check_alias(stated, alias, tracking)
    try:
        resolved = resolve_storage_uri(f"models:/{stated.model_name}/{stated.model_version}", tracking=tracking)
    except UsageError as error:
        return [*problems, f"{served} does not resolve to a storage URI: {error.message}"]
    if resolved != stated.storage_uri:
        problems.append(f"{served} resolves to {resolved}, the service has {stated.storage_uri}")
    return problems


def _traffic_elsewhere(inference_service: Mapping[str, Any]) -> str:
    """Which revisions have the traffic, if the newest one that is ready has none; else empty."""
    shares = traffic_shares(inference_service)
    newest = newest_revision(inference_service)
    if not shares or not newest or newest in shares:
        return ""
    return ", ".join(f"{name} has {percent} %" for name, percent in shares.items())


def _check_alias(stated: ServiceLink, alias: str, tracking: TrackingApi) -> list[str]:
    aliases = {
        entry["alias"]: str(entry["version"])
        for entry in tracking.get_registered_model(stated.model_name).get("aliases", [])
    }
    if alias not in aliases:
        return [f"{stated.model_name!r} has no alias {alias!r}"]
    if aliases[alias] != stated.model_version:
        return [f"alias {alias!r} points at version {aliases[alias]}, the service has version {stated.model_version}"]
    return []


def _tag(link: ServiceLink) -> str:
    return f"{SERVICE_TAG}{link.namespace}/{link.service}"


def _label(metadata: Mapping[str, Any], key: str) -> str:
    """The original value: of the annotation where the label is shortened."""
    return str((metadata.get("annotations") or {}).get(key) or (metadata.get("labels") or {}).get(key) or "")


def _if_there(ask: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any] | None:
    try:
        return ask()
    except TrackingError as error:
        if error.code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
