"""A registry alias that moves during a deployment: whether the service serves the version that its labels name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

from trivet.authoring import (
    DEFAULT_ROWS,
    SERVING,
    AffectedObject,
    Budgets,
    CannotTell,
    Case,
    Claim,
    ClusterClient,
    Fault,
    FaultInjector,
    ModelMaker,
    NotYet,
    Observation,
    Probed,
    ServableModel,
    TrackingApi,
    TrafficClient,
    TrainerClient,
    Verb,
    answered_by,
    describe_conditions,
    remedied,
    scenario,
    symptom_not_observed,
    symptom_observed,
    unprotected,
)
from trivet.integration import is_ready, link_service, read_link, v2_request, verify_link
from trivet.scenarios import _deployments
from trivet.scenarios._deployments import READY, Document

NAME = "aliased-classifier"
ALIAS = "production"
REGISTERED = f"trivet-aliased-{uuid4().hex[:8]}"
"""A registered model of its own, so that nothing else uses its alias."""
SERVICE = AffectedObject(verb=Verb.CREATE, kind="InferenceService", name=NAME, namespace=SERVING)
REQUESTS = 20
"""Requests whose answers show the served version."""


@scenario(
    title="The labels of a service name another version than it serves",
    happens=(
        "A deploying step resolves an alias twice: for the labels and the lineage, and for the storage URI. In between somebody promotes "
        "another version: the labels name one version, and the service serves another."
    ),
    recognise=(
        "Nothing fails. Predictions differ from those of the version that the labels name; verify_link reports that the version resolves "
        "to another storage URI than the service has."
    ),
    remedy=(
        "Resolve the alias once, to a version, and take run, labels and URI from that; verify_link, before the deployment and regularly "
        "after it, finds services whose labels name another version than they serve."
    ),
    variants=(
        unprotected("resolved-twice", "the alias is resolved for the labels, and again for the URI"),
        remedied("pinned", "the alias is resolved once, to a version; labels and URI are those of the version"),
        remedied(
            "verified", "resolved twice, then verify_link; on a mismatch both are resolved again before the deployment"
        ),
    ),
    affected_objects=(SERVICE,),
    budgets=Budgets(steady_state=60, symptom=60, recovery=60),
    claims=(
        Claim(
            text="The labels of a service name the version that it serves.",
            holds=False,
            found="they name the version that the deploying step resolved for them; what is served depends on the storage URI only",
            variants=("resolved-twice", "pinned"),
        ),
    ),
    sources=(
        "mlflow registered-models/alias: each request looks the alias up again, and nothing locks it",
        "kserve: the storage URI of an InferenceService is used as it is; KServe does not know the registry",
    ),
)
def alias_moved_while_deploying(
    cluster: ClusterClient,
    traffic: TrafficClient,
    trainer: TrainerClient,
    tracking: TrackingApi,
    models: ModelMaker,
    variant: str,
) -> Iterator[Case]:
    first = models.make("the version under the alias", register_as=REGISTERED)
    second = models.make("the next version", register_as=REGISTERED, label_offset=10)
    mismatch = ""

    def point_at(version: str) -> None:
        alias = {"name": first.registered, "alias": ALIAS, "version": version}
        trainer.call("client", method="set_registered_model_alias", arguments=alias)

    def inject(injector: FaultInjector) -> None:
        nonlocal mismatch

        def move() -> None:
            injector.change(
                f"alias {ALIAS} of {first.registered} → version {second.version}",
                lambda: point_at(second.version),
                lambda: point_at(first.version),
            )

        document = _document(cluster, tracking, models, first, pinned=variant == "pinned", meanwhile=move)
        if variant == "verified" and (problems := verify_link(document, tracking)):
            mismatch = problems[0]
            document = _document(cluster, tracking, models, first)
        injector.create({**document, "metadata": {**document["metadata"], "namespace": SERVING}})

    def verify_injected(injector: FaultInjector) -> Probed:
        found = injector.get("inferenceservice", NAME, namespace=SERVING) or {}
        version = _version_under_alias(tracking, first.registered)
        if not is_ready(found) or version != second.version:
            return NotYet(
                f"alias {ALIAS} points at version {version}, InferenceService {NAME}: {describe_conditions(found)}"
            )
        return f"alias {ALIAS} moved to version {version} during the deployment of {NAME}, which is Ready=True"

    def compare() -> Observation:
        document = cluster.get("inferenceservice", NAME) or {}
        labelled = read_link(document).model_version
        known = {one.version: one.answer for one in (first, second)}
        answers = traffic.send(NAME, v2_request(None, DEFAULT_ROWS), times=REQUESTS, concurrency=2, timeout=10)
        served = {answered_by(answer, known) for answer in answers}
        if len(served) != 1 or "" in served:
            raise CannotTell(f"{REQUESTS} answers are of versions {sorted(served)}, expected one version")
        (version,) = served
        message = f"the labels name version {labelled}, and {REQUESTS} of {REQUESTS} answers are of version {version}"
        if mismatch:
            message = (
                f"verify_link failed before the deployment: {mismatch}; after resolving the alias again, {message}"
            )
        problems = verify_link(document, tracking) or ["no problem"]
        result = symptom_not_observed if version == labelled else symptom_observed
        return result(message, labelled=labelled, served=version, verify_link=problems[0])

    def steady_state() -> Probed:
        version = _version_under_alias(tracking, first.registered)
        if version != first.version:
            return NotYet(f"alias {ALIAS} points at version {version}")
        without = _deployments.absent(cluster, NAME)
        return f"alias {ALIAS} points at version {version}; {without}" if without else without

    point_at(first.version)
    yield Case(
        fault=Fault(
            name=f"alias {ALIAS} moves during the deployment",
            affected_objects=(SERVICE,),
            inject=inject,
            verify_injected=verify_injected,
            budget=READY,
        ),
        steady_state=steady_state,
        symptom=lambda watch: compare(),
    )


def _document(
    cluster: ClusterClient,
    tracking: TrackingApi,
    models: ModelMaker,
    aliased: ServableModel,
    *,
    pinned: bool = False,
    meanwhile: Callable[[], None] = lambda: None,
) -> Document:
    """The InferenceService of a deploying step that resolves the alias for the labels and, unless ``pinned``, again for the storage URI;
    ``meanwhile`` runs in between."""
    name = aliased.registered
    version = tracking.get_model_version_by_alias(name, ALIAS)
    meanwhile()
    model_uri = f"models:/{name}/{version['version']}" if pinned else f"models:/{name}@{ALIAS}"
    document = _deployments.service(
        NAME,
        aliased,
        cluster,
        storage_uri=models.resolve(model_uri),
        run_id=version["run_id"],
        model_version=version["version"],
    )
    link_service(document, tracking)
    return document


def _version_under_alias(tracking: TrackingApi, name: str) -> str:
    return str(tracking.get_model_version_by_alias(name, ALIAS)["version"])
