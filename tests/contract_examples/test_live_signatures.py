"""Examples of the contracts over signatures in the registry, and over requests that disregard them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract_examples.live import Instead, findings, handed_over, model_in, served_model
from contract_examples.registry import failing, inconclusive, not_applicable, passing

from trivet.errors import PlatformError
from trivet.integration import check_rows, read_signature
from trivet.model.clients import DownloadFailed, Rows
from trivet.model.finding import Finding
from trivet.model.handover import HttpExchange, RegisteredVersion
from trivet.model.subjects import ModelDirectory
from trivet.targets.local.session import LocalSession

pytestmark = pytest.mark.processes


def copied(session: LocalSession, scratch: Path) -> Path:
    """A copy of the session's model directory, to be changed."""
    return Path(shutil.copytree(served_model(session).path, scratch / "model"))


# every_version_has_a_signature


@failing("signatures.every_version_has_a_signature", because="/1: the model has no signature")
def test_an_older_version_without_signature(session: LocalSession) -> list[Finding]:
    trainer = session.client("trainer")
    trainer.log_model(estimator="logistic-regression", signature="none", register_as="example-versions")
    newest = trainer.log_model(estimator="logistic-regression", register_as="example-versions")
    return findings(session, "signatures.every_version_has_a_signature", handover=handed_over(session, newest))


@failing("signatures.every_version_has_a_signature", because="the signature has no outputs")
def test_a_version_with_inputs_only(session: LocalSession) -> list[Finding]:
    logged = session.client("trainer").log_model(
        estimator="logistic-regression", signature="inputs-only", register_as="example-inputs-only"
    )
    return findings(session, "signatures.every_version_has_a_signature", handover=handed_over(session, logged))


@failing("signatures.every_version_has_a_signature", because="no longer exists")
def test_a_version_whose_files_were_collected(session: LocalSession) -> list[Finding]:
    logged = session.client("trainer").log_model(estimator="logistic-regression", register_as="example-collected")
    handover = handed_over(session, logged)
    shutil.rmtree(handover.storage_uri.removeprefix("file://"))
    return findings(session, "signatures.every_version_has_a_signature", handover=handover)


@failing("signatures.every_version_has_a_signature", because="is not an MLmodel")
def test_a_version_whose_mlmodel_is_broken(session: LocalSession) -> list[Finding]:
    logged = session.client("trainer").log_model(estimator="logistic-regression", register_as="example-broken")
    handover = handed_over(session, logged)
    (Path(handover.storage_uri.removeprefix("file://")) / "MLmodel").write_text("no mapping")
    return findings(session, "signatures.every_version_has_a_signature", handover=handover)


@failing("signatures.every_version_has_a_signature", because="cannot be fetched: no such bucket")
def test_a_version_that_the_initializer_does_not_fetch(session: LocalSession) -> list[Finding]:
    def download(storage_uri: str) -> Any:
        raise DownloadFailed("no such bucket")

    store = Instead(session.client("store"), download=download)
    return findings(session, "signatures.every_version_has_a_signature", store=store)


@passing("signatures.every_version_has_a_signature")
def test_the_versions_of_the_handover(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.every_version_has_a_signature")


# version_keeps_its_clients


def after(session: LocalSession, **changed: Any) -> list[Finding]:
    """What is found of the session's model, as the successor of one with another signature."""
    served = served_model(session)
    signature = {**served.mlmodel["signature"], **changed}
    earlier = RegisteredVersion(uri="models:/example/1", mlmodel={**served.mlmodel, "signature": signature})
    return findings(session, "signatures.version_keeps_its_clients", model_directory=served, predecessor=earlier)


def inputs(session: LocalSession) -> list[dict[str, Any]]:
    return list(json.loads(served_model(session).mlmodel["signature"]["inputs"]))


@failing(
    "signatures.version_keeps_its_clients", because="is required, and clients of the current version do not send it"
)
def test_a_version_that_requires_one_more_column(session: LocalSession) -> list[Finding]:
    return after(session, inputs=json.dumps(inputs(session)[1:]))


@failing("signatures.version_keeps_its_clients", because="and clients send string")
def test_a_version_that_takes_another_type(session: LocalSession) -> list[Finding]:
    first, *others = inputs(session)
    return after(session, inputs=json.dumps([{**first, "type": "string"}, *others]))


@inconclusive("signatures.version_keeps_its_clients", because="models:/example/1 has no signature")
def test_a_version_after_one_without_a_signature(session: LocalSession) -> list[Finding]:
    served = served_model(session)
    earlier = RegisteredVersion(uri="models:/example/1", mlmodel={**served.mlmodel, "signature": None})
    return findings(session, "signatures.version_keeps_its_clients", model_directory=served, predecessor=earlier)


@inconclusive("signatures.version_keeps_its_clients", because="against models:/example/1: ")
def test_a_version_after_one_whose_signature_cannot_be_read(session: LocalSession) -> list[Finding]:
    return after(session, inputs="garbage")


@passing("signatures.version_keeps_its_clients")
def test_a_version_with_the_signature_of_the_one_before(session: LocalSession) -> list[Finding]:
    return after(session)


# input_example_satisfies_the_signature


@not_applicable("signatures.input_example_satisfies_the_signature", because="saved without an input example")
def test_a_model_without_example(session: LocalSession) -> list[Finding]:
    logged = session.client("trainer").log_model(
        estimator="logistic-regression", input_example=False, register_as="example-no-example"
    )
    handover = handed_over(session, logged)
    model = model_in(session.client("store").download(handover.storage_uri).directory)
    return findings(session, "signatures.input_example_satisfies_the_signature", model_directory=model)


def with_example(session: LocalSession, scratch: Path, column: str, value: Any) -> ModelDirectory:
    """The session's model with another value in a column of its example."""
    directory = copied(session, scratch)
    file = directory / "input_example.json"
    example = json.loads(file.read_text())
    for row in example["data"]:
        row[example["columns"].index(column)] = value
    file.unlink()
    file.write_text(json.dumps(example))
    return model_in(directory)


@not_applicable("signatures.input_example_satisfies_the_signature", because="is of the type 'ndarray'")
def test_an_example_that_is_an_array(session: LocalSession) -> list[Finding]:
    served = served_model(session)
    array = {"artifact_path": "input_example.json", "type": "ndarray", "format": "tf-serving"}
    model = replace(served, mlmodel={**served.mlmodel, "saved_input_example_info": array})
    return findings(session, "signatures.input_example_satisfies_the_signature", model_directory=model)


@failing("signatures.input_example_satisfies_the_signature", because="the model rejects its own input example")
def test_an_example_that_the_model_refuses(session: LocalSession, tmp_path: Path) -> list[Finding]:
    model = with_example(session, tmp_path, "age", "young")
    return findings(session, "signatures.input_example_satisfies_the_signature", model_directory=model)


@failing("signatures.input_example_satisfies_the_signature", because="column 'age': '0.5' is not of type double")
def test_an_example_that_the_model_takes_by_chance(session: LocalSession, tmp_path: Path) -> list[Finding]:
    model = with_example(session, tmp_path, "age", "0.5")
    return findings(session, "signatures.input_example_satisfies_the_signature", model_directory=model)


@passing("signatures.input_example_satisfies_the_signature")
def test_the_example_of_the_handover(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.input_example_satisfies_the_signature")


# runtime_reads_the_signature


@failing("signatures.runtime_reads_the_signature", because="the runtime's MLflow 2.10.2 cannot read the signature")
def test_a_type_that_only_a_later_mlflow_knows(session: LocalSession, tmp_path: Path) -> list[Finding]:
    prices = {"type": "map", "values": {"type": "double"}, "name": "prices", "required": True}
    model = with_inputs(session, tmp_path, *inputs(session), prices)
    return findings(session, "signatures.runtime_reads_the_signature", model_directory=model)


@failing("signatures.runtime_reads_the_signature", because="the trainer wrote")
def test_a_runtime_that_reads_less_than_was_written(session: LocalSession) -> list[Finding]:
    runtime = session.client("runtime")

    def call(operation: str, **arguments: Any) -> Any:
        answer = runtime.call(operation, **arguments)
        if operation == "try_read_signature":
            answer["signature"]["inputs"].pop()
        return answer

    return findings(session, "signatures.runtime_reads_the_signature", runtime=Instead(runtime, call=call))


def with_inputs(session: LocalSession, scratch: Path, *inputs: Mapping[str, Any]) -> ModelDirectory:
    """The session's model with other inputs in its signature."""
    directory = copied(session, scratch)
    written = yaml.safe_load((directory / "MLmodel").read_text())
    written["signature"]["inputs"] = json.dumps(inputs)
    (directory / "MLmodel").unlink()
    (directory / "MLmodel").write_text(yaml.safe_dump(written))
    return model_in(directory)


@passing("signatures.runtime_reads_the_signature")
def test_an_array_without_a_name(session: LocalSession, tmp_path: Path) -> list[Finding]:
    array = {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 5]}}
    model = with_inputs(session, tmp_path, array)
    return findings(session, "signatures.runtime_reads_the_signature", model_directory=model)


@passing("signatures.runtime_reads_the_signature")
def test_columns_without_names(session: LocalSession, tmp_path: Path) -> list[Finding]:
    model = with_inputs(session, tmp_path, *[{"type": "double", "required": True}] * 2)
    return findings(session, "signatures.runtime_reads_the_signature", model_directory=model)


@passing("signatures.runtime_reads_the_signature")
def test_the_signature_of_the_handover(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.runtime_reads_the_signature")


# what MLflow enforces: the real MLflow is the failing example


@failing("signatures.registry_requires_a_signature", because="registered version")
def test_the_open_source_registry(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.registry_requires_a_signature")


@passing("signatures.registry_requires_a_signature")
def test_a_registry_that_refuses_in_unity_catalogs_words(session: LocalSession) -> list[Finding]:
    trainer = session.client("trainer")

    def log_model(**variation: Any) -> Any:
        if variation.get("signature") == "none" and variation.get("register_as"):
            # mlflow 2.17.2 mlflow/store/_unity_catalog/registry/rest_store.py, _validate_model_signature
            raise PlatformError(
                "Model passed for registration did not contain any signature metadata. All models in the Unity Catalog"
                " must be logged with a model signature containing both input and output type specifications."
            )
        return trainer.log_model(**variation)

    return findings(session, "signatures.registry_requires_a_signature", trainer=Instead(trainer, log_model=log_model))


@failing("signatures.mlflow_enforces_the_signature", because="accepts a number as text silently")
def test_what_mlflow_enforces(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.mlflow_enforces_the_signature")


@failing("signatures.mlflow_enforces_the_signature", because="reaches the model, which raises ValueError")
def test_a_model_that_raises_for_itself(session: LocalSession) -> list[Finding]:
    def try_predict(rows: Rows) -> dict[str, Any]:
        return {"predictions": None, "type": "ValueError", "error": "could not convert string to float"}

    predictor = Instead(session.client("predictor"), try_predict=try_predict)
    return findings(session, "signatures.mlflow_enforces_the_signature", predictor=predictor)


@passing("signatures.mlflow_enforces_the_signature")
def test_a_model_that_checks_its_rows(session: LocalSession) -> list[Finding]:
    signature = read_signature(served_model(session).mlmodel)
    assert signature is not None
    predictor = session.client("predictor")

    def try_predict(rows: Rows) -> Any:
        if problems := check_rows(signature, rows):
            return {"predictions": None, "type": "MlflowException", "error": "; ".join(problems)}
        return predictor.try_predict(rows)

    return findings(
        session, "signatures.mlflow_enforces_the_signature", predictor=Instead(predictor, try_predict=try_predict)
    )


# requests that disregard the signature: MLServer itself is the failing example, and what the remedy says the passing one


def validating(session: LocalSession, *, wordless: bool = False) -> Instead:
    """A gateway in front of the runtime that answers requests against the signature with 400, and passes on the others."""
    serving = session.client("serving")
    signature = read_signature(served_model(session).mlmodel)
    assert signature is not None

    def infer(request: Mapping[str, Any]) -> HttpExchange:
        columns = {tensor["name"]: tensor["data"] for tensor in request["inputs"]}
        if len({len(data) for data in columns.values()}) > 1:
            problems = ["the columns have different lengths"]
        else:
            rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
            problems = check_rows(signature, rows)
        if not problems:
            exchange: HttpExchange = serving.infer(request)
            return exchange
        body = None if wordless else {"error": "; ".join(problems)}
        return HttpExchange(method="POST", url="", request=request, status=400, body=body, seconds=0.0)

    return Instead(serving, infer=infer)


@failing("signatures.missing_column_is_rejected", because="HTTP 500")
def test_mlserver_and_missing_column(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.missing_column_is_rejected")


@passing("signatures.missing_column_is_rejected")
def test_a_gateway_and_missing_column(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.missing_column_is_rejected", serving=validating(session))


@failing(
    "signatures.missing_column_is_rejected", because="HTTP 400 to a request without the column 'age', without a reason"
)
def test_a_gateway_that_does_not_say_why(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.missing_column_is_rejected", serving=validating(session, wordless=True))


@failing("signatures.missing_column_is_rejected", because="silently answered")
def test_a_gateway_that_fills_up_what_is_missing(session: LocalSession) -> list[Finding]:
    serving = session.client("serving")

    def infer(request: Mapping[str, Any]) -> HttpExchange:
        age = dict(request["inputs"][-1], name="age")
        exchange: HttpExchange = serving.infer({**request, "inputs": [age, *request["inputs"]]})
        return exchange

    return findings(session, "signatures.missing_column_is_rejected", serving=Instead(serving, infer=infer))


@failing("signatures.mistyped_column_is_rejected", because="HTTP 500")
def test_mlserver_and_text_for_a_number(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.mistyped_column_is_rejected")


@passing("signatures.mistyped_column_is_rejected")
def test_a_gateway_and_text_for_a_number(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.mistyped_column_is_rejected", serving=validating(session))


@failing("signatures.null_in_an_integer_column_is_rejected", because="HTTP 500")
def test_mlserver_and_null_in_an_integer_column(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.null_in_an_integer_column_is_rejected")


@passing("signatures.null_in_an_integer_column_is_rejected")
def test_a_gateway_and_null_in_an_integer_column(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.null_in_an_integer_column_is_rejected", serving=validating(session))


@failing("signatures.wrong_shape_is_rejected", because="HTTP 500")
def test_mlserver_and_columns_of_different_lengths(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.wrong_shape_is_rejected")


@passing("signatures.wrong_shape_is_rejected")
def test_a_gateway_and_columns_of_different_lengths(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.wrong_shape_is_rejected", serving=validating(session))


@failing("signatures.extra_column_changes_nothing", because="silently answered")
def test_a_runtime_whose_answer_depends_on_an_extra_column(session: LocalSession) -> list[Finding]:
    serving = session.client("serving")

    def infer(request: Mapping[str, Any]) -> HttpExchange:
        exchange: HttpExchange = serving.infer(request)
        if any(tensor["name"] == "trivet_extra" for tensor in request["inputs"]):
            (predictions,) = exchange.body["outputs"]
            turned = dict(predictions, data=[1 - value for value in predictions["data"]])
            return replace(exchange, body={**exchange.body, "outputs": [turned]})
        return exchange

    return findings(session, "signatures.extra_column_changes_nothing", serving=Instead(serving, infer=infer))


@passing("signatures.extra_column_changes_nothing")
def test_mlserver_and_an_extra_column(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.extra_column_changes_nothing")


@passing("signatures.extra_column_changes_nothing")
def test_a_gateway_and_an_extra_column(session: LocalSession) -> list[Finding]:
    return findings(session, "signatures.extra_column_changes_nothing", serving=validating(session))
