"""Controls of the contracts over a manifest's storage URI."""

from __future__ import annotations

import pytest
from controls.registry import broken, sound
from controls.twins import findings

from trivet.model.finding import Finding


def manifest(uri: str, model_format: str = "mlflow") -> str:
    return f"""\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: recommendation-classifier}}
spec: {{predictor: {{model: {{modelFormat: {{name: {model_format}}}, storageUri: "{uri}"}}}}}}
"""


@pytest.mark.parametrize(
    "uri", ["runs:/0123/model", "models:/recommendation@champion", "mlflow-artifacts:/1/0123/artifacts/model"]
)
@broken("paths.storage_uri_is_fetchable", because="no storage initializer fetches")
def test_a_uri_that_only_mlflow_understands(uri: str) -> list[Finding]:
    return findings("paths.storage_uri_is_fetchable", manifest(uri))


@broken("paths.storage_uri_is_fetchable", because="names a file")
def test_a_uri_of_a_file() -> list[Finding]:
    return findings("paths.storage_uri_is_fetchable", manifest("s3://models/1/0123/artifacts/model/MLmodel"))


@broken("paths.storage_uri_is_fetchable", because="fetches ftp://")
def test_a_scheme_that_no_storage_container_has() -> list[Finding]:
    return findings("paths.storage_uri_is_fetchable", manifest("ftp://models/1/model/"))


@pytest.mark.parametrize("name", ["2024.11", "current"])
@pytest.mark.parametrize(
    ("uri", "model_format"),
    [
        ("s3://models/1/models/m-0123/artifacts/", "mlflow"),
        ("gs://models/1/0123/artifacts/model", "mlflow"),
        ("https://account.blob.core.windows.net/models/model/", "mlflow"),
        ("pvc://claim/model/", "mlflow"),
        ("/mnt/models", "mlflow"),
        ("https://example.com/model.joblib", "sklearn"),
        ("gs://kfserving-examples/models/torchserve/image_classifier/v1", "pytorch"),
        ("hf://bigscience/bloom-560m", "huggingface"),
    ],
)
@sound("paths.storage_uri_is_fetchable")
def test_uris_that_are_fetched(uri: str, model_format: str, name: str) -> list[Finding]:
    return findings("paths.storage_uri_is_fetchable", manifest(uri, model_format), name)


@broken("paths.storage_uri_ends_with_slash", because='does not end in "/"')
def test_an_s3_prefix_without_slash() -> list[Finding]:
    return findings("paths.storage_uri_ends_with_slash", manifest("s3://models/1/0123/artifacts/model"))


@sound("paths.storage_uri_ends_with_slash")
def test_an_s3_prefix_with_slash() -> list[Finding]:
    return findings("paths.storage_uri_ends_with_slash", manifest("s3://models/1/0123/artifacts/model/"))


HEAD = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: custom}
spec:
  predictor:
"""
LISTED = HEAD + "    storageUris:\n    - mountPath: /mnt/models\n      uri: URI\n"
IN_ENV = HEAD + "    containers:\n    - image: example/custom:1\n      env: [{name: STORAGE_URI, value: 'URI'}]\n"


@pytest.mark.parametrize("text", [LISTED, IN_ENV])
@broken("paths.storage_uri_is_fetchable", because="no storage initializer fetches")
def test_a_uri_outside_the_model_that_only_mlflow_understands(text: str) -> list[Finding]:
    found = findings(
        "paths.storage_uri_is_fetchable", text.replace("URI\n", "runs:/0/model\n").replace("'URI'", "runs:/0/model")
    )
    assert [finding.location and finding.location.line for finding in found] == [8]
    return found


@pytest.mark.parametrize("text", [LISTED, IN_ENV])
@sound("paths.storage_uri_is_fetchable")
def test_a_uri_outside_the_model_that_is_fetched(text: str) -> list[Finding]:
    return findings(
        "paths.storage_uri_is_fetchable", text.replace("uri: URI", "uri: s3://m/a/").replace("'URI'", "s3://m/a/")
    )
