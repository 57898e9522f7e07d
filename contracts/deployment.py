"""mlflow → kserve, live: the standard deployment mode. Without Knative KServe creates Deployments; the model must work there too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trivet.authoring import (
    MUST,
    CannotTell,
    ClusterClient,
    Finding,
    Handover,
    Location,
    ModelDirectory,
    PlatformError,
    PredictorClient,
    Stack,
    TrafficClient,
    contract,
    deployed,
    evidence,
    failed,
    passed,
    same_values,
)
from trivet.contracts.deploying import service_like
from trivet.contracts.signatures import example_rows
from trivet.integration import read_signature, v2_request, v2_values
from trivet.integration.inference_service import STANDARD_MODES

VERSIONS: Mapping[str, str] = {"mlflow": ">=2.12", "kserve": ">=0.14"}
"""The oldest versions that these contracts were run with."""

STANDARD = "standard-classifier"
REQUESTS = 5


def standard_mode(stack: Stack) -> str:
    """The name of the mode without Knative in the stack's KServe, the newer of two names; empty if it has none."""
    return next(
        (name for name in reversed(STANDARD_MODES) if name in stack.settings["serving"]["deployment_modes"]), ""
    )


@contract(
    title="A service in standard mode (RawDeployment) must answer correctly as soon as it is Ready",
    level=MUST,
    seam=("mlflow", "kserve"),
    versions=VERSIONS,
    rationale=(
        "Clusters without Knative deploy in this mode, and with both modes a model may move between them. The path to the pod differs: "
        "no activator waits for it, and Ready depends on the Deployment."
    ),
    remedy="Build the service with trivet.integration.build_inference_service(deployment_mode=…), whose probe requests the model itself.",
    sources=("kserve 0.14.1 and 0.20.0 pkg/controller/v1beta1/inferenceservice/reconcilers/raw",),
)
def standard_mode_answers_when_ready(
    cluster: ClusterClient,
    traffic: TrafficClient,
    handover: Handover,
    predictor: PredictorClient,
    model_directory: ModelDirectory,
    stack: Stack,
) -> Iterator[Finding]:
    mode = standard_mode(stack)
    rows = example_rows(model_directory)
    if not rows or not mode:
        raise CannotTell("the model was saved without an input example" if mode else "the stack names no standard mode")
    right = predictor.predict(rows)
    request = v2_request(read_signature(model_directory.mlmodel), rows)
    place = Location(object=f"InferenceService/{STANDARD}")
    with deployed(cluster, service_like(handover, STANDARD, deployment_mode=mode, min_replicas=1, max_replicas=1)):
        answers = traffic.send(STANDARD, request, times=REQUESTS, concurrency=1)
        deployment = cluster.get("deployment", f"{STANDARD}-predictor")
    proof = (evidence("the answers", "table", [vars(answer) for answer in answers]),)
    wrong = []
    for answer in answers:
        try:
            if answer.status != 200 or not same_values(v2_values(answer.body), right):
                wrong.append(answer)
        except PlatformError:
            wrong.append(answer)
    if deployment is None:
        yield failed(f"there is no Deployment {STANDARD}-predictor in mode {mode}", location=place, evidence=proof)
    elif wrong:
        yield failed(
            f"{len(wrong)} of the first {len(answers)} requests after Ready=True in mode {mode} failed: {wrong[0]}",
            location=place,
            evidence=proof,
        )
    else:
        yield passed(
            f"the first {len(answers)} requests after Ready=True in mode {mode} were answered {right}",
            location=place,
            evidence=proof,
        )
