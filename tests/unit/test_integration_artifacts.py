"""Storage URIs without a server: what a manifest may say, and how a directory on this machine is spelt for the initializer."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import UsageError
from trivet.integration import (
    TrackingApi,
    build_inference_service,
    check_storage_uri,
    resolve_storage_uri,
    uri_scheme,
)

NOBODY = TrackingApi("http://127.0.0.1:9", retries=0)
"""Port 9 (discard): asking it anything is an error, so these tests also prove that nothing is asked."""

NAMED: dict[str, Any] = {"name": "c", "run_id": "1", "pipeline": "p", "model_name": "m", "model_version": "1"}

NAMES = st.text(st.characters(exclude_characters="/\0*?[", exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200
)


def resolve(model: str, artifact_root: str = "") -> str:
    nobody = TrackingApi("http://127.0.0.1:9", artifact_root=artifact_root, retries=0)
    return resolve_storage_uri(model, tracking=nobody)


@pytest.mark.parametrize(
    ("uri", "scheme"),
    [("s3://b/k", "s3"), ("RUNS:/x", "runs"), ("mlflow-artifacts:/1", "mlflow-artifacts"), ("/a:/b", ""), ("C:b", "")],
)
def test_the_scheme_is_what_stands_before_the_first_colon_and_slash(uri: str, scheme: str) -> None:
    assert uri_scheme(uri) == scheme


@pytest.mark.parametrize(
    "uri", ["runs:/abc/model", "models:/m/1", "models:/m@prod", "mlflow-artifacts:/1/a", "dbfs:/x"]
)
def test_mlflow_s_own_schemes_are_never_fetchable(uri: str) -> None:
    (problem,) = check_storage_uri(uri, model_format="sklearn")

    assert not problem.advice
    assert problem.remedy


@pytest.mark.parametrize("name", ["MLmodel", "model.pkl", "model.skops", "conda.yaml"])
def test_a_file_is_not_the_directory_of_an_mlflow_model(name: str) -> None:
    (problem,) = check_storage_uri(f"gs://b/model/{name}")

    assert "gs://b/model/" in problem.remedy
    assert check_storage_uri(f"gs://b/model/{name}", model_format="sklearn") == []


def test_a_missing_slash_is_advice_on_s3_alone() -> None:
    (problem,) = check_storage_uri("s3://b/artifacts/model")

    assert problem.advice
    assert "s3://b/artifacts/model/" in problem.remedy
    assert check_storage_uri("gs://b/artifacts/model") == []


@pytest.mark.parametrize(
    "uri",
    [
        "s3://b/artifacts/model/",
        "gs://b/artifacts/model",
        "pvc://claim/model",
        "hf://meta/llama",
        "oci://registry/model:1",
        "https://account.blob.core.windows.net/c/model?sv=token",
        "https://example.com/model.tar.gz",
        "someones-own://x/y",
        "/mnt/models",
    ],
)
def test_sound_uris_are_not_flagged(uri: str) -> None:
    assert check_storage_uri(uri) == []


@given(NAMES)
def test_every_spelling_of_a_local_directory_leads_to_the_one_the_initializer_reads(name: str) -> None:
    with TemporaryDirectory() as root:
        model = Path(root, name)
        model.mkdir()
        (model / "MLmodel").touch()
        expected = f"file://{model}/"

        for spelling in (f"{model}", f"{model}//", f"file://{model}", f"file://{quote(str(model))}/", f"file:{model}"):
            assert resolve(spelling) == expected
        assert resolve(expected) == expected
        assert Path(expected.removeprefix("file://"), "MLmodel").is_file()


@given(NAMES)
def test_one_level_too_high_or_too_deep_is_refused_and_the_right_one_named(name: str) -> None:
    with TemporaryDirectory() as root:
        model = Path(root, name)
        (model / "data").mkdir(parents=True)
        (model / "MLmodel").touch()

        for wrong in (root, f"{model}/data", f"{model}/MLmodel"):
            with pytest.raises(UsageError) as refusal:
                resolve(f"file://{wrong}")
            assert f"file://{model}/" in refusal.value.remedy


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="?#"), min_size=1).filter(
        lambda t: t.strip("/")
    )
)
def test_a_bucket_s_key_is_taken_as_it_is_spelt(key: str) -> None:
    resolved = resolve(f"s3://bucket/{key}")

    assert resolved == f"s3://bucket/{key}".rstrip("/") + "/"
    assert resolve(resolved) == resolved


def test_a_proxied_uri_is_mapped_to_the_store_behind_the_proxy() -> None:
    root = "s3://bucket/mlflow"

    assert resolve("mlflow-artifacts:/1/r/artifacts/my%20model", root) == "s3://bucket/mlflow/1/r/artifacts/my model/"
    assert (
        resolve("mlflow-artifacts://mlflow:5000/api/2.0/mlflow-artifacts/artifacts/1/m", root + "/")
        == "s3://bucket/mlflow/1/m/"
    )


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        ("mlflow-artifacts:/1/r/artifacts/model", "artifact_root"),
        ("wasbs://c@a.blob.core.chinacloudapi.cn/model", "public cloud"),
        ("https://a.blob.core.chinacloudapi.cn/c/model", "copy the model"),
        ("wasbs://c/model", "https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH"),
        ("gs://", "gs://BUCKET/PATH/"),
        ("gs://bucket", "gs://BUCKET/PATH/"),
        ("s3:///model", "s3://BUCKET/PATH/"),
        ("s3:/bucket/model", "s3://BUCKET/PATH/"),
        ("pvc://", "pvc://CLAIM/PATH/"),
        ("hdfs://", "hdfs://PATH/"),
        ("s3a://bucket/model", "write s3://"),
        ("viewfs://cluster/model", "hdfs://"),
        ("own://bucket/model", "extra_schemes"),
        ("model", "runs:/"),
        ("models://name/1", "models:/NAME/VERSION"),
        ("runs:abc/model", "runs:/RUN_ID/PATH"),
        ("runs:/", "runs:/RUN_ID/PATH"),
        ("runs:/abc/../model", "without these characters"),
        ("s3://bucket/a#b", "without it"),
        ("file:///models/a[1]", "without it"),
    ],
)
def test_what_cannot_be_fetched_is_refused_with_a_remedy(model: str, remedy: str) -> None:
    with pytest.raises(UsageError) as refusal:
        resolve(model)

    assert remedy in refusal.value.remedy


AZURE = {
    "wasbs://c@acc.blob.core.windows.net/mlflow/my model": "https://acc.blob.core.windows.net/c/mlflow/my model/",
    "wasbs://c@acc.blob.core.windows.net/100%25 sure": "https://acc.blob.core.windows.net/c/100%25 sure/",
    "abfss://fs@acc.dfs.core.windows.net/mlflow/my%20model/": "https://acc.blob.core.windows.net/fs/mlflow/my model/",
}


@pytest.mark.parametrize(("uri", "expected"), AZURE.items())
def test_azure_s_own_schemes_become_the_https_of_the_same_files(uri: str, expected: str) -> None:
    assert resolve(uri) == expected
    assert resolve(expected) == expected


def test_a_proxy_before_azure_is_mapped_to_the_https_of_its_container() -> None:
    root = "wasbs://c@acc.blob.core.windows.net/mlflow"

    assert (
        resolve("mlflow-artifacts:/1/m/artifacts", root) == "https://acc.blob.core.windows.net/c/mlflow/1/m/artifacts/"
    )


def test_a_manifest_with_a_uri_of_azure_s_own_schemes_gets_the_https_uri_as_remedy() -> None:
    (problem,) = check_storage_uri("abfss://fs@acc.dfs.core.windows.net/model")

    assert "write https://acc.blob.core.windows.net/fs/model" in problem.remedy


BUILT = (
    "s3://b/k/",
    "gs://b/k/",
    "hdfs://a/k/",
    "pvc://claim/k/",
    "hf://meta/llama",
    "oci://registry/model:1",
    "own://b/k/",
)


@pytest.mark.parametrize("uri", BUILT)
def test_what_resolve_returns_build_accepts(uri: str) -> None:
    extra = ("own",) if uri.startswith("own") else ()
    resolved = resolve_storage_uri(uri, tracking=NOBODY, extra_schemes=extra)
    service = build_inference_service(**NAMED, storage_uri=resolved, extra_schemes=extra)

    assert service["spec"]["predictor"]["model"]["storageUri"] == uri


@pytest.mark.parametrize(
    "uri", ["s3a://b/k", "abfs://c@a.dfs.core.windows.net/k", "adl://a/k", "own://b/k", "s3:///k", "gs://"]
)
def test_what_resolve_refuses_build_refuses(uri: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve(uri)
    with pytest.raises(UsageError) as built:
        build_inference_service(**NAMED, storage_uri=uri)

    assert built.value.message == refused.value.message


def test_what_is_no_directory_of_a_store_is_left_as_it_is() -> None:
    for uri in ("hf://meta/llama", "oci://registry/model:1", "https://example.com/model.tar.gz"):
        assert resolve(uri) == uri
