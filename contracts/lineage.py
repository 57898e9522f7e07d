"""kfp → mlflow → kserve: lineage from a prediction back to the run of its model, and from the run to its services."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

from trivet.authoring import (
    MUST,
    CannotTell,
    Finding,
    Handover,
    LoggedModel,
    Manifest,
    ModelDirectory,
    ServingClient,
    TrainerClient,
    UsageError,
    contract,
    evidence,
    failed,
    inconclusive,
    passed,
)
from trivet.contracts.signatures import example_rows
from trivet.contracts.values import FILLED_LATER, has_placeholder
from trivet.integration import (
    TrackingApi,
    build_inference_service,
    is_label_value,
    label_value,
    link_service,
    read_signature,
    resolve_storage_uri,
    services_of_run,
    trace_service,
    v2_request,
    verify_link,
)

_LABELS = "kubernetes.io/docs/concepts/overview/working-with-objects/labels: at most 63 of [A-Za-z0-9._-], alphanumeric at both ends"

VERSIONS: Mapping[str, str] = {"mlflow": ">=2.12", "kserve": ">=0.12"}
"""The oldest versions that these contracts were verified with, by reading or running them."""


@contract(
    title="Label values must be valid for Kubernetes",
    level=MUST,
    seam=("kfp", "kserve"),
    versions=VERSIONS,
    rationale=(
        "The API server rejects the whole InferenceService for one invalid label, while names of pipelines and models are "
        "free text elsewhere."
    ),
    remedy="Build labels with trivet.integration.label_value, and keep the original in an annotation.",
    sources=(_LABELS,),
)
def labels_are_valid(manifest: Manifest) -> Iterator[Finding]:
    metadata = manifest.document.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    if not isinstance(labels, Mapping):
        yield passed("there are no labels")
        return
    read = {key: "" if value is None else value for key, value in labels.items()}  # as the API server does
    wrong = {key: value for key, value in read.items() if not isinstance(value, str) or not is_label_value(value)}
    for key, value in wrong.items():
        place = manifest.at("metadata", "labels", key)
        if has_placeholder(value):
            yield inconclusive(f"label {key} is {value!r}: {FILLED_LATER}", location=place)
        elif isinstance(value, str):
            yield failed(
                f"label {key}: {value!r} is not valid",
                remedy=f"use {label_value(value)!r}, and put the original into an annotation",
                location=place,
            )
        else:
            yield failed(
                f"label {key}: {value!r} is not a string", remedy=f'write it in quotes: "{value}"', location=place
            )
    if not wrong:
        yield passed(f"{len(labels)} labels are valid", location=manifest.at("metadata", "labels"))


@contract(
    title="A prediction must be traceable to the run that trained its model",
    level=MUST,
    seam=("mlflow", "kserve"),
    versions=VERSIONS,
    rationale=(
        "The investigation of a wrong prediction starts from the service, and needs the data, code and parameters of the "
        "run."
    ),
    remedy=(
        "Build the InferenceService with trivet.integration.build_inference_service, which labels it with run, pipeline, "
        "model and version."
    ),
    sources=("reference platform: the service has the run id and the pipeline as labels",),
)
def prediction_is_traceable_to_its_run(
    handover: Handover, serving: ServingClient, tracking: TrackingApi, model_directory: ModelDirectory
) -> Iterator[Finding]:
    answer = serving.infer(v2_request(read_signature(model_directory.mlmodel), example_rows(model_directory)))
    if answer.status != 200 or not isinstance(answer.body, Mapping):
        yield inconclusive(f"HTTP {answer.status} to the model's input example: there is no prediction to trace")
        return
    served, name = answer.body.get("model_name"), handover.service["metadata"]["name"]
    if served != name:
        yield failed(f"the answer names model {served!r}, but the InferenceService is {name!r}")
        return
    try:
        lineage = trace_service(handover.service, tracking)
    except UsageError as error:
        yield failed(error.message, remedy=error.remedy)
        return
    proof = (evidence("lineage", "table", vars(lineage) | {"link": vars(lineage.link)}),)
    if lineage.run is None or lineage.version is None:
        lost = "run" if lineage.run is None else "registered version"
        yield failed(f"the {lost} that {name} states is not in MLflow: {lineage.link.run_id}", evidence=proof)
    elif lineage.link.run_id != handover.model.run_id:
        yield failed(
            f"{name} states run {lineage.link.run_id}, but its model belongs to run {handover.model.run_id}",
            evidence=proof,
        )
    elif not lineage.pipeline:
        yield failed(f"{name} does not state the pipeline of its model", evidence=proof)
    elif problems := verify_link(handover.service, tracking, alias=handover.alias):
        for problem in problems:
            yield failed(f"{name}: {problem}", evidence=proof)
    else:
        yield passed(
            f"prediction of {name} → InferenceService → run {lineage.link.run_id} of pipeline {lineage.pipeline}; "
            "version, alias, storage URI and run are consistent",
            evidence=proof,
        )


@contract(
    title="A run must be traceable to every service that serves its model",
    level=MUST,
    seam=("mlflow", "kserve"),
    versions=VERSIONS,
    rationale="When a run turns out to be wrong (leaked labels, poisoned data), every service of its model must be found.",
    remedy="Record each deployment with trivet.integration.link_service, in the step that deploys.",
    sources=("MLflow REST: model-versions/set-tag",),
)
def run_is_traceable_to_its_services(handover: Handover, tracking: TrackingApi) -> Iterator[Finding]:
    links = services_of_run(handover.model.run_id, tracking)
    wanted = handover.service["metadata"]["name"]
    proof = (evidence("services of the run", "table", [vars(found) for found in links]),)
    ours = [found for found in links if found.service == wanted]
    if not ours:
        yield failed(f"run {handover.model.run_id} is not linked to InferenceService {wanted}", evidence=proof)
    elif ours[0].storage_uri != handover.storage_uri:
        yield failed(
            f"by the link {wanted} serves {ours[0].storage_uri}, but it serves {handover.storage_uri}", evidence=proof
        )
    else:
        yield passed(
            f"run {handover.model.run_id} → version {ours[0].model_version} → InferenceService {wanted}", evidence=proof
        )


@contract(
    title="A deleted run must be detected",
    level=MUST,
    seam=("mlflow", "kserve"),
    versions=VERSIONS,
    rationale=(
        "MLflow marks a run as deleted, and garbage collection removes its artifacts later: the next pod of the service "
        "then has no model."
    ),
    remedy=(
        "Verify links regularly with trivet.integration.verify_link; restore the run, or deploy another version, before "
        "its artifacts are removed."
    ),
    sources=("MLflow REST: runs/delete sets lifecycle_stage; mlflow gc removes",),
)
def deleted_run_is_detected(handover: Handover, tracking: TrackingApi, trainer: TrainerClient) -> Iterator[Finding]:
    logged, service = _deployed(handover, tracking, trainer, _own("trivet-deleted-run"))

    def lifecycle_stage() -> str:
        run = trainer.call("client", method="get_run", arguments={"run_id": logged.run_id})
        return str(run["info"]["lifecycle_stage"])

    yield from _detected(
        "the deleted run",
        logged.run_id,
        verify=lambda: verify_link(service, tracking),
        change=lambda: tracking.delete_run(logged.run_id),
        revert=lambda: tracking.restore_run(logged.run_id),
        reads=f"lifecycle_stage of run {logged.run_id}",
        read=lifecycle_stage,
        changed="deleted",
    )


@contract(
    title="An alias that no longer names the served version must be detected",
    level=MUST,
    seam=("mlflow", "kserve"),
    versions=VERSIONS,
    rationale=("KServe does not follow the registry: after a promotion in MLflow it still serves the old version."),
    remedy=(
        "Verify links with trivet.integration.verify_link(service, tracking, alias=…), and deploy in the same step "
        "that moves the alias."
    ),
    sources=("MLflow REST: registered-models/alias",),
)
def moved_alias_is_detected(handover: Handover, tracking: TrackingApi, trainer: TrainerClient) -> Iterator[Finding]:
    name, alias = _own("trivet-moved-alias"), "production"
    logged, service = _deployed(handover, tracking, trainer, name, alias=alias)
    newer = trainer.log_model(estimator="logistic-regression", seed=8, register_as=name)

    def point_at(version: str) -> None:
        trainer.call(
            "client", method="set_registered_model_alias", arguments={"name": name, "alias": alias, "version": version}
        )

    def version() -> str:
        found = trainer.call("client", method="get_model_version_by_alias", arguments={"name": name, "alias": alias})
        return str(found["version"])

    yield from _detected(
        "the moved alias",
        alias,
        verify=lambda: verify_link(service, tracking, alias=alias),
        change=lambda: point_at(newer.version),
        revert=lambda: point_at(logged.version),
        reads=f"the version of {name!r} with the alias {alias!r}",
        read=version,
        changed=newer.version,
    )


def _own(name: str) -> str:
    """A name of a registered model that is unique on the tracking server."""
    return f"{name}-{uuid4().hex[:8]}"


def _deployed(
    handover: Handover, tracking: TrackingApi, trainer: TrainerClient, name: str, *, alias: str = ""
) -> tuple[LoggedModel, dict[str, Any]]:
    """A new model registered as ``name``, and the InferenceService that would serve it."""
    logged = trainer.log_model(estimator="logistic-regression", register_as=name, alias=alias)
    uri = resolve_storage_uri(f"models:/{name}/{logged.version}", tracking=tracking)
    service = build_inference_service(
        name=name,
        storage_uri=uri,
        run_id=logged.run_id,
        pipeline="trivet",
        model_name=name,
        model_version=logged.version,
    )
    link_service(service, tracking)
    return logged, service


def _detected(
    what: str,
    name: str,
    *,
    verify: Callable[[], list[str]],
    change: Callable[[], object],
    revert: Callable[[], object],
    reads: str,
    read: Callable[[], str],
    changed: str,
) -> Iterator[Finding]:
    """Change a run or an alias, verify the link, and revert the change. INCONCLUSIVE if the change did not happen.

    ``read`` returns the changed value, which is ``changed`` if the change happened; ``reads`` describes that value. It
    uses MLflow's own client, because the core library's is under test. A problem that mentions ``name`` is about the
    change. Raises CannotTell if the link was inconsistent before.
    """
    if problems := verify():
        raise CannotTell(f"the link was inconsistent before the change: {problems[0]}")
    before, observed = read(), None
    change()
    try:
        observed = read()
        problems = verify()
    finally:
        if observed != before:  # MLflow rejects restoring a run that is not deleted
            revert()
    if observed != changed:
        yield inconclusive(
            f"MLflow acknowledged the change, but {reads} is {observed!r}, expected {changed!r}: "
            f"it is unknown whether {what} would be detected",
            remedy="read the log of the tracking server, and check for a proxy or a cache in front of it",
        )
    elif about := [problem for problem in problems if name in problem]:
        yield passed(f"{what} is detected: {about[0]}")
    else:
        yield failed(f"{what} is not detected: verify_link reports {'; '.join(problems) or 'no problem'}")
