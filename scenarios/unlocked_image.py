"""A trainer's image that is built again without a lock: what it holds today, and whether its models still load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trivet.authoring.gates import refusal
from trivet.authoring.scenarios import remedied, scenario, symptom_not_observed, symptom_observed, unprotected
from trivet.errors import CannotTell
from trivet.integration import v2_request
from trivet.model.clients import ClusterClient, ExternalTrainerClient, StoreClient, TrafficClient
from trivet.model.fault import SERVING, AffectedObject, Verb
from trivet.model.scenario import Budgets, Case, Claim, Observation, Workload
from trivet.model.stack import Stack
from trivet.scenarios import deploying
from trivet.scenarios.deploying import ROWS, all_by
from trivet.scenarios.observing import refused_by_server, watch_loading
from trivet.toolkit.faults import applied
from trivet.toolkit.watch import Watch

NAME = "drifted-classifier"
TOUCH = AffectedObject(verb=Verb.CREATE, kind="InferenceService", name=NAME, namespace=SERVING)
NEEDED = ("mlflow", "scikit-learn", "numpy", "pandas", "scipy", "cloudpickle")
"""What the training code imports, as a requirements.txt without versions has it."""
PATIENCE = 20.0
"""Seconds after the container named the cause; for how long the service keeps silent then is shown by model_not_found."""


@scenario(
    title="The trainer's image was built again without a lock",
    happens=(
        "The trainer's image is built from requirements without a lock, by a cache that expired or a base image that moved. It gets "
        "whatever versions there are on the day; training succeeds, and the serving image, which was not rebuilt, cannot load the model."
    ),
    recognise=(
        "No line of code changed, and the model's requirements.txt names other versions than that of the model before it; the serving "
        "container's log names a module or class that it does not have."
    ),
    remedy=(
        "Build from a lock with hashes that holds whatever is pickled to the serving image's versions (`trivet stack lock`), and let the "
        "contracts environment.* look at each model before it is deployed."
    ),
    variants=(
        unprotected("unbounded", "requirements without versions, resolved today"),
        remedied("locked", "the stack's lock with hashes, installed again"),
        remedied(
            "cutoff", "requirements without versions, as of the day of the stack's lock", protects=False, extended=True
        ),
    ),
    affected_objects=(TOUCH,),
    budgets=Budgets(steady_state=30, symptom=150, recovery=60),
    claims=(
        Claim(
            text="A cut-off date makes an image as good as a lock does.",
            holds=False,
            found=(
                "a day makes the same image each time, and holds nothing to the serving image: as of 2024-11-15 the trainer gets "
                "scikit-learn 1.5.2 and NumPy 2.1.3, whose models MLServer 1.5.0 cannot load either"
            ),
            variants=("cutoff",),
        ),
    ),
    sources=(
        "measured: on 2026-11-25 the requirements resolve to mlflow 3.17.2, scikit-learn 1.9.1 and NumPy 2.4.6",
        "numpy 1.26.4 numpy/random/_pickle.py, __bit_generator_ctor: 'is not a known BitGenerator module'",
    ),
)
def rebuilt_without_a_lock(
    cluster: ClusterClient,
    traffic: TrafficClient,
    store: StoreClient,
    external_trainer: ExternalTrainerClient,
    stack: Stack,
    variant: str,
) -> Iterator[Case]:
    if variant == "locked":
        deploying.check_held(stack)
    locked = stack.roles["trainer"]
    days = {"unbounded": "", "cutoff": locked.cutoff}
    trainer = external_trainer.built(NEEDED, cutoff=days[variant]) if variant in days else locked
    model, directory = deploying.externally_trained_model(
        external_trainer, store, trainer, key="the rebuilt trainer's model"
    )
    document = deploying.service(NAME, model, cluster, namespace=SERVING)
    holds = ", ".join(f"{name} {trainer.pins[name]}" for name in ("mlflow", "scikit-learn", "numpy"))
    workload = Workload(service=NAME, request=v2_request(None, ROWS), models={model.name: model.answer})

    def symptom(watch: Watch) -> Observation:
        told = watch_loading(cluster, watch, NAME, timeout=PATIENCE, counts=refused_by_server)
        message = f"trained with {holds}: {told.message}"
        measured: dict[str, float | str] = {
            **told.measured,
            "trained_with": holds,
            "before_deployment": before_deployment(directory, stack),
        }
        if told.ready is None and not told.cause:
            raise CannotTell(f"neither ready nor failed by its server, which shows nothing of the model: {message}")
        if told.ready is None:
            return symptom_observed(message, evidence=told.proof, **measured)
        answered = all_by(traffic, workload, model.name)
        if not answered:
            return symptom_observed(
                f"{message}, and did not answer as its trainer does", evidence=told.proof, **measured
            )
        return symptom_not_observed(f"{message}, and {answered}", evidence=told.proof, **measured)

    yield Case(
        fault=applied(document, name=f"a model of a trainer with {holds} is deployed"),
        steady_state=lambda: "" if cluster.get("inferenceservice", NAME) else f"there is no InferenceService {NAME}",
        symptom=symptom,
    )


def before_deployment(directory: Path, stack: Stack) -> str:
    """What the contracts environment.* have against the model before it is deployed: a note beside what becomes of it."""
    try:
        return refusal(directory, stack, "environment.*") or "nothing against it"
    except CannotTell as error:
        return f"not known: {error.message}"
