"""A trainer's image that is rebuilt without a lock: the versions that it gets today, and whether its models still load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trivet.authoring import (
    DEFAULT_ROWS,
    SERVING,
    AffectedObject,
    Budgets,
    CannotTell,
    Case,
    Claim,
    ClusterClient,
    ExternalTrainerClient,
    Observation,
    Stack,
    StoreClient,
    TrafficClient,
    Verb,
    Watch,
    Workload,
    applied,
    refusal,
    remedied,
    scenario,
    symptom_not_observed,
    symptom_observed,
    unprotected,
)
from trivet.integration import v2_request
from trivet.scenarios import _deployments
from trivet.scenarios._deployments import absent, answered_only_by
from trivet.scenarios._service_status import is_load_error, watch_loading

NAME = "drifted-classifier"
SERVICE = AffectedObject(verb=Verb.CREATE, kind="InferenceService", name=NAME, namespace=SERVING)
REQUIREMENTS = ("mlflow", "scikit-learn", "numpy", "pandas", "scipy", "cloudpickle")
"""The packages of the training code, as in a requirements.txt without versions."""
STATUS_TIMEOUT = 20.0
"""Seconds of observation after the container's error; model_not_found shows when the InferenceService reports it."""


@scenario(
    title="The trainer's image is rebuilt without a lock",
    happens=(
        "The trainer's image is rebuilt from requirements without a lock, since a cache expired or the base image changed. It gets the "
        "versions of the day; training succeeds, and the serving image, which is not rebuilt, cannot load the model."
    ),
    recognise=(
        "The code did not change, and the model's requirements.txt has other versions than that of the model before; the serving "
        "container's log names a module or class that does not exist there."
    ),
    remedy=(
        "Build from a lock with hashes that pins all packages that are pickled to the serving image's versions (`trivet stack lock`), and "
        "check each model with the contracts environment.* before it is deployed."
    ),
    variants=(
        unprotected("unbounded", "requirements without versions, resolved today"),
        remedied("locked", "the stack's lock with hashes, reinstalled"),
        remedied(
            "cutoff", "requirements without versions, as of the day of the stack's lock", protects=False, extended=True
        ),
    ),
    affected_objects=(SERVICE,),
    budgets=Budgets(steady_state=30, symptom=150, recovery=60),
    claims=(
        Claim(
            text="A cut-off date protects an image as well as a lock does.",
            holds=False,
            found=(
                "a date makes the build reproducible, and pins nothing to the serving image: as of 2024-11-15 the trainer gets "
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
        _deployments.require_pinned_trainer(stack)
    locked = stack.roles["trainer"]
    days = {"unbounded": "", "cutoff": locked.cutoff}
    trainer = external_trainer.unlocked(REQUIREMENTS, cutoff=days[variant]) if variant in days else locked
    model, directory = _deployments.externally_trained_model(
        external_trainer, store, trainer, name="the rebuilt trainer's model"
    )
    document = _deployments.service(NAME, model, cluster, namespace=SERVING)
    versions = ", ".join(f"{name} {trainer.pins[name]}" for name in ("mlflow", "scikit-learn", "numpy"))
    workload = Workload(service=NAME, request=v2_request(None, DEFAULT_ROWS), models={model.name: model.answer})

    def symptom(watch: Watch) -> Observation:
        loading = watch_loading(cluster, watch, NAME, timeout=STATUS_TIMEOUT, counts=is_load_error)
        message = f"trained with {versions}: {loading.message}"
        measured: dict[str, float | str] = {
            **loading.measured,
            "trained_with": versions,
            "before_deployment": before_deployment(directory, stack),
        }
        if loading.ready_after is None and not loading.failure:
            raise CannotTell(f"the service is not Ready, and its server reports no load error: {message}")
        if loading.ready_after is None:
            return symptom_observed(message, evidence=loading.evidence, **measured)
        answered = answered_only_by(traffic, workload, model.name)
        if not answered:
            return symptom_observed(
                f"{message}, and its answers are not those of the trainer", evidence=loading.evidence, **measured
            )
        return symptom_not_observed(f"{message}, and {answered}", evidence=loading.evidence, **measured)

    yield Case(
        fault=applied(document, name=f"a model trained with {versions} is deployed"),
        steady_state=lambda: absent(cluster, NAME),
        symptom=symptom,
    )


def before_deployment(directory: Path, stack: Stack) -> str:
    """The result of the contracts environment.* for the model before it is deployed, for comparison."""
    try:
        return refusal(directory, stack, "environment.*") or "no contract fails"
    except CannotTell as error:
        return f"unknown: {error.message}"
