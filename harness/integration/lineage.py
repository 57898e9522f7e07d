"""Run ↔ registered version ↔ deployment: written when a service is deployed, read from either end, and checked.

A service carries run and version in its labels (:mod:`trivet.integration.inference_service` writes them); a version
carries its services in tags.
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
"""Prefix of the tag of a version; then namespace, "/" and name of the service. The value is the storage URI that it
was given."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """One deployment of one registered version."""

    namespace: str
    service: str
    storage_uri: str
    model_name: str
    model_version: str
    run_id: str


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """A link as read from a service, with what MLflow knows of its run and version; None for what is no longer
    there."""

    link: Link
    pipeline: str
    run: Mapping[str, Any] | None
    version: Mapping[str, Any] | None


def read_link(inference_service: Mapping[str, Any]) -> Link:
    """The link that a service's own labels and annotations state. Raises UsageError naming the labels that are
    missing."""
    metadata = inference_service.get("metadata") or {}
    missing = [key for key in (RUN_ID, MODEL_NAME, MODEL_VERSION) if not _label(metadata, key)]
    if missing:
        raise UsageError(
            f"InferenceService {metadata.get('name')!r} does not say which model it serves: no {', '.join(missing)}",
            remedy="build it with trivet.integration.build_inference_service, which writes them",
        )
    predictor = (inference_service.get("spec") or {}).get("predictor") or {}
    return Link(
        namespace=str(metadata.get("namespace") or "default"),
        service=str(metadata.get("name")),
        storage_uri=str((predictor.get("model") or {}).get("storageUri") or ""),
        model_name=_label(metadata, MODEL_NAME),
        model_version=_label(metadata, MODEL_VERSION),
        run_id=_label(metadata, RUN_ID),
    )


def link(inference_service: Mapping[str, Any], tracking: TrackingApi) -> Link:
    """Write a deployment on the registered version that it serves.

    Raises UsageError when the version is of another run than the service says, and TrackingError.
    """
    stated = read_link(inference_service)
    version = tracking.get_model_version(stated.model_name, stated.model_version)
    if version.get("run_id") != stated.run_id:
        raise UsageError(
            f"version {stated.model_version} of {stated.model_name!r} is of run {version.get('run_id')}, "
            f"not of {stated.run_id}",
            remedy="build the service from the version's own run id",
        )
    tracking.set_model_version_tag(
        stated.model_name, stated.model_version, f"{SERVICE_TAG}{stated.namespace}/{stated.service}", stated.storage_uri
    )
    return stated


def trace_service(inference_service: Mapping[str, Any], tracking: TrackingApi) -> Lineage:
    """From a service back to its run and registered version."""
    stated = read_link(inference_service)
    return Lineage(
        link=stated,
        pipeline=_label(inference_service["metadata"], PIPELINE),
        run=_if_there(lambda: tracking.get_run(stated.run_id)),
        version=_if_there(lambda: tracking.get_model_version(stated.model_name, stated.model_version)),
    )


def services_of_run(run_id: str, tracking: TrackingApi) -> list[Link]:
    """From a run forward to every deployment of a version of it that :func:`link` wrote."""
    return [
        Link(
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


def verify_link(
    inference_service: Mapping[str, Any], tracking: TrackingApi, *, alias: str = "", artifact_root: str = ""
) -> list[str]:
    """What no longer holds between a service, its run and its version; empty when all of it does.

    ``alias`` is the one under which the served version should be found; ``artifact_root`` is as for
    ``resolve_storage_uri``.
    """
    lineage = trace_service(inference_service, tracking)
    stated = lineage.link
    served = f"version {stated.model_version} of {stated.model_name!r}"
    problems = []
    if lineage.run is None:
        problems.append(f"run {stated.run_id} does not exist")
    elif lineage.run["info"]["lifecycle_stage"] == "deleted":
        problems.append(f"run {stated.run_id} is deleted: mlflow gc would take its artifacts away")
    if lineage.version is None:
        return [*problems, f"{served} does not exist"]
    if lineage.version.get("run_id") != stated.run_id:
        problems.append(f"{served} is of run {lineage.version.get('run_id')}, the service says {stated.run_id}")
    tags = {tag["key"]: tag["value"] for tag in lineage.version.get("tags", [])}
    written = tags.get(f"{SERVICE_TAG}{stated.namespace}/{stated.service}")
    if written is None:
        problems.append(f"{served} does not know that {stated.namespace}/{stated.service} serves it")
    elif written != stated.storage_uri:
        problems.append(f"{served} was deployed with {written}, the service has {stated.storage_uri}")
    if alias:
        problems += _check_alias(stated, alias, tracking)
    try:
        resolved = resolve_storage_uri(
            f"models:/{stated.model_name}/{stated.model_version}", tracking=tracking, artifact_root=artifact_root
        )
    except UsageError as error:
        return [*problems, f"{served} resolves to no storage URI: {error.message}"]
    if resolved != stated.storage_uri:
        problems.append(f"{served} resolves to {resolved}, the service has {stated.storage_uri}")
    return problems


def _check_alias(stated: Link, alias: str, tracking: TrackingApi) -> list[str]:
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
    """The original value: the annotation where the label had to be shortened."""
    return str((metadata.get("annotations") or {}).get(key) or (metadata.get("labels") or {}).get(key) or "")


def _if_there(ask: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any] | None:
    try:
        return ask()
    except TrackingError as error:
        if error.code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
