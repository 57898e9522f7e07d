"""mlflow → kserve: the storage URI names the directory that holds ``MLmodel``, and the storage initializer can fetch it."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import (
    MUST,
    SHOULD,
    DownloadFailed,
    Finding,
    Handover,
    Keys,
    Location,
    Manifest,
    PlatformConfig,
    Replacement,
    Stack,
    StoreClient,
    TrainerClient,
    UsageError,
    contract,
    evidence,
    failed,
    inconclusive,
    not_applicable,
    passed,
    remembered,
)
from trivet.contracts.rules.expressions import is_refused, searches
from trivet.contracts.rules.rule import since
from trivet.contracts.rules.uris import form_problem
from trivet.contracts.values import FILLED_LATER, has_placeholder, mapping
from trivet.integration import TrackingApi, check_storage_uri, resolve_storage_uri, uri_scheme

SEAM = ("mlflow", "kserve")

EXAMPLES = 60
"""Number of directory names to generate for ``any_directory_name_is_downloaded_or_rejected``."""

MODEL_FILES = {"MLmodel": b"flavors: {}\n", "data/model.bin": bytes(range(256)), "code/util.py": b"pass\n"}
"""A directory like a model's: nested, with a file of all byte values."""

EMPTY_FILE = "code/__init__.py"
"""A file that a model with its own code has."""

ADDED_BY_MLFLOW = ("registered_model_meta",)
"""Files that MLflow's client adds to the directory of a registered version when it downloads or loads it; on the same machine that
directory is the store itself (mlflow/store/artifact/models_artifact_repo.py, _add_registered_model_meta_file)."""

_NO_URI = "the manifest has no storage URI"

_SCHEME = re.compile(r"\w+?://")

VERSIONS: Mapping[str, str] = {"mlflow": ">=2.12", "kserve": ">=0.12"}
"""The oldest versions that these contracts were verified with, by reading or running them."""


@contract(
    title="A storage URI must be one that the storage initializer can fetch",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "MLflow identifies models by URIs that only its own client understands (runs:/, models:/, mlflow-artifacts:/). "
        "KServe rejects them, or the pod waits for a download that never completes."
    ),
    remedy="Resolve the model with trivet.integration.resolve_storage_uri, and use the directory that holds MLmodel.",
    sources=(
        "kserve 0.14.1 and 0.20.0 config/storagecontainers/default.yaml, supportedUriFormats; "
        "pkg/webhook/admission/pod/storage_initializer_injector.go, GetContainerSpecForStorageUri",
        "kserve 0.14.1 and 0.20.0 pkg/controller/v1beta1/inferenceservice/utils/utils.go, "
        "SupportedStorageURIPrefixList",
        "kserve 0.14.1 python/kserve/kserve/storage/storage.py and 0.20.0 "
        "python/storage/kserve_storage/kserve_storage.py, Storage.download",
    ),
)
def storage_uri_is_fetchable(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    uris = _uris(manifest)
    if not uris:
        yield not_applicable(_NO_URI, location=manifest.at("spec", "predictor"))
    for uri, model_format, where in uris:
        if _is_template(uri):
            yield inconclusive(f"the storage URI is {uri}: {FILLED_LATER}", location=where)
            continue
        container, doubt = _own_container(uri, stack, platform)
        if doubt:
            yield inconclusive(f"the ClusterStorageContainer {container} may fetch {uri}, {doubt}", location=where)
            continue
        if container:
            yield passed(f"the ClusterStorageContainer {container} fetches {uri}", location=where)
            continue
        problems = [problem for problem in check_storage_uri(uri, model_format=model_format) if not problem.advice]
        for problem in problems:
            yield failed(problem.message, remedy=problem.remedy, location=where)
        local = platform.fetches_local_files and uri_scheme(uri) == "file"
        if not problems and not local and (form := form_problem(uri, azure_zones=since(stack, "0.14"))):
            yield failed(form, location=where)
        elif not problems and not _supported(uri, stack):
            known = stack.settings["serving"]["storage"]
            offered = sorted({*known["prefixes"], *known["controller_prefixes"]})
            yield failed(
                f"no storage container of KServe {stack.components['kserve']} fetches {uri_scheme(uri)}:// ({uri})",
                remedy=(
                    f"use one of {', '.join(offered)}, or add a ClusterStorageContainer for it and to the stack's "
                    f"[serving.storage]"
                ),
                location=where,
            )
        elif not problems:
            yield passed(f"the storage initializer fetches {uri}", location=where)


@contract(
    title="An S3 storage URI should end in a slash",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "The initializer lists S3 by prefix: without the slash siblings such as model_v2/ are downloaded into the same "
        "directory. KServe 0.11 to 0.14 also misplaces files whose names begin with the directory's name."
    ),
    remedy="End the URI with a slash.",
    sources=(
        "kserve 0.14.1 python/kserve/kserve/storage/storage.py, _download_s3",
        "kserve 0.15.0: target_key by removeprefix",
    ),
)
def storage_uri_ends_with_slash(manifest: Manifest) -> Iterator[Finding]:
    uris = _uris(manifest)
    if not uris:
        yield not_applicable(_NO_URI, location=manifest.at("spec", "predictor"))
    for uri, model_format, where in uris:
        if _is_template(uri):
            yield inconclusive(f"the storage URI is {uri}: {FILLED_LATER}", location=where)
            continue
        if uri_scheme(uri) != "s3":
            yield not_applicable("not on S3, where directories are prefixes", location=where)
            continue
        advice = [problem for problem in check_storage_uri(uri, model_format=model_format) if problem.advice]
        for problem in advice:
            yield failed(problem.message, remedy=problem.remedy, location=where, fix=Replacement(uri, f"{uri}/"))
        if uri.endswith("/"):
            yield passed(f"only {uri} is fetched", location=where)
        elif not advice:
            yield not_applicable("a single file, or a format that is served from a single file", location=where)


def _is_template(uri: str) -> bool:
    """Whether it has a placeholder; no storage URI has braces of its own, as KServe's runtimes have."""
    return has_placeholder(uri) or "{{" in uri


def _own_container(uri: str, stack: Stack, platform: PlatformConfig) -> tuple[str, str]:
    """The name of a ClusterStorageContainer among the objects applied with the service that fetches ``uri``, empty if there is none; and
    on what that depends, if it cannot be judged here."""
    possible = ("", "")
    for name, found in platform.of_kind("ClusterStorageContainer").items():
        initializes, doubt = _initializes(found[0].document, stack)
        if not initializes:
            continue
        for form in _list(mapping(found[0].document.get("spec")).get("supportedUriFormats")):
            prefix, expression = mapping(form).get("prefix"), mapping(form).get("regex")
            match: bool | None = isinstance(prefix, str) and bool(prefix) and uri.startswith(prefix)
            unread = ""
            if isinstance(expression, str) and not prefix:
                match = searches(expression, uri)
                if match is None and not is_refused(expression):
                    unread = f"by the regular expression {expression!r}"
            if match and not doubt:
                return name, ""
            if match or unread:
                possible = name, unread or doubt
    return possible


def _initializes(container: Mapping[str, Any], stack: Stack) -> tuple[bool, str]:
    """Whether KServe takes a ClusterStorageContainer for the init containers of pods (storage_initializer_injector.go,
    GetContainerSpecForStorageUri; before 0.14 there is no workloadType), and on what that depends, if a placeholder stands there."""
    workload = mapping(container.get("spec")).get("workloadType") if since(stack, "0.14") else None
    disabled = container.get("disabled")
    doubts = [
        f"whose {field} is {value!r}: {FILLED_LATER}"
        for field, value in (("workloadType", workload), ("disabled", disabled))
        if has_placeholder(value)
    ]
    is_initial = workload in (None, "initContainer") or has_placeholder(workload)
    return is_initial and disabled is not True, " and ".join(doubts)


def _supported(uri: str, stack: Stack) -> bool:
    """The controller's rule; a URI without a scheme is a path inside the container."""
    storage = stack.settings["serving"]["storage"]
    return (
        not _SCHEME.match(uri)
        or uri.startswith((*storage["prefixes"], *storage["controller_prefixes"]))
        or any(re.search(expression, uri) for expression in storage["expressions"])
    )


@remembered
def _uris(manifest: Manifest) -> list[tuple[str, str, Location]]:
    """Each storage URI with its model format and location."""
    spec, found = mapping(manifest.document.get("spec")), []
    for name in ("predictor", "transformer", "explainer"):
        if component := mapping(spec.get(name)):
            for key, value in component.items():  # the model, or a framework, which has no model format
                if isinstance(value, dict) and isinstance(uri := value.get("storageUri"), str) and uri:
                    model_format = str(mapping(value.get("modelFormat")).get("name"))
                    found.append((uri, model_format, manifest.at("spec", name, key, "storageUri")))
            for keys, uri, model_format in _listed(component, name):
                found.append((uri, model_format, manifest.at(*keys)))
    return found


def _listed(component: Mapping[str, Any], name: str) -> Iterator[tuple[Keys, str, str]]:
    """URIs in ``storageUris`` (KServe 0.20) and in ``STORAGE_URI`` of a container, which the webhook reads like ``storageUri``."""
    model_format = str(mapping(mapping(component.get("model")).get("modelFormat")).get("name"))
    for index, entry in enumerate(_list(component.get("storageUris"))):
        if isinstance(uri := mapping(entry).get("uri"), str) and uri:
            yield ("spec", name, "storageUris", index, "uri"), uri, model_format
    for number, container in enumerate(_list(component.get("containers"))):
        for index, entry in enumerate(_list(mapping(container).get("env"))):
            uri = mapping(entry).get("value")
            if mapping(entry).get("name") == "STORAGE_URI" and isinstance(uri, str) and uri:
                yield ("spec", name, "containers", number, "env", index, "value"), uri, "custom"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


@contract(
    title="The storage URI must name the directory that holds MLmodel, in the store itself",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "The published convention artifact_uri + '/model' is MLflow 2's; under MLflow 3 that directory is empty, "
        "and MLflow's client hides that by listing the files nevertheless."
    ),
    remedy=(
        "Get the URI from trivet.integration.resolve_storage_uri, or from MLflow's get-download-uri; never concatenate "
        "it."
    ),
    sources=("MLflow 3 mlflow/store/artifact/runs_artifact_repo.py", "MLflow REST: model-versions/get-download-uri"),
)
def storage_uri_names_the_model_directory(handover: Handover, store: StoreClient) -> Iterator[Finding]:
    uri = handover.storage_uri
    try:
        files = store.files(uri)
    except UsageError as error:
        yield failed(error.message, remedy=error.remedy)
        return
    nested = sorted(name for name in files if name.endswith("/MLmodel"))
    listing = (evidence("files below the storage URI", "table", sorted(files)),)
    if "MLmodel" in files:
        yield passed(f"{uri} holds MLmodel among {len(files)} files", evidence=listing)
    elif nested:
        yield failed(
            f"{uri} is too high: MLmodel is in {', '.join(nested)}",
            remedy=f"end the URI in {nested[0].removesuffix('MLmodel')}",
            evidence=listing,
        )
    else:
        yield failed(f"{uri} holds {len(files)} files and no MLmodel", evidence=listing)


@contract(
    title="Every documented URI of the model must resolve to the same files",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "Different people use registry, run and alias; when these differ, the reviewed model is not the served one."
    ),
    remedy=(
        "Compare the URIs in the evidence; resolve names with trivet.integration.resolve_storage_uri, and register "
        "from the run that was logged."
    ),
    sources=("MLflow docs: runs:/, models:/name/version, models:/name@alias, models:/m-… (3.x)",),
)
def every_uri_resolves_to_the_same_files(
    handover: Handover, store: StoreClient, tracking: TrackingApi, trainer: TrainerClient
) -> Iterator[Finding]:
    model = handover.model
    names = [
        f"runs:/{model.run_id}/{model.artifact_path}",
        f"models:/{model.registered_name}/{model.version}",
        f"models:/{model.registered_name}@{handover.alias}",
        tracking.get_download_uri(model.registered_name, model.version),
    ]
    if model.model_id:
        names.append(f"models:/{model.model_id}")
    served = _written(store.files(handover.storage_uri))
    for name in names:
        try:
            uri = resolve_storage_uri(name, tracking=tracking)
        except UsageError as error:
            yield failed(f"{name} does not resolve: {error.message}", remedy=error.remedy)
            continue
        theirs = _written(trainer.artifacts(name))
        proof = (evidence(name, "table", {"storage URI": uri, "files": theirs}),)
        if _written(store.files(uri)) != served:
            yield failed(f"{name} resolves to {uri}, whose files differ from the served ones", evidence=proof)
        elif theirs != served:
            different = sorted({path for path, _ in theirs.items() ^ served.items()})
            yield failed(f"MLflow downloads other files for {name}: {', '.join(different)}", evidence=proof)
        else:
            yield passed(f"{name} resolves to the {len(served)} served files", evidence=proof)


@contract(
    title="The storage initializer must fetch the storage URI, byte for byte",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "Files that the initializer flattens, omits or rejects cause failures in the runtime, with misleading errors."
    ),
    remedy="Read the initializer's log in the evidence; use a scheme that it supports, and end the URI in '/'.",
    sources=("KServe Storage.download; S3 flattening in 0.11.1–0.14.1: kserve/kserve#3899, #4112",),
)
def download_is_byte_identical(handover: Handover, store: StoreClient) -> Iterator[Finding]:
    try:
        got = store.download(handover.storage_uri)
    except DownloadFailed as error:
        yield failed(f"the storage initializer does not fetch {handover.storage_uri}: {error.message}")
        return
    kept = _written(store.files(handover.storage_uri))
    different = sorted({path for path, _ in _written(got.files).items() ^ kept.items()})
    proof = (evidence("initializer log", "log", got.log),)
    if different:
        yield failed(f"{len(different)} files differ after the download: {', '.join(different[:5])}", evidence=proof)
    elif not kept:
        yield failed(f"there are no files at {handover.storage_uri}", evidence=proof)
    else:
        yield passed(f"{len(kept)} files arrive byte for byte", evidence=proof)


@contract(
    title="A directory with any name must be downloaded completely, or be rejected before deployment",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "Some of the libraries on the way handle spaces, percent signs and glob characters, others do not; the worst case "
        "is an incomplete model."
    ),
    remedy=(
        "Use only letters, digits, '.', '_' and '-' in model and directory names, and resolve them with "
        "trivet.integration.resolve_storage_uri."
    ),
    sources=("KServe Storage._download_local globs the path; MLflow percent-encodes it",),
)
def any_directory_name_is_downloaded_or_rejected(store: StoreClient, tracking: TrackingApi) -> Iterator[Finding]:
    from trivet.authoring import counter_example, directory_names_and_endings

    refused: list[str] = []
    numbers = itertools.count()

    def deviation(drawn: tuple[str, str]) -> str:
        name, ending = drawn
        place = store.write(f"trivet-names/{next(numbers)}/{name}", MODEL_FILES).rstrip("/")
        try:
            uri = resolve_storage_uri(place + ending, tracking=tracking)
        except UsageError as error:
            refused.append(f"{name!r}: {error.message}")
            return ""
        try:
            got = dict(store.download(uri).files)
        except DownloadFailed as error:
            return f"{uri!r} was resolved, but the initializer does not fetch it: {error.message}"
        expected = {path: hashlib.sha256(content).hexdigest() for path, content in MODEL_FILES.items()}
        return "" if got == expected else f"{uri!r} arrives as {sorted(got) or 'nothing'}"

    tried, found = counter_example(directory_names_and_endings(), deviation, examples=EXAMPLES)
    proof = (evidence("refused by the core library", "table", refused),)
    if found:
        yield failed(found, evidence=proof)
    elif tried < EXAMPLES or len(refused) > tried // 2:
        yield inconclusive(f"{len(refused)} of {tried} names were rejected, too many for a conclusion", evidence=proof)
    else:
        yield passed(
            f"{tried} names: {tried - len(refused)} arrive byte for byte, {len(refused)} are rejected with an error",
            evidence=proof,
        )


@contract(
    title="Empty files of a model should be downloaded too",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "A model with its own code (code_paths) has an empty __init__.py in most of its packages; without it Python imports another "
        "package of that name, or none."
    ),
    remedy="Write a comment into empty files, such as __init__.py, before logging the model.",
    sources=(
        "kserve_storage 0.20.0 kserve_storage.py, _download_s3: skips objects with size 0; kserve 0.14.1 storage.py does not",
        "measured: versitygw 1.8.0 behind both",
    ),
)
def empty_files_are_downloaded(store: StoreClient) -> Iterator[Finding]:
    uri = store.write("trivet-empty-file", {**MODEL_FILES, EMPTY_FILE: b""}).rstrip("/") + "/"
    try:
        got = store.download(uri)
    except DownloadFailed as error:
        yield inconclusive(f"the storage initializer does not fetch {uri}: {error.message}")
        return
    proof = (evidence("initializer log", "log", got.log),)
    if not set(got.files) >= set(MODEL_FILES):
        yield inconclusive(
            f"of {uri} only {sorted(got.files) or 'nothing'} arrived, so non-empty files are missing too",
            evidence=proof,
        )
    elif EMPTY_FILE in got.files:
        yield passed(f"{EMPTY_FILE}, which is empty, arrived with the {len(MODEL_FILES)} other files", evidence=proof)
    else:
        yield failed(f"the storage initializer omits {EMPTY_FILE}, because it is empty", evidence=proof)


@contract(
    title="A URI one level too high or too deep must be rejected before deployment, with the right directory in the error",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "An InferenceService with such a URI is admitted and looks healthy for up to a minute, and the container's error "
        "names a local path."
    ),
    remedy="Resolve with trivet.integration.resolve_storage_uri, which asks the tracking server for the location of MLmodel.",
    sources=('reference incident: Could not find an "MLmodel" configuration file',),
)
def wrong_directory_level_is_rejected(handover: Handover, tracking: TrackingApi) -> Iterator[Finding]:
    model = handover.model
    run, place = f"runs:/{model.run_id}", handover.storage_uri.rstrip("/")
    right = (f"{run}/{model.artifact_path}", place)
    wrong = {
        "one level too high": run,
        "one level too deep": f"{run}/{model.artifact_path}/MLmodel",
        "the directory above": place.rpartition("/")[0],
        "a file of the model": f"{place}/MLmodel",
    }
    for case, name in wrong.items():
        try:
            uri = resolve_storage_uri(name, tracking=tracking)
        except UsageError as error:
            if any(named in error.remedy for named in right):
                yield passed(f"{case} is rejected: {error.remedy}")
            else:
                yield failed(f"{case} is rejected without the right directory: {error.message}; {error.remedy}")
        else:
            yield failed(f"{case}, {name}, resolves to {uri}")


def _written(files: Mapping[str, str]) -> dict[str, str]:
    """``files`` without those that MLflow's client adds on reading."""
    return {path: digest for path, digest in files.items() if path not in ADDED_BY_MLFLOW}
