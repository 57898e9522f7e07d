"""Storage URIs that the storage initializer fetches or not, by their text alone."""

from __future__ import annotations

import pytest

from trivet.contracts.rules.uris import form_problem

REFUSED = {
    "s3://a b": "has white space in it",
    "S3:/models": "has no scheme: write s3://",
    "models": "names a path in the storage initializer's container",
    "/mnt/other": "names a path in the storage initializer's container",
    "s3://": "names no bucket",
    "s3:///a": "names no bucket",
    f"s3://{'a' * 256}/": "is no name of a bucket",
    "gs://": "names no bucket",
    "gs://models": "names no directory",
    "gs://models//": "names no directory",
    "pvc://": "names no claim",
    "pvc://A/b": "'A' in 'pvc://A/b' is no name of a claim",
    "hf://a": "is not hf://<owner>/<model>",
    "hf:///b": "is not hf://<owner>/<model>",
    "hf://a/": "is not hf://<owner>/<model>",
    "hf://a/:rev": "is not hf://<owner>/<model>",
    "hf://a/b/c": "is not hf://<owner>/<model>",
    "oci://": "names no image",
    "oci://A": "'A' in 'oci://A' is no reference of an image",
    "https://": "names no file",
    "https:///a": "names no file",
    "https://host": "names no file",
    "https://host/a/": "names no file",
    "http://host/a/": "names no file",
    "https://host/?b=c": "names no file",
    "https://host/m/a.gz": "decompresses a.gz and stores it as a.gz.tar",
    "https://host/m/a.rar": "does not unpack a.rar",
    "https://host/m/a.7z": "does not unpack a.7z",
    "https://host/m/a.bz2": "does not unpack a.bz2",
    "https://host/m/a.xz": "does not unpack a.xz",
    "https://host/m/a.zst": "does not unpack a.zst",
    "https://me.blob.core.windows.net": "write https://me.blob.core.windows.net/<container>/<directory>",
    "https://me.blob.core.windows.net//a": "names no path in a container",
    "https://me.file.core.windows.net/a/": "write https://me.file.core.windows.net/<share>/<directory>",
    "https://me.z1.blob.storage.azure.net/a": "names no path in a container",
    "https://me.z1.file.storage.azure.net/a": "names no path in a share",
    "hdfs://": "names no path",
    "webhdfs:///": "names no path",
    "file:///": "which holds no models",
    "file:///mnt/models/a": "which holds no models",
    "/mnt/models/a": "which holds no models",
}

FETCHED = (
    *(
        "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint:models/iris/",
        "s3://arn:aws:s3-outposts:eu-west-1:123456789012:outpost:op-1:accesspoint:models/iris/",
    ),
    *("s3://a", "s3://a/b", f"s3://{'a' * 255}", "s3://A_b.c-d/"),
    *("gs://a/b", "pvc://a", "pvc://a/b", "hf://a/b", "hf://a/b:rev", "oci://a", "oci://a/b:c"),
    *(
        "https://host/a",
        "https://host/a?b=/c/",
        "http://host/a.zip",
        "https://host/a.tar.gz",
        "https://host/a.tar.bz2",
        "https://host/a.tar.xz",
        "https://github.com/a/b/blob/main/model.joblib?raw=true",
    ),
    *("https://me.blob.core.windows.net/a/b", "https://me.z12.file.storage.azure.net/a/b.gz", "https://host/a.b/c"),
    *("hdfs://a", "webhdfs://a", "/mnt/models", "/mnt/models/", "own://"),
)


@pytest.mark.parametrize(("uri", "why"), REFUSED.items())
def test_a_uri_that_the_initializer_does_not_fetch(uri: str, why: str) -> None:
    assert why in form_problem(uri)


@pytest.mark.parametrize("uri", FETCHED)
def test_a_uri_that_the_initializer_fetches(uri: str) -> None:
    assert form_problem(uri) == ""
