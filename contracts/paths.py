"""mlflow → kserve: the storage URI names the directory that holds ``MLmodel``, and the storage initializer can fetch it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.engine.authoring import MUST, SHOULD, contract, failed, inconclusive, not_applicable, passed
from trivet.integration import check_storage_uri, scheme_of
from trivet.model.finding import Finding, Location
from trivet.model.stack import Stack
from trivet.model.subjects import Keys, Manifest

SEAM = ("mlflow", "kserve")

_PLACEHOLDER = re.compile(r"\{\{|\$\{|\$\(")


@contract(
    title="A storage URI must be one that the storage initializer can fetch",
    level=MUST,
    seam=SEAM,
    rationale=(
        "MLflow names models by URIs that only its own client understands (runs:/, models:/, mlflow-artifacts:/). "
        "KServe refuses them, or the "
        "pod waits for a download that never comes."
    ),
    remedy="Resolve the model with trivet.integration.resolve_storage_uri and name the directory that holds MLmodel.",
    sources=(
        "kserve 0.14.1 and 0.20.0 config/storagecontainers/default.yaml, supportedUriFormats",
        "kserve 0.14.1 and 0.20.0 pkg/controller/v1beta1/inferenceservice/utils/utils.go, "
        "SupportedStorageURIPrefixList",
    ),
)
def storage_uri_is_fetchable(manifest: Manifest, stack: Stack) -> Iterator[Finding]:
    for uri, model_format, where in _uris(manifest):
        if not uri:
            yield not_applicable("the manifest names no storage URI", location=where)
            continue
        if _PLACEHOLDER.search(uri):
            yield inconclusive(f"{uri} has a placeholder that something else fills in", location=where)
            continue
        problems = [problem for problem in check_storage_uri(uri, model_format=model_format) if not problem.advice]
        for problem in problems:
            yield failed(problem.message, remedy=problem.remedy, location=where)
        if not problems and not _supported(uri, stack):
            known = stack.settings["serving"]["storage"]
            offered = sorted({*known["prefixes"], *known["controller_prefixes"]})
            yield failed(
                f"no storage container of KServe {stack.components['kserve']} fetches {scheme_of(uri)}:// ({uri})",
                remedy=f"use one of {', '.join(offered)}, or add a ClusterStorageContainer for it and to the stack's [serving.storage]",
                location=where,
            )
        elif not problems:
            yield passed(f"the storage initializer fetches {uri}", location=where)


@contract(
    title="An S3 storage URI should end in a slash",
    level=SHOULD,
    seam=SEAM,
    rationale=(
        "The initializer lists S3 by prefix: without the slash siblings such as model_v2/ are downloaded into the "
        "same directory. KServe 0.11 to "
        "0.14 moreover moves files whose names begin with the directory's out of their place."
    ),
    remedy="End the URI with a slash.",
    sources=(
        "kserve 0.14.1 python/kserve/kserve/storage/storage.py, _download_s3",
        "kserve 0.15.0: target_key by removeprefix",
    ),
)
def storage_uri_ends_with_slash(manifest: Manifest) -> Iterator[Finding]:
    for uri, model_format, where in _uris(manifest):
        if scheme_of(uri) != "s3" or _PLACEHOLDER.search(uri):
            yield not_applicable("not on S3, where directories are prefixes", location=where)
            continue
        advice = [problem for problem in check_storage_uri(uri, model_format=model_format) if problem.advice]
        for problem in advice:
            yield failed(problem.message, remedy=problem.remedy, location=where)
        if not advice and uri.endswith("/"):
            yield passed(f"nothing but {uri} is fetched", location=where)
        elif not advice:
            yield not_applicable("a single file, or a format that is served from one", location=where)


def _supported(uri: str, stack: Stack) -> bool:
    """As the controller decides: a URI without a scheme is a path inside the container."""
    storage = stack.settings["serving"]["storage"]
    return (
        not re.match(r"\w+?://", uri)
        or uri.startswith((*storage["prefixes"], *storage["controller_prefixes"]))
        or any(re.search(expression, uri) for expression in storage["expressions"])
    )


def _uris(manifest: Manifest) -> Iterator[tuple[str, str, Location]]:
    """Each storage URI with its model format and place; one empty URI where there is none."""
    found = False
    spec = _map(manifest.document.get("spec"))
    for component in ("predictor", "transformer", "explainer"):
        for keys, settings, model_format in _holders(_map(spec.get(component)), component):
            if isinstance(uri := settings.get("storageUri"), str) and uri:
                found = True
                yield uri, model_format, manifest.at(*keys, "storageUri")
    if not found:
        yield "", "", manifest.at("spec", "predictor")


def _holders(component: Mapping[str, Any], name: str) -> Iterator[tuple[Keys, Mapping[str, Any], str]]:
    for key, value in component.items():
        if isinstance(value, Mapping):
            named = _map(value.get("modelFormat")).get("name") if key == "model" else key
            yield ("spec", name, key), value, str(named)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
