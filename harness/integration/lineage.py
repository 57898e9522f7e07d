"""Links run, registered version and InferenceService: written at deployment, read from either end, and verified.

A service names its run and version in labels (:mod:`trivet.integration.inference_service` writes them); a version names
its services in tags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trivet.errors import UsageError
from trivet.integration.artifacts import resolve_storage_uri
from trivet.integration.inference_service import MODEL_NAME, MODEL_VERSION, PIPELINE, RUN_ID
from trivet.integration.tracking import TrackingApi, TrackingError

SERVICE_TAG = "trivet.dev/service/"
"""Prefix of a tag of a version; namespace, "/" and name of the service follow. The tag's value is the storage URI of the
service."""


@dataclass(frozen=True, kw_only=True)
class ServiceLink:
    """One deployment of one registered version."""

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


def read_link(inference_service: Mapping[str, Any]) -> ServiceLink:
    """The link that the labels and annotations of a service state. Raises UsageError that names missing labels."""
    metadata = inference_service.get("metadata") or {}
    missing = [key for key in (RUN_ID, MODEL_NAME, MODEL_VERSION) if not _label(metadata, key)]
    if missing:
        raise UsageError(
            f"InferenceService {metadata.get('name')!r} does not state which model it serves: it has no "
            f"{', '.join(missing)}",
            remedy="build it with trivet.integration.build_inference_service, which sets these labels",
        )
    predictor = (inference_service.get("spec") or {}).get("predictor") or {}
    return ServiceLink(
        namespace=str(metadata.get("namespace") or "default"),
        service=str(metadata.get("name")),
        storage_uri=str((predictor.get("model") or {}).get("storageUri") or ""),
        model_name=_label(metadata, MODEL_NAME),
        model_version=_label(metadata, MODEL_VERSION),
        run_id=_label(metadata, RUN_ID),
    )


def link_service(inference_service: Mapping[str, Any], tracking: TrackingApi) -> ServiceLink:
    """Record a service in a tag of the registered version that it serves.

    Raises UsageError when the version belongs to another run than the service states, and TrackingError.
    """
    stated = read_link(inference_service)
    version = tracking.get_model_version(stated.model_name, stated.model_version)
    if version.get("run_id") != stated.run_id:
        raise UsageError(
            f"version {stated.model_version} of {stated.model_name!r} belongs to run {version.get('run_id')}, "
            f"but the service states run {stated.run_id}",
            remedy="build the service with the run id of the version",
        )
    tracking.set_model_version_tag(
        stated.model_name, stated.model_version, f"{SERVICE_TAG}{stated.namespace}/{stated.service}", stated.storage_uri
    )
    return stated


def trace_service(inference_service: Mapping[str, Any], tracking: TrackingApi) -> Lineage:
    """The run and the registered version of a service."""
    stated = read_link(inference_service)
    return Lineage(
        link=stated,
        pipeline=_label(inference_service["metadata"], PIPELINE),
        run=_if_there(lambda: tracking.get_run(stated.run_id)),
        version=_if_there(lambda: tracking.get_model_version(stated.model_name, stated.model_version)),
    )


def services_of_run(run_id: str, tracking: TrackingApi) -> list[ServiceLink]:
    """Every service that :func:`link_service` recorded for a version of the run."""
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
    """
    lineage = trace_service(inference_service, tracking)
    stated = lineage.link
    served = f"version {stated.model_version} of {stated.model_name!r}"
    problems = []
    if lineage.run is None:
        problems.append(f"run {stated.run_id} does not exist")
    elif lineage.run["info"]["lifecycle_stage"] == "deleted":
        problems.append(f"run {stated.run_id} is deleted: mlflow gc would delete its artifacts")
    if lineage.version is None:
        return [*problems, f"{served} does not exist"]
    if lineage.version.get("run_id") != stated.run_id:
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
