"""Forms of storage URIs that KServe admits by their scheme and its storage initializer cannot fetch.

Read at ``python/kserve/kserve/storage/storage.py`` of KServe 0.14.1 and ``python/storage/kserve_storage/kserve_storage.py`` of 0.20.0, and
the pod mutator's ``parsePvcURI``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from trivet.contracts.rules.names import image_problem, subdomain_problem

MODEL_MOUNT = "/mnt/models"

_WHITE_SPACE = re.compile(r"\s")
_BUCKET = re.compile(r"[a-zA-Z0-9.\-_]{1,255}")  # botocore handlers.py, VALID_BUCKET
_ACCESS_POINT = re.compile(  # botocore handlers.py, VALID_S3_ARN; with '/' for ':' the initializer would take the name for a directory
    r"arn:aws[^/]*:(s3|s3-object-lambda):[a-z\-0-9]*:[0-9]{12}:accesspoint:[a-zA-Z0-9\-.]{1,63}"
    r"|arn:aws[^/]*:s3-outposts:[a-z\-0-9]+:[0-9]{12}:outpost:[a-zA-Z0-9\-]{1,63}:accesspoint:[a-zA-Z0-9\-]{1,63}"
)
_AZURE = re.compile(
    r"https://(.+?)\.((blob|file)\.core\.windows\.net|z[0-9]{1,2}\.(blob|file)\.storage\.azure\.net)(/|$)"
)
_AZURE_WITHOUT_ZONES = re.compile(r"https://(.+?)\.((blob|file)\.core\.windows\.net)(/|$)")
_PACKED = (".rar", ".7z", ".bz2", ".xz", ".zst")
_UNPACKED = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def form_problem(uri: str, *, azure_zones: bool = True) -> str:
    """Why the storage initializer cannot fetch ``uri``, by its text alone; empty if the text shows nothing.

    ``azure_zones`` is whether it knows Azure's hosts with zones, as it does since KServe 0.14 (storage.py, _AZURE_BLOB_RE).
    """
    if _WHITE_SPACE.search(uri):
        return f"{uri!r} has white space in it"
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return _without_scheme(uri)
    if not azure_zones and scheme in ("http", "https"):
        return _https(uri, rest, _AZURE_WITHOUT_ZONES)
    check = _FORMS.get(scheme)
    return check(uri, rest) if check else ""


def _without_scheme(uri: str) -> str:
    if found := re.match(r"([a-zA-Z][a-zA-Z0-9+]*):/*", uri):
        return f"{uri!r} has no scheme: write {found[1].lower()}://"
    if uri.rstrip("/") == MODEL_MOUNT:
        return ""
    return _local(uri, "")


def _local(uri: str, rest: str) -> str:
    return f"{uri!r} names a path in the storage initializer's container, which holds no models: write a scheme such as s3:// or pvc://"


def _s3(uri: str, rest: str) -> str:
    bucket = rest.partition("/")[0]
    if not bucket:
        return f"{uri!r} names no bucket"
    fits = _BUCKET.fullmatch(bucket) or _ACCESS_POINT.fullmatch(bucket)
    return "" if fits else f"{bucket!r} in {uri!r} is no name of a bucket"


def _gs(uri: str, rest: str) -> str:
    bucket, _, directory = rest.partition("/")
    if not bucket:
        return f"{uri!r} names no bucket"
    return (
        ""
        if directory.strip("/")
        else f"{uri!r} names no directory, and the initializer does not fetch a whole bucket from gs://"
    )


def _pvc(uri: str, rest: str) -> str:
    claim = rest.partition("/")[0]
    if not claim:
        return f"{uri!r} names no claim: write pvc://<claim>/<directory>"
    why = subdomain_problem(claim)
    return f"{claim!r} in {uri!r} is no name of a claim: {why}" if why else ""


def _hf(uri: str, rest: str) -> str:
    parts = rest.split("/")
    if len(parts) != 2 or not parts[0] or not parts[1].partition(":")[0]:
        return f"{uri!r} is not hf://<owner>/<model>, with :<revision> at most: the initializer takes exactly one '/'"
    return ""


def _oci(uri: str, rest: str) -> str:
    if not rest:
        return f"{uri!r} names no image"
    why = image_problem(rest)
    return f"{rest!r} in {uri!r} is no reference of an image: {why}" if why else ""


def _https(uri: str, rest: str, of_azure: re.Pattern[str] = _AZURE) -> str:
    try:
        _, _, path, query, _ = urlsplit(uri)
    except ValueError as error:
        return f"{uri!r} is no URL: {error}"
    if azure := of_azure.match(uri):
        prefix = path.lstrip("/").partition("/")[2]
        if not prefix:
            kind = "share" if "file" in azure[2] else "container"
            return f"{uri!r} names no path in a {kind}: write https://{azure[1]}.{azure[2]}/<{kind}>/<directory>"
        return ""
    raw = "raw=true" in query.split("&")  # GitHub redirects a page with it to the file
    if not raw and (why := _page(rest.partition("/")[0].lower(), path)):
        return f"{uri!r} is {why}"
    if not rest.partition("/")[0] or not path.rpartition("/")[2]:
        return f"{uri!r} names no file: over HTTP the initializer fetches one file, not a directory"
    if path.endswith(".gz") and not path.endswith(_UNPACKED):
        name = path.rpartition("/")[2]
        return f"the initializer decompresses {name} and stores it as {name}.tar: use the file itself, or .zip, .tar, .tar.gz or .tgz"
    if path.endswith(_PACKED) and not path.endswith(_UNPACKED):
        return f"the initializer does not unpack {path.rpartition('/')[2]}: it unpacks .zip, .tar, .tar.gz and .tgz"
    return ""


_PAGES: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "huggingface.co": ("a page of the Hugging Face Hub", "hf://<owner>/<model>", ("resolve",)),
    "github.com": ("a page of GitHub", "the address of the raw file", ("raw", "releases", "archive")),
    "console.aws.amazon.com": ("a page of the AWS console", "s3://<bucket>/<directory>/", ()),
    "console.cloud.google.com": ("a page of the Google Cloud console", "gs://<bucket>/<directory>/", ()),
}
"""Host → what it shows in a browser, what to write for it, and the parts of paths below which it has files."""


def _page(host: str, path: str) -> str:
    for name, (page, instead, files) in _PAGES.items():
        if (host == name or host.endswith(f".{name}")) and not set(path.split("/")) & set(files):
            return f"{page}, which the initializer would take for the model: write {instead}"
    return ""


def _any_path(uri: str, rest: str) -> str:
    return "" if rest.strip("/") else f"{uri!r} names no path"


_FORMS: Mapping[str, Callable[[str, str], str]] = {
    "s3": _s3,
    "gs": _gs,
    "pvc": _pvc,
    "hf": _hf,
    "oci": _oci,
    "https": _https,
    "http": _https,
    "hdfs": _any_path,
    "webhdfs": _any_path,
    "file": _local,
}
