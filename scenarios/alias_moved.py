"""An alias of the registry that moves while a version is being deployed by it: whether a service serves what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

from trivet.authoring.scenarios import remedied, scenario, symptom_not_observed, symptom_observed, unprotected
from trivet.errors import CannotTell
from trivet.integration import TrackingApi, is_ready, link, read_link, resolve_storage_uri, v2_request, verify_link
from trivet.model.clients import ClusterClient, FaultInjector, TrafficClient, TrainerClient
from trivet.model.fault import SERVING, AffectedObject, Fault, Verb
from trivet.model.handover import Handover
from trivet.model.scenario import Budgets, Case, Claim, Observation
from trivet.scenarios import deploying
from trivet.scenarios.deploying import READY, ROWS, Document, Model
from trivet.toolkit.client_traffic import answered_by

NAME = "aliased-classifier"
ALIAS = "production"
REGISTERED = f"trivet-aliased-{uuid4().hex[:8]}"
"""A registered model of its own, whose alias nobody else reads."""
TOUCH = AffectedObject(verb=Verb.CREATE, kind="InferenceService", name=NAME, namespace=SERVING)
ASKED = 20
"""Requests by whose answers the service shows what it serves."""


@scenario(
    title="The service says that it serves one version, and serves another",
    happens=(
        "A deploying step asks the registry twice what is under an alias: for the labels and the lineage, and for the storage URI. In "
        "between somebody promotes another version, and the service says one version and serves another."
    ),
    recognise=(
        "Nothing fails. Predictions are not those of the version that the labels name; verify_link says that the version resolves to "
        "another storage URI than the service has."
    ),
    remedy=(
        "Resolve the alias once, to a version, and take run, labels and URI from that; verify_link before the deployment and regularly "
        "after it finds a service that says what it does not serve."
    ),
    variants=(
        unprotected("resolved-twice", "the alias is resolved for the labels, and again for the URI"),
        remedied("pinned", "the alias is resolved once, to a version; labels and URI are of that"),
        remedied("verified", "resolved twice, and verify_link before the deployment, which begins anew then"),
    ),
    affected_objects=(TOUCH,),
    budgets=Budgets(steady_state=60, symptom=60, recovery=60),
    claims=(
        Claim(
            text="The labels of a service tell which version it serves.",
            holds=False,
            found="they tell what the deploying step was told when it asked for them; only the storage URI is what is served",
            variants=("resolved-twice", "pinned"),
        ),
    ),
    sources=(
        "mlflow registered-models/alias: an alias is looked up anew by each request, and nothing locks it",
        "kserve: the storage URI of an InferenceService is taken as it is; nothing follows the registry",
    ),
)
def alias_moved_while_deploying(
    cluster: ClusterClient,
    traffic: TrafficClient,
    trainer: TrainerClient,
    tracking: TrackingApi,
    handover: Handover,
    variant: str,
) -> Iterator[Case]:
    root = handover.artifact_root
    first = deploying.model(trainer, tracking, root, key="the version under the alias", register_as=REGISTERED)
    second = deploying.model(trainer, tracking, root, key="the next version", register_as=REGISTERED, label_offset=10)
    refused: list[str] = []

    def point_at(version: str) -> None:
        where = {"name": first.registered, "alias": ALIAS, "version": version}
        trainer.call("client", method="set_registered_model_alias", arguments=where)

    def inject(injector: FaultInjector) -> None:
        def move() -> None:
            injector.own(
                f"alias {ALIAS} of {first.registered} → version {second.version}",
                lambda: point_at(second.version),
                lambda: point_at(first.version),
            )

        document = _document(cluster, tracking, root, first, once=variant == "pinned", meanwhile=move)
        if variant == "verified" and (problems := verify_link(document, tracking, artifact_root=root)):
            refused.append(problems[0])
            document = _document(cluster, tracking, root, first)
        injector.create({**document, "metadata": {**document["metadata"], "namespace": SERVING}})

    def verify_injected(injector: FaultInjector) -> str:
        ready = is_ready(injector.get("inferenceservice", NAME, namespace=SERVING) or {})
        points = _pointed(tracking, first.registered)
        if not ready or points != second.version:
            return ""
        return f"the alias moved to version {points} while {NAME} was being deployed, which is ready"

    def compared() -> Observation:
        document = cluster.get("inferenceservice", NAME) or {}
        claimed = read_link(document).model_version
        known = {one.version: one.answer for one in (first, second)}
        answers = traffic.send(NAME, v2_request(None, ROWS), times=ASKED, at_once=2, timeout=10)
        served = {answered_by(answer, known) for answer in answers}
        if len(served) != 1 or "" in served:
            raise CannotTell(
                f"{ASKED} answers are of versions {sorted(served)}, so that it is not known what is served"
            )
        (version,) = served
        message = f"the service says version {claimed}, and {ASKED} of {ASKED} answers are of version {version}"
        if refused:
            message = f"refused before anything was deployed: {refused[0]}; begun anew, {message}"
        noticed = verify_link(document, tracking, artifact_root=root) or ["nothing against it"]
        told = symptom_not_observed if version == claimed else symptom_observed
        return told(message, said=claimed, served=version, verify_link=noticed[0])

    point_at(first.version)
    yield Case(
        fault=Fault(
            name=f"alias {ALIAS} moves while it is being deployed",
            affected_objects=(TOUCH,),
            inject=inject,
            verify_injected=verify_injected,
            budget=READY,
        ),
        steady_state=lambda: (
            f"alias {ALIAS} points at version {first.version}"
            if _pointed(tracking, first.registered) == first.version and not cluster.get("inferenceservice", NAME)
            else ""
        ),
        symptom=lambda watch: compared(),
    )


def _document(
    cluster: ClusterClient,
    tracking: TrackingApi,
    root: str,
    aliased: Model,
    *,
    once: bool = False,
    meanwhile: Callable[[], None] = lambda: None,
) -> Document:
    """The InferenceService of a deploying step that asks the registry what is under the alias, for the labels and, unless ``once``, again
    for the URI; ``meanwhile`` happens in between."""
    name = aliased.registered
    version = tracking.get_model_version_by_alias(name, ALIAS)
    meanwhile()
    asked = f"models:/{name}/{version['version']}" if once else f"models:/{name}@{ALIAS}"
    document = deploying.service(
        NAME,
        aliased,
        cluster,
        storage_uri=resolve_storage_uri(asked, tracking=tracking, artifact_root=root),
        run_id=version["run_id"],
        model_version=version["version"],
    )
    link(document, tracking)
    return document


def _pointed(tracking: TrackingApi, name: str) -> str:
    return str(tracking.get_model_version_by_alias(name, ALIAS)["version"])
