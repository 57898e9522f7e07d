"""mlflow → runtime, live: the runtime serves the model of the handover."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import (
    MUST,
    Finding,
    ModelDirectory,
    PredictorClient,
    ServingClient,
    contract,
    evidence,
    failed,
    inconclusive,
    passed,
    same_values,
)
from trivet.integration import read_signature, v2_request, v2_values

EXAMPLES = 30
"""Number of batches of predictions to compare, of 1 to 12 rows each."""

VERSIONS: Mapping[str, str] = {"mlflow": ">=2.12", "runtime": ">=1.3"}
"""The oldest versions that these contracts were verified with, by reading or running them."""


@contract(
    title="The serving runtime must load the model that training produced",
    level=MUST,
    seam=("mlflow", "runtime"),
    versions=VERSIONS,
    rationale=(
        "A runtime that cannot load the model crashes or returns errors, while KServe may report Ready for tens of seconds."
    ),
    remedy=(
        "Read the runtime's log in the evidence; pin the trainer's packages to the runtime's versions, or serve with a "
        "runtime built for them."
    ),
    sources=("KServe 0.14.1 config/runtimes/kserve-mlserver.yaml", "MLServer: GET /v2/models/{name}/ready"),
)
def model_becomes_ready(serving: ServingClient) -> Iterator[Finding]:
    log = evidence("runtime log", "log", serving.log())
    if serving.ready:
        yield passed(f"GET /v2/models/{serving.name}/ready answered 200", evidence=(log,))
    else:
        yield failed(f"the model {serving.name} did not become ready: {serving.failure}", evidence=(log,))


@contract(
    title="Served predictions must equal the trainer's own",
    level=MUST,
    seam=("mlflow", "runtime"),
    versions=VERSIONS,
    rationale=(
        "HTTP 200 does not show that the value is right: a wrong model, another column order or a lossy conversion returns "
        "200 too."
    ),
    remedy=(
        "Compare the packages of trainer and runtime (environment.*), the column order of the request, and the "
        "storage URI that is served."
    ),
    sources=("Open Inference Protocol v2, POST /v2/models/{name}/infer",),
)
def predictions_equal_the_trainers(
    serving: ServingClient, predictor: PredictorClient, model_directory: ModelDirectory
) -> Iterator[Finding]:
    from trivet.authoring import counter_example, rows_of

    signature = read_signature(model_directory.mlmodel)
    if signature is None:
        yield inconclusive("the model has no signature to generate inputs from")
        return
    compared: list[dict[str, Any]] = []

    def deviation(rows: list[dict[str, Any]]) -> str:
        answer = serving.infer(v2_request(signature, rows))
        if answer.status != 200:
            return f"HTTP {answer.status} to inputs that satisfy the signature: {str(answer.body)[:200]}; rows {rows}"
        served, expected = v2_values(answer.body), predictor.predict(rows)
        compared.extend(
            {"row": row, "served": got, "trainer": own} for row, got, own in zip(rows, served, expected, strict=False)
        )
        return "" if same_values(served, expected) else f"served {served}, the trainer predicts {expected}; rows {rows}"

    tried, found = counter_example(rows_of(signature), deviation, examples=EXAMPLES)
    table = evidence("predictions compared", "table", compared[-20:])
    if found:
        yield failed(found, evidence=(table,))
    elif len({str(pair["served"]) for pair in compared}) < 2:
        yield inconclusive(
            f"all {len(compared)} predictions have the same value, so that equality shows little", evidence=(table,)
        )
    else:
        yield passed(
            f"{len(compared)} predictions in {tried} batches generated from the signature are equal", evidence=(table,)
        )
