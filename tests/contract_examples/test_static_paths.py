"""Examples of the contracts over a manifest's storage URI."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from contract_examples.registry import failing, inconclusive, not_applicable, passing
from contract_examples.static import findings, stack

from trivet.model.finding import Finding, Replacement
from trivet.model.platform_config import PlatformConfig
from trivet.model.stack import Stack

HEAD = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: recommendation-classifier}
spec:
"""


def manifest(uri: str, model_format: str = "mlflow") -> str:
    return (
        HEAD
        + f"""\
  predictor:
    model:
      modelFormat: {{name: {model_format}}}
      storageUri: {uri!r}
"""
    )


FRAMEWORK = HEAD + "  predictor:\n    sklearn:\n      storageUri: 'URI'\n"
LISTED = (
    HEAD
    + """\
  predictor:
    model: {modelFormat: {name: mlflow}}
    storageUris:
    - mountPath: /mnt/models
      uri: 'URI'
"""
)
IN_ENV = (
    HEAD
    + """\
  predictor:
    containers:
    - image: example/custom:1
      env:
      - name: ANOTHER_URI
        value: runs:/0/another
      - name: STORAGE_URI
        value: 'URI'
"""
)
MANIFESTS = [manifest("URI"), FRAMEWORK, LISTED, IN_ENV]
"""Every place in which a predictor names a storage URI."""

# storage_uri_is_fetchable


@pytest.mark.parametrize(
    "uri", ["runs:/0123/model", "models:/recommendation@champion", "mlflow-artifacts:/1/0123/artifacts/model"]
)
@failing("paths.storage_uri_is_fetchable", because="no storage initializer fetches", at="storageUri: ")
def test_a_uri_that_only_mlflow_understands(uri: str) -> list[Finding]:
    found = findings("paths.storage_uri_is_fetchable", manifest(uri))
    assert len(found) == 1
    return found


@failing("paths.storage_uri_is_fetchable", because="names a file", at="storageUri: ")
def test_a_uri_of_a_file() -> list[Finding]:
    return findings("paths.storage_uri_is_fetchable", manifest("s3://models/1/0123/artifacts/model/MLmodel"))


@failing("paths.storage_uri_is_fetchable", because="names a file", at="uri: ")
def test_a_listed_uri_of_a_file() -> list[Finding]:
    return findings("paths.storage_uri_is_fetchable", LISTED.replace("URI", "s3://models/1/model/MLmodel"))


@failing("paths.storage_uri_is_fetchable", because="fetches ftp://", at="storageUri: ")
def test_a_scheme_that_no_storage_container_has() -> list[Finding]:
    return findings("paths.storage_uri_is_fetchable", manifest("ftp://models/1/model/"))


@pytest.mark.parametrize(
    ("uri", "because"),
    [
        ("s3:/models/iris", "has no scheme: write s3://"),
        ("models/iris", "names a path in the storage initializer's container"),
        ("/models/iris", "names a path in the storage initializer's container"),
        ("s3://models/my iris/", "has white space in it"),
        ("s3:///iris/", "names no bucket"),
        ("s3://my%20models/iris/", "'my%20models' in"),
        ("gs:///iris/", "names no bucket"),
        ("gs://models", "does not fetch a whole bucket from gs://"),
        ("pvc:///iris", "names no claim: write pvc://<claim>/<directory>"),
        ("pvc://My_Claim/iris", "'My_Claim' in 'pvc://My_Claim/iris' is no name of a claim"),
        ("hf://bloom", "is not hf://<owner>/<model>"),
        ("hf://a/b/c", "is not hf://<owner>/<model>"),
        ("oci://", "names no image"),
        ("oci://Example/Model", "is no reference of an image: a repository is in lower case"),
        ("https://example.com/model.json.gz", "decompresses model.json.gz and stores it as model.json.gz.tar"),
        ("s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/models/iris/", "is no name of a bucket"),
        ("https://account.blob.core.windows.net/models", "names no path in a container"),
        ("https://account.file.core.windows.net/models", "names no path in a share"),
        ("https://example.com/models/", "names no file: over HTTP"),
        ("https://example.com/model.rar", "does not unpack model.rar"),
        ("hdfs://", "names no path"),
    ],
)  # fmt: skip
def test_a_form_that_the_initializer_refuses(uri: str, because: str) -> None:
    @failing("paths.storage_uri_is_fetchable", because=because, at="storageUri: ")
    def example() -> list[Finding]:
        found = findings("paths.storage_uri_is_fetchable", manifest(uri, "sklearn"))
        assert len(found) == 1
        return found

    example()


@failing("paths.storage_uri_is_fetchable", because="which holds no models", at="storageUri: ")
def test_a_path_of_a_machine_in_a_cluster() -> list[Finding]:
    return findings("paths.storage_uri_is_fetchable", manifest("file:///models/1/"))


@passing("paths.storage_uri_is_fetchable")
def test_a_path_of_the_machine_on_which_the_initializer_runs() -> list[Finding]:
    local = PlatformConfig(fetches_local_files=True)
    return findings("paths.storage_uri_is_fetchable", manifest("file:///models/1/"), platform=local)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://models",
        "gs://models/iris",
        "pvc://claim",
        "hf://owner/model:rev",
        "oci://example.com:5000/model:1",
        "https://account.blob.core.windows.net/models/iris",
        "https://example.com/model.tar.gz",
        "oci://Example.com/model@sha512:" + "0" * 128,
        "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint:models/iris/",
        "s3://arn:aws:s3-outposts:eu-west-1:123456789012:outpost:op-1:accesspoint:models/iris/",
        "https://example.com/model.joblib?token=a",
        "hdfs://models/iris",
    ],
)
@passing("paths.storage_uri_is_fetchable")
def test_a_form_that_the_initializer_fetches(uri: str) -> list[Finding]:
    return findings("paths.storage_uri_is_fetchable", manifest(uri, "sklearn"))


@pytest.mark.parametrize("form", ["prefix: 'registry://'", "regex: '^registry://.+'", "regex: '^[a-z]+[:]/{2}'"])
@passing(
    "paths.storage_uri_is_fetchable", because="the ClusterStorageContainer registry fetches registry://models/iris"
)
def test_a_scheme_of_a_storage_container_among_the_paths(form: str) -> list[Finding]:
    container = f"""\
---
apiVersion: serving.kserve.io/v1alpha1
kind: ClusterStorageContainer
metadata: {{name: registry}}
spec: {{supportedUriFormats: [{{{form}}}]}}
"""
    return findings("paths.storage_uri_is_fetchable", manifest("registry://models/iris") + container)


def of_container(expression: str) -> str:
    return f"""\
---
apiVersion: serving.kserve.io/v1alpha1
kind: ClusterStorageContainer
metadata: {{name: registry}}
spec: {{supportedUriFormats: [{{regex: '{expression}'}}]}}
"""


OTHERS = pytest.mark.parametrize(
    "changed",
    [
        "disabled: true",
        "spec: {workloadType: localModelDownloadJob, supportedUriFormats: [{prefix: 'registry://'}]}",
        "spec: {workloadType: '', supportedUriFormats: [{prefix: 'registry://'}]}",
    ],
)


@OTHERS
@failing("paths.storage_uri_is_fetchable", because="no storage container of KServe 0.14.1 fetches registry://")
def test_a_storage_container_that_is_no_init_container(changed: str) -> list[Finding]:
    text = manifest("registry://models/iris") + of_container("^registry://")
    return findings("paths.storage_uri_is_fetchable", with_line(text, changed))


@pytest.mark.parametrize(
    ("changed", "under"),
    [
        ("disabled: false", "2024.11"),
        ("spec: {workloadType: initContainer, supportedUriFormats: [{prefix: 'registry://'}]}", "2024.11"),
        ("spec: {workloadType: null, supportedUriFormats: [{prefix: 'registry://'}]}", "2024.11"),
        ("spec: {workloadType: localModelDownloadJob, supportedUriFormats: [{prefix: 'registry://'}]}", "2024.08"),
    ],
)
@passing("paths.storage_uri_is_fetchable", because="the ClusterStorageContainer registry fetches registry://")
def test_a_storage_container_that_is_an_init_container(changed: str, under: str) -> list[Finding]:
    text = manifest("registry://models/iris") + of_container("^registry://")
    return findings("paths.storage_uri_is_fetchable", with_line(text, changed), under)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (
            "spec: {workloadType: '{{ workload }}', supportedUriFormats: [{prefix: 'registry://'}]}",
            "whose workloadType is '{{ workload }}': it has a placeholder",
        ),
        ("disabled: '${DISABLED}'", "whose disabled is '${DISABLED}': it has a placeholder"),
    ],
)
def test_a_storage_container_that_may_be_an_init_container(changed: str, why: str) -> None:
    @inconclusive("paths.storage_uri_is_fetchable", because=f"registry may fetch registry://models/iris, {why}")
    def example() -> list[Finding]:
        text = manifest("registry://models/iris") + of_container("^registry://")
        found = findings("paths.storage_uri_is_fetchable", with_line(text, changed))
        assert len(found) == 1
        return found

    example()


@failing("paths.storage_uri_is_fetchable", because="no storage container of KServe 0.14.1 fetches registry://")
def test_a_storage_container_that_may_be_an_init_container_for_others() -> list[Finding]:
    text = manifest("registry://models/iris") + of_container("^other://")
    changed = "spec: {workloadType: '{{ workload }}', supportedUriFormats: [{prefix: 'other://'}]}"
    return findings("paths.storage_uri_is_fetchable", with_line(text, changed))


def with_line(text: str, line: str) -> str:
    """A document with one more field, in place of the last line if that has the field."""
    before, _, last = text.rstrip("\n").rpartition("\n")
    same = last.partition(":")[0] == line.partition(":")[0]
    return f"{before}\n{line}\n" if same else f"{text}{line}\n"


@pytest.mark.parametrize("under", ["2024.11", "current"])
@failing("paths.storage_uri_is_fetchable", because="names no path in a container")
def test_a_zone_of_azure_since_kserve_0_14(under: str) -> list[Finding]:
    return findings(
        "paths.storage_uri_is_fetchable", manifest("https://me.z01.blob.storage.azure.net/a", "sklearn"), under
    )


@passing("paths.storage_uri_is_fetchable")
def test_a_zone_of_azure_is_any_host_before_kserve_0_14() -> list[Finding]:
    uri = "https://me.z01.blob.storage.azure.net/a"
    return findings("paths.storage_uri_is_fetchable", manifest(uri, "sklearn"), "2024.08")


@failing("paths.storage_uri_is_fetchable", because="no storage container of KServe")
def test_an_expression_that_keeps_a_backtracking_engine_busy() -> list[Finding]:
    uri = f"registry://{'a' * 200}!"
    return findings("paths.storage_uri_is_fetchable", manifest(uri) + of_container("(a+)+$"))


@inconclusive(
    "paths.storage_uri_is_fetchable", because="registry may fetch registry://models/iris, by the regular expression"
)
def test_an_expression_that_only_go_reads() -> list[Finding]:
    text = manifest("registry://models/iris") + of_container(r"\Qregistry://\E")
    found = findings("paths.storage_uri_is_fetchable", text)
    assert len(found) == 1
    return found


@pytest.mark.parametrize(
    "form", ["prefix: 5", "prefix: ''", "prefix: 'other://'", "prefix: 'other://', regex: '^registry://'", "regex: 5"]
)
@failing("paths.storage_uri_is_fetchable", because="no storage container of KServe")
def test_a_storage_container_of_other_uris(form: str) -> list[Finding]:
    """KServe reads the expression only where there is no prefix."""
    container = of_container("").replace("regex: ''", form)
    return findings("paths.storage_uri_is_fetchable", manifest("registry://models/iris") + container)


@failing("paths.storage_uri_is_fetchable", because="no storage container of KServe")
def test_only_storage_containers_fetch() -> list[Finding]:
    runtime = of_container("^registry://").replace("ClusterStorageContainer", "ClusterServingRuntime")
    return findings("paths.storage_uri_is_fetchable", manifest("registry://models/iris") + runtime)


@failing("paths.storage_uri_is_fetchable", because="no storage container of KServe")
def test_an_expression_that_go_refuses() -> list[Finding]:
    return findings("paths.storage_uri_is_fetchable", manifest("registry://models/iris") + of_container("registry(.+"))


@failing("paths.storage_uri_is_fetchable", because="no storage initializer fetches")
def test_one_fault_is_reported_once() -> list[Finding]:
    found = findings("paths.storage_uri_is_fetchable", manifest("models://recommendation/3"))
    assert len(found) == 1
    return found


@pytest.mark.parametrize("text", MANIFESTS)
@failing("paths.storage_uri_is_fetchable", because="(ftp://models/1/model/)", at=" 'ftp://models/1/model/'")
def test_a_uri_in_every_place(text: str) -> list[Finding]:
    return findings("paths.storage_uri_is_fetchable", text.replace("URI'", "ftp://models/1/model/'"))


@pytest.mark.parametrize("component", ["transformer", "explainer"])
@failing("paths.storage_uri_is_fetchable", because="fetches ftp://", at="value: 'ftp://models/1/'")
def test_a_uri_of_another_component(component: str) -> list[Finding]:
    text = IN_ENV.replace("predictor", component).replace("'URI'", "'ftp://models/1/'")
    return findings("paths.storage_uri_is_fetchable", text)


@pytest.mark.parametrize("name", ["2024.11", "current"])
@pytest.mark.parametrize(
    ("uri", "model_format"),
    [
        ("s3://models/1/models/m-0123/artifacts/", "mlflow"),
        ("s3://models/1/0123/artifacts/model", "mlflow"),
        ("gs://models/1/0123/artifacts/model", "mlflow"),
        ("https://account.blob.core.windows.net/models/model/", "mlflow"),
        ("pvc://claim/model/", "mlflow"),
        ("/mnt/models", "mlflow"),
        ("https://example.com/model.joblib", "sklearn"),
        ("gs://kfserving-examples/models/torchserve/image_classifier/v1", "pytorch"),
        ("hf://bigscience/bloom-560m", "huggingface"),
    ],
)
@passing("paths.storage_uri_is_fetchable")
def test_uris_that_are_fetched(uri: str, model_format: str, name: str) -> list[Finding]:
    return findings("paths.storage_uri_is_fetchable", manifest(uri, model_format), name)


@pytest.mark.parametrize("text", MANIFESTS)
@passing("paths.storage_uri_is_fetchable", because="fetches s3://m/a/", at="'s3://m/a/'")
def test_a_uri_that_is_fetched_in_every_place(text: str) -> list[Finding]:
    return findings("paths.storage_uri_is_fetchable", text.replace("URI'", "s3://m/a/'"))


def storing(**storage: Any) -> Stack:
    """2024.11 on a cluster with another ClusterStorageContainer."""
    whole = stack("2024.11")
    serving = whole.settings["serving"]
    return replace(
        whole,
        settings={**whole.settings, "serving": {**serving, "storage": {**serving["storage"], **storage}}},
    )


@pytest.mark.parametrize("storage", [{"prefixes": ["ftp://"]}, {"expressions": ["^no$", "^ftp://models/"]}])
@passing("paths.storage_uri_is_fetchable")
def test_a_scheme_of_a_storage_container_of_ones_own(storage: dict[str, list[str]]) -> list[Finding]:
    return findings("paths.storage_uri_is_fetchable", manifest("ftp://models/1/model/"), storing(**storage))


TEMPLATES = pytest.mark.parametrize(
    "uri",
    [
        "s3://{{ bucket }}/model/",
        "s3://{{.Bucket}}/model/",
        "runs:/${RUN}/model",
        "s3://$(BUCKET)/model/",
        "$(params.uri)",
        "$URI",
        "${URI:-s3://models}/model",
    ],
)


@TEMPLATES
@inconclusive("paths.storage_uri_is_fetchable", because="has a placeholder", at="storageUri: ")
def test_a_placeholder(uri: str) -> list[Finding]:
    found = findings("paths.storage_uri_is_fetchable", manifest(uri))
    assert len(found) == 1
    return found


NONE = [
    HEAD + "  predictor:\n    model:\n      storageUri: ''\n",
    HEAD + "  predictor:\n    model:\n      storageUri: 5\n",
    HEAD + "  predictor:\n    minReplicas: 1\n    storageUris:\n    - mountPath: /mnt/models\n",
    LISTED.replace("URI", ""),
    IN_ENV.replace("'URI'", "''"),
    IN_ENV.replace("'URI'", "5"),
]


@pytest.mark.parametrize("contract", ["storage_uri_is_fetchable", "storage_uri_ends_with_slash"])
@pytest.mark.parametrize("text", NONE)
def test_a_manifest_without_a_uri(contract: str, text: str) -> None:
    @not_applicable(f"paths.{contract}", because="has no storage URI", at="predictor:")
    def example() -> list[Finding]:
        return findings(f"paths.{contract}", text)

    example()


# storage_uri_ends_with_slash


@failing("paths.storage_uri_ends_with_slash", because='does not end in "/"', at="storageUri: ")
def test_an_s3_prefix_without_slash() -> list[Finding]:
    uri = "s3://models/1/0123/artifacts/model"
    found = findings("paths.storage_uri_ends_with_slash", manifest(uri))
    assert [finding.fix for finding in found] == [Replacement(uri, f"{uri}/")]
    return found


@pytest.mark.parametrize("model_format", ["mlflow", "sklearn"])
@passing("paths.storage_uri_ends_with_slash", at="storageUri: ")
def test_an_s3_prefix_with_slash(model_format: str) -> list[Finding]:
    return findings("paths.storage_uri_ends_with_slash", manifest("s3://models/1/0123/artifacts/model/", model_format))


@TEMPLATES
@inconclusive("paths.storage_uri_ends_with_slash", because="has a placeholder", at="storageUri: ")
def test_a_placeholder_that_may_be_an_s3_prefix(uri: str) -> list[Finding]:
    found = findings("paths.storage_uri_ends_with_slash", manifest(uri))
    assert len(found) == 1
    return found


@pytest.mark.parametrize("uri", ["gs://models/1/model", "gs://models/1/model/"])
@not_applicable("paths.storage_uri_ends_with_slash", because="not on S3", at="storageUri: ")
def test_a_uri_that_is_no_s3_prefix(uri: str) -> list[Finding]:
    found = findings("paths.storage_uri_ends_with_slash", manifest(uri))
    assert len(found) == 1
    return found


@pytest.mark.parametrize(
    ("uri", "model_format"), [("s3://models/1/model.joblib", "sklearn"), ("s3://models/1/model/MLmodel", "mlflow")]
)
@not_applicable("paths.storage_uri_ends_with_slash", because="a single file", at="storageUri: ")
def test_an_s3_uri_of_a_file(uri: str, model_format: str) -> list[Finding]:
    return findings("paths.storage_uri_ends_with_slash", manifest(uri, model_format))
