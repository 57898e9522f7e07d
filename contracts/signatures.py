"""mlflow → runtime: the signature of a model, and the runtime's responses to requests that violate it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import (
    MUST,
    SHOULD,
    CannotTell,
    DownloadFailed,
    Finding,
    Handover,
    HttpExchange,
    ModelDirectory,
    PredictorClient,
    RegisteredVersion,
    RuntimeClient,
    ServingClient,
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
    read_model_directory,
    same_values,
)
from trivet.integration import (
    Signature,
    TrackingApi,
    check_rows,
    check_signature,
    check_successor,
    read_signature,
    resolve_storage_uri,
    v2_request,
    v2_values,
)

_OPEN_INFERENCE = "Open Inference Protocol v2: a request that the model cannot take is the client's error (4xx)"

VERSIONS: Mapping[str, str] = {"mlflow": ">=2.12", "runtime": ">=1.3"}
"""The oldest versions that these contracts were verified with, by reading or running them."""


@contract(
    title="The signature of an MLflow model must have inputs and outputs that the serving runtime can read",
    level=MUST,
    seam=("mlflow", "runtime"),
    versions=VERSIONS,
    rationale=(
        "The runtime parses the signature when it loads the model, and refuses the model for a type that its MLflow does not know. "
        "With inputs only, MLServer 1.5.0 and 1.7.1 do not load the model either."
    ),
    remedy=(
        "Log the model with signature=infer_signature(X, predictions), or with input_example, and only with types "
        "that the runtime's MLflow reads."
    ),
    sources=(
        "mlflow 2.10.2 and 2.19.0 mlflow/models/model.py, Model.from_dict, and mlflow/types/schema.py",
        "MLServer 1.5.0 and 1.7.1 runtimes/mlflow/mlserver_mlflow/runtime.py, _sync_metadata: returns without a signature, and reads "
        "its inputs and outputs otherwise; metadata.py, to_metadata_tensors",
    ),
)
def signature_is_complete(model_directory: ModelDirectory, stack: Stack) -> Iterator[Finding]:
    place = model_directory.at("signature")
    reader = stack.roles["runtime"].pins.get("mlflow")
    if not model_directory.mlmodel.get("signature"):
        yield not_applicable("the model has no signature (signatures.model_has_a_signature)", location=place)
        return
    problems = check_signature(model_directory.mlmodel, reader=reader, server=stack.components["runtime"])
    for problem in problems:
        yield failed(problem, location=place)
    if not problems:
        signature = read_signature(model_directory.mlmodel)
        assert signature is not None
        yield passed(
            f"{len(signature.inputs)} inputs and {len(signature.outputs)} outputs, readable by MLflow {reader}",
            location=place,
        )


@contract(
    title="An MLflow model should have a signature",
    level=SHOULD,
    seam=("mlflow", "runtime"),
    versions=VERSIONS,
    rationale=(
        "A model without a signature loads, and nothing checks its inputs: values of another type reach the model, and V2 requests that "
        "do not say the content type `pd` fail."
    ),
    remedy="Log the model with signature=infer_signature(X, predictions), or with input_example.",
    sources=(
        "MLServer 1.5.0 and 1.7.1 runtimes/mlflow/mlserver_mlflow/runtime.py, _sync_metadata: returns without a signature",
        "MLflow mlflow/pyfunc/__init__.py, predict: enforces the schema of a model that has one",
    ),
)
def model_has_a_signature(model_directory: ModelDirectory) -> Iterator[Finding]:
    place = model_directory.at("signature")
    if model_directory.mlmodel.get("signature"):
        yield passed("the model has a signature", location=place)
    else:
        yield failed(
            "the model has no signature: inputs are not checked, and V2 requests fail without a content type",
            location=place,
        )


@contract(
    title="Every registered version of the model must have a signature with inputs and outputs",
    level=MUST,
    seam=("kfp", "mlflow"),
    versions=VERSIONS,
    rationale="A promotion or a rollback can deploy any registered version, not only the newest.",
    remedy="Log and register the version again with a signature; delete versions without one.",
    sources=("MLflow REST: GET /api/2.0/mlflow/model-versions/search",),
)
def every_version_has_a_signature(handover: Handover, tracking: TrackingApi, store: StoreClient) -> Iterator[Finding]:
    name = handover.model.registered_name
    for version in tracking.search_model_versions(f"name = '{name}'"):
        uri = f"models:/{name}/{version['version']}"
        try:
            place = resolve_storage_uri(uri, tracking=tracking)
        except UsageError as error:
            yield failed(f"the model of {uri} no longer exists: {error.message}", remedy=error.remedy)
            continue
        try:
            found = read_model_directory(store.download(place).directory)
        except DownloadFailed as error:
            yield failed(f"{uri} cannot be fetched: {error.message}")
            continue
        if found.errors:
            yield failed(f"{uri} cannot be read: {found.errors[0].message}", remedy=found.errors[0].remedy)
            continue
        (model,) = found.subjects
        assert isinstance(model, ModelDirectory)
        problems = check_signature(model.mlmodel)
        for problem in problems:
            yield failed(f"{uri}: {problem}")
        if not problems:
            yield passed(f"{uri} has a signature with inputs and outputs")


@contract(
    title="A registered version should not break the clients of the version before it",
    level=SHOULD,
    seam=("mlflow", "kserve"),
    versions=VERSIONS,
    rationale=(
        "Clients send the columns of the version that serves now. A column that becomes required, or gets another type, "
        "fails their requests in the moment in which the traffic moves."
    ),
    remedy=(
        "Make the new column optional and keep the types of the others, or give the model a service of its own and move the "
        "clients to it."
    ),
    sources=("MLflow mlflow/models/utils.py, _enforce_schema: a missing required column is an error",),
)
def version_keeps_its_clients(model_directory: ModelDirectory, predecessor: RegisteredVersion) -> Iterator[Finding]:
    where = model_directory.at("signature")
    try:
        successor, current = read_signature(model_directory.mlmodel), read_signature(predecessor.mlmodel)
    except UsageError as error:
        yield inconclusive(f"against {predecessor.uri}: {error.message}", location=where)
        return
    if successor is None or current is None:
        without = "it" if successor is None else predecessor.uri
        yield inconclusive(f"against {predecessor.uri}: {without} has no signature", location=where)
        return
    changes = check_successor(successor, current)
    for change in changes:
        yield failed(f"against {predecessor.uri}: {change}", location=where)
    if not changes:
        yield passed(f"it takes what clients of {predecessor.uri} send, and answers what they read")


@contract(
    title="The input example must satisfy the signature, and the model must accept it",
    level=MUST,
    seam=("kfp", "mlflow"),
    versions=VERSIONS,
    rationale="Clients copy the example; one that the model rejects gives them a request that fails.",
    remedy="Take the input example from the training data, with the types that the signature declares.",
    sources=("MLflow mlflow/models/utils.py, _enforce_schema",),
)
def input_example_satisfies_the_signature(
    predictor: PredictorClient, model_directory: ModelDirectory
) -> Iterator[Finding]:
    signature = _signature(model_directory)
    rows = example_rows(model_directory)
    if not rows:
        yield not_applicable(_no_rows(model_directory), location=model_directory.at("saved_input_example_info"))
        return
    for problem in check_rows(signature, rows):
        yield failed(f"the input example deviates: {problem}", location=model_directory.at("saved_input_example_info"))
    answer = predictor.try_predict(rows)
    if error := answer["error"]:
        yield failed(f"the model rejects its own input example: {error}")
    else:
        yield passed(f"the model predicts {answer['predictions']} for the {len(rows)} rows of its example")


@contract(
    title="The runtime's MLflow must read the signature that the trainer's MLflow wrote",
    level=MUST,
    seam=("mlflow", "runtime"),
    versions=VERSIONS,
    rationale=(
        "MLflow up to 2.9 cannot read a signature of 2.10 or later, and 2.18 or later cannot read optional columns "
        "of 2.6 to 2.9."
    ),
    remedy="Use a runtime with a newer MLflow, or a signature with types that the runtime's version supports.",
    sources=("MLflow mlflow/types/schema.py, ColSpec.from_json_dict", "kserve/kserve#4077"),
)
def runtime_reads_the_signature(runtime: RuntimeClient, model_directory: ModelDirectory) -> Iterator[Finding]:
    reader = runtime.call("versions")["mlflow"]
    answer = runtime.call("try_read_signature", directory=str(model_directory.path.absolute()))
    if answer["error"]:
        yield failed(f"the runtime's MLflow {reader} cannot read the signature: {answer['type']}: {answer['error']}")
        return
    read = [one.get("name") or "" for one in answer["signature"]["inputs"] or ()]
    written = [one.name for one in _signature(model_directory).inputs]
    if read != written:
        yield failed(f"the runtime's MLflow {reader} reads the inputs {read}, but the trainer wrote {written}")
    else:
        names = ", ".join(name or f"{position} (without a name)" for position, name in enumerate(written))
        yield passed(f"the runtime's MLflow {reader} reads the inputs {names}")


# -- what MLflow itself enforces ---------------------------------------------------------------------------------------


@contract(
    title="MLflow should reject registering a model without a signature",
    level=SHOULD,
    seam=("kfp", "mlflow"),
    versions=VERSIONS,
    rationale=(
        "It is widely published that MLflow does so since 2.16. Relying on it leads to models without signatures in "
        "production."
    ),
    remedy=(
        "Do not rely on MLflow: gate on signatures.every_version_has_a_signature. (The open-source registry has no such "
        "option.)"
    ),
    sources=(
        "MLflow mlflow/models/model.py, Model.log: a warning, no error",
        "MLflow mlflow/store/_unity_catalog: refuses",
    ),
)
def registry_requires_a_signature(trainer: TrainerClient, stack: Stack) -> Iterator[Finding]:
    version = stack.roles["trainer"].pins["mlflow"]
    try:
        logged = trainer.log_model(
            estimator="logistic-regression", signature="none", register_as="trivet-without-signature"
        )
    except CannotTell:
        raise
    except Exception as error:
        if "signature" not in str(error).lower():
            raise
        yield passed(f"MLflow {version} rejected it: {str(error).splitlines()[0][:200]}")
        return
    yield failed(f"MLflow {version} registered version {logged.version} of a model without a signature")


@contract(
    title="MLflow should reject inputs that violate the signature",
    level=SHOULD,
    seam=("kfp", "mlflow"),
    versions=VERSIONS,
    rationale="Inputs that MLflow accepts silently reach the model as data that it was not trained on.",
    remedy=(
        "Convert inputs to the declared types before predicting; declare numeric columns as double when clients send"
        " integers."
    ),
    sources=("MLflow mlflow/models/utils.py, _enforce_schema",),
)
def mlflow_enforces_the_signature(predictor: PredictorClient, model_directory: ModelDirectory) -> Iterator[Finding]:
    signature = _signature(model_directory)
    rows = _example(model_directory)
    number = _column(signature, "double", "float")
    cases = {
        "a missing column": [_without(row, number) for row in rows],
        "a text that is not a number for a number": [row | {number: "not a number"} for row in rows],
        "a number as text": [row | {number: str(row[number])} for row in rows],
    }
    for case, deviating in cases.items():
        answer = predictor.try_predict(deviating)
        detail = (evidence(case, "text", answer),)
        mlflow = f"MLflow {model_directory.mlmodel.get('mlflow_version', 'of an unknown version')}"
        if answer["type"] == "MlflowException":
            yield passed(f"{mlflow} rejects {case}", evidence=detail)
        elif answer["type"]:
            raised = f"{answer['type']}: {str(answer['error'])[:200]}"
            yield failed(f"{mlflow} accepts {case}: it reaches the model, which raises {raised}", evidence=detail)
        else:
            yield failed(f"{mlflow} accepts {case} silently", evidence=detail)


# -- the runtime's responses to requests that violate the signature ---------------------------------------------------


@contract(
    title="A request without a required column should get a clear 4xx",
    level=SHOULD,
    seam=("mlflow", "runtime"),
    versions=VERSIONS,
    rationale="HTTP 500 for a client's mistake makes a canary judgement by 5xx roll back a good model.",
    remedy=(
        "Exclude client mistakes from the error rate (validate requests in front of the runtime), until the runtime "
        "returns 4xx."
    ),
    sources=(_OPEN_INFERENCE, "MLServer 1.5.0 and 1.7.1 answer 500"),
)
def missing_column_is_rejected(serving: ServingClient, model_directory: ModelDirectory) -> Iterator[Finding]:
    rows, signature = _example(model_directory), _signature(model_directory)
    request = v2_request(signature, rows)
    request["inputs"] = request["inputs"][1:]
    yield _refusal(serving.infer(request), f"a request without the column {signature.columns[0].name!r}")


@contract(
    title=("A request with a column that is not in the signature should be rejected, or answered as without it"),
    level=SHOULD,
    seam=("mlflow", "runtime"),
    versions=VERSIONS,
    rationale=("A client that sends an extra column may believe that it has an effect; it must not change the answer."),
    remedy="Validate requests against the signature in front of the runtime.",
    sources=(_OPEN_INFERENCE, "MLflow mlflow/models/utils.py: extra columns are dropped"),
)
def extra_column_changes_nothing(serving: ServingClient, model_directory: ModelDirectory) -> Iterator[Finding]:
    rows, signature = _example(model_directory), _signature(model_directory)
    request = v2_request(signature, rows)
    right = serving.infer(request)
    if right.status != 200:
        raise CannotTell(f"the valid request got HTTP {right.status}: {str(right.body)[:200]}")
    request["inputs"] = [*request["inputs"], dict(request["inputs"][0], name="trivet_extra")]
    yield _refusal(serving.infer(request), "a request with an extra column", right=v2_values(right.body))


@contract(
    title="Text where a number is declared should get a clear 4xx",
    level=SHOULD,
    seam=("mlflow", "runtime"),
    versions=VERSIONS,
    rationale=(
        "A value of another type is a client's mistake; 500 hides that, and an answer would be based on an unintended "
        "conversion."
    ),
    remedy="Validate requests against the signature in front of the runtime.",
    sources=(_OPEN_INFERENCE,),
)
def mistyped_column_is_rejected(serving: ServingClient, model_directory: ModelDirectory) -> Iterator[Finding]:
    rows, signature = _example(model_directory), _signature(model_directory)
    name = _column(signature, "double", "float", "long", "integer")
    texts = {"datatype": "BYTES", "data": ["not a number"] * len(rows), "parameters": {"content_type": "str"}}
    yield _refusal(serving.infer(_with(v2_request(signature, rows), name, texts)), f"text for the number {name!r}")


@contract(
    title="A null in an integer column should get a clear 4xx",
    level=SHOULD,
    seam=("mlflow", "runtime"),
    versions=VERSIONS,
    rationale=(
        "Integers have no null: pandas converts the column to floats, and MLflow then rejects it or the model gets "
        "another type."
    ),
    remedy="Declare columns that may be absent as double; validate requests in front of the runtime.",
    sources=(_OPEN_INFERENCE, "MLflow mlflow/models/utils.py: hint on integer columns with missing values"),
)
def null_in_an_integer_column_is_rejected(serving: ServingClient, model_directory: ModelDirectory) -> Iterator[Finding]:
    rows, signature = _example(model_directory), _signature(model_directory)
    name = _column(signature, "long", "integer")
    request = v2_request(signature, rows)
    data = [None, *next(tensor["data"] for tensor in request["inputs"] if tensor["name"] == name)[1:]]
    yield _refusal(serving.infer(_with(request, name, {"data": data})), f"null in the integer column {name!r}")


@contract(
    title="Columns of different lengths should get a clear 4xx",
    level=SHOULD,
    seam=("mlflow", "runtime"),
    versions=VERSIONS,
    rationale="Rows that are padded or truncated silently produce answers for inputs that the client did not send.",
    remedy="Validate requests against the signature in front of the runtime.",
    sources=(_OPEN_INFERENCE,),
)
def wrong_shape_is_rejected(serving: ServingClient, model_directory: ModelDirectory) -> Iterator[Finding]:
    rows, signature = _example(model_directory), _signature(model_directory)
    request = v2_request(signature, [*rows, *rows])
    first = request["inputs"][0]
    short = {"data": first["data"][:1], "shape": [1]}
    yield _refusal(
        serving.infer(_with(request, first["name"], short)), f"1 value of {first['name']!r} for {2 * len(rows)} rows"
    )


def _refusal(exchange: HttpExchange, case: str, *, right: list[Any] | None = None) -> Finding:
    """Judge one response: it must be a clear 4xx, never a 5xx and never a silent wrong answer."""
    proof = (evidence(f"the answer to {case}", "http", vars(exchange)),)
    if exchange.status >= 500:
        return failed(f"HTTP {exchange.status} to {case}: {str(exchange.body)[:120]}", evidence=proof)
    if exchange.status >= 400:
        reason = (
            exchange.body.get("error") or exchange.body.get("detail")
            if isinstance(exchange.body, Mapping)
            else exchange.body
        )
        if reason:
            return passed(f"HTTP {exchange.status} to {case}: {str(reason)[:120]}", evidence=proof)
        return failed(f"HTTP {exchange.status} to {case}, without a reason", evidence=proof)
    if exchange.status != 200:
        return inconclusive(f"HTTP {exchange.status} to {case}", evidence=proof)
    values = v2_values(exchange.body)
    if right is not None and same_values(values, right):
        return passed(f"{case} is answered like the valid request: {values}", evidence=proof)
    return failed(f"HTTP 200 to {case}: silently answered {values}", evidence=proof)


def example_rows(model_directory: ModelDirectory) -> list[dict[str, Any]]:
    """The rows of a model's saved input example; empty without an example, or if it is not a data frame.

    Source: MLflow mlflow/models/utils.py, _Example: a data frame is saved as JSON in pandas' orient ``split``.
    """
    info = model_directory.mlmodel.get("saved_input_example_info") or {}
    if info.get("type") != "dataframe":
        return []
    saved = json.loads((model_directory.path / info["artifact_path"]).read_text(encoding="utf-8"))
    return [dict(zip(saved["columns"], values, strict=True)) for values in saved["data"]]


def _signature(model_directory: ModelDirectory) -> Signature:
    signature = read_signature(model_directory.mlmodel)
    if signature is None:
        raise CannotTell("the model has no signature (signatures.signature_is_complete)")
    return signature


def _example(model_directory: ModelDirectory) -> list[dict[str, Any]]:
    rows = example_rows(model_directory)[:2]
    if not rows:
        raise CannotTell(f"{_no_rows(model_directory)}, from which requests are made")
    return rows


def _no_rows(model_directory: ModelDirectory) -> str:
    info = model_directory.mlmodel.get("saved_input_example_info")
    if not info:
        return "the model was saved without an input example"
    return f"the model's input example is of the type {info.get('type')!r} and no data frame with rows"


def _column(signature: Signature, *types: str) -> str:
    for column in signature.columns:
        if column.type in types:
            return column.name
    raise CannotTell(f"the model has no column of type {' or '.join(types)}")


def _without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def _with(request: dict[str, Any], name: str, change: Mapping[str, Any]) -> dict[str, Any]:
    inputs = [tensor | change if tensor["name"] == name else tensor for tensor in request["inputs"]]
    return {**request, "inputs": inputs}
