"""Resolves any URI of an MLflow model to the storage URI that KServe's storage initializer can fetch.

A storage URI names the directory that holds ``MLmodel`` and ends in "/". Nothing is downloaded; where the tracking
server knows the location, its artifact listing confirms that ``MLmodel`` exists there.

Encoding. MLflow percent-decodes ``file:`` and ``mlflow-artifacts:`` URIs; KServe's initializer decodes nothing:
``Storage._download_local`` cuts the prefix ``file://`` off and globs the rest (kserve 0.14.1
``kserve/storage/storage.py``, kserve-storage 0.20.0 and 0.21.0 ``kserve_storage/kserve_storage.py``). A ``file://`` URI
returned here therefore holds the literal path, with spaces and percent signs, not an encoded one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trivet.errors import UsageError
from trivet.integration.tracking import Json, TrackingApi, TrackingError, quoted

DIRECTORY_SCHEMES = ("s3", "gs", "hdfs", "webhdfs", "pvc", "file")
"""Schemes of stores with directories that KServe's initializer fetches, besides Azure's, which begin with https."""

OTHER_SCHEMES = ("http", "https", "hf", "oci", "oci+native", "git", "modelscope")
"""Schemes of archives, repositories and images rather than directories of a store."""

_OF_AZURE = re.compile(
    r"(?P<scheme>wasbs|abfss)://(?P<container>[^@/]+)@(?P<account>[^./]+)\.(blob|dfs)\.(?P<cloud>[^/]+)(?P<path>/.*)?",
    re.IGNORECASE,
)
"""Azure's stores as MLflow writes them (mlflow 3.17.2 mlflow/store/artifact/azure_blob_artifact_repo.py and
azure_data_lake_artifact_repo.py)."""
_PUBLIC_CLOUD = "core.windows.net"

_SPELT_OTHERWISE = {
    "s3a": "write s3:// for the same bucket",
    "s3n": "write s3:// for the same bucket",
    "viewfs": "write hdfs:// or webhdfs:// with the path in the file system behind the view",
    "adl": "copy the model to a store that the initializer fetches: Azure Data Lake Storage Gen1 has been retired",
    "abfs": "use the https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH of the same files",
    "wasb": "use the https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH of the same files",
}
"""Schemes of Hadoop's that name stores which the initializer fetches by another one."""

NEVER_FETCHABLE = {
    "runs": "resolve it with trivet.integration.resolve_storage_uri before writing it into a manifest",
    "models": "resolve it with trivet.integration.resolve_storage_uri before writing it into a manifest",
    "mlflow-artifacts": "use the URI of the store behind the tracking server's artifact proxy, its --artifacts-destination",
    "dbfs": "copy the model to a store that the initializer fetches",
    "wasbs": "use the https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH of the same files",
    "abfss": "use the https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH of the same files",
}
"""Schemes of MLflow that no released storage initializer supports, each with a remedy."""

_AZURE = re.compile(r"https://[^/]+\.(blob|file)\.(core\.windows\.net|storage\.azure\.net)/.+")
_OTHER_AZURE = re.compile(
    r"https://[^/]+\.(blob|file|dfs)\.(core\.(chinacloudapi\.cn|usgovcloudapi\.net|cloudapi\.de)|core\.windows\.net)(/|$)"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
_OWNER = re.compile(r".*/(m-[0-9a-f]{32}|[0-9a-f]{32})(/|$)")
_PROXY_API = "api/2.0/mlflow-artifacts/artifacts/"
_MODEL_FILES = re.compile(
    r"MLmodel|.+\.(pkl|skops|joblib|ya?ml|json|txt|pth?|h5|keras|onnx|bin|ubj|cbm)", re.IGNORECASE
)
_MOST_LISTINGS = 200


@dataclass(frozen=True, kw_only=True)
class UriProblem:
    """A problem of a storage URI. ``advice`` is True when the URI works but is fragile."""

    message: str
    remedy: str
    advice: bool = False


def uri_scheme(uri: str) -> str:
    """The scheme in lower case; empty for a plain path."""
    found = _SCHEME.match(uri)
    return found[1].lower() if found else ""


def check_storage_uri(uri: str, *, model_format: str = "mlflow") -> list[UriProblem]:
    """The problems of a manifest's ``storageUri`` that its text alone shows.

    Unknown schemes pass: a ClusterStorageContainer may add them. Only for MLflow models is a URI of a file a problem,
    because other formats are served from single files.
    """
    scheme = uri_scheme(uri)
    if scheme in NEVER_FETCHABLE:
        written = _azure_as_https(uri)
        remedy = f"write {written}" if written else NEVER_FETCHABLE[scheme]
        return [UriProblem(message=f"no storage initializer fetches {scheme}: URIs ({uri!r})", remedy=remedy)]
    if model_format != "mlflow" or not _is_directory_store(uri):
        return []
    problems = []
    last = uri.rpartition("/")[2]
    if _MODEL_FILES.fullmatch(last):
        problems.append(
            UriProblem(
                message=f"{uri!r} names a file, not the directory that holds MLmodel",
                remedy=f"end the URI with the directory: {uri.removesuffix(last)}",
            )
        )
    elif last and scheme == "s3":
        problems.append(
            UriProblem(
                message=f'{uri!r} does not end in "/": siblings such as {last}_v2 are fetched too, '
                f"and KServe 0.11 to 0.14 moves files whose names begin with {last!r} out of their directory",
                remedy=f"write {uri}/",
                advice=True,
            )
        )
    problems += [UriProblem(message=text, remedy=remedy) for text, remedy in _misread(uri)]
    return problems


def require_storage_uri(uri: str, extra_schemes: Collection[str] = ()) -> None:
    """Raise UsageError unless ``uri`` is one that :func:`resolve_storage_uri` could have returned, or a path in the container.

    ``extra_schemes`` are those that ClusterStorageContainers of the platform add.
    """
    if not isinstance(uri, str) or not uri:
        raise UsageError(f"the storage URI is {uri!r}", remedy="pass what resolve_storage_uri returns")
    for problem in check_storage_uri(uri):
        if not problem.advice:
            raise UsageError(problem.message, remedy=problem.remedy)
    scheme = uri_scheme(uri)
    if scheme in {extra.lower() for extra in extra_schemes}:
        return
    if scheme and scheme not in DIRECTORY_SCHEMES + OTHER_SCHEMES:
        raise _not_fetched(uri)
    for text, remedy in _incomplete(uri):
        raise UsageError(text, remedy=remedy)


def resolve_storage_uri(model: str, *, tracking: TrackingApi, extra_schemes: Collection[str] = ()) -> str:
    """The storage URI of an MLflow model, for the ``storageUri`` of an InferenceService.

    ``model`` is ``runs:/RUN_ID/PATH``, ``models:/NAME/VERSION``, ``models:/NAME@ALIAS``, ``models:/NAME/latest`` (or
    a stage), ``models:/m-ID`` (MLflow 3), MLflow's download URI, or the URI or absolute path of the directory itself.
    When the server proxies artifacts, ``tracking`` needs its ``artifact_root``. ``extra_schemes`` are those that ClusterStorageContainers
    of the platform add, such as ``s3a``. Azure's ``wasbs:`` and ``abfss:`` become the ``https:`` of the same files, which KServe fetches.

    Raises UsageError when the URI does not resolve to a directory with ``MLmodel`` (the remedy lists those that exist)
    or to a store that the storage initializer can fetch from, and TrackingError when the server cannot answer.
    """
    resolver = _Resolver(tracking, extra_schemes)
    scheme = uri_scheme(model)
    if scheme == "runs":
        return resolver.run(model)
    if scheme == "models":
        return resolver.registered(model)
    if model.startswith(("runs:", "models:")):
        raise _misspelt(model)
    return resolver.direct(model, model)


@dataclass(frozen=True)
class _Tree:
    """A run's or a logged model's artifacts, as the tracking server lists them."""

    root: str
    listing: Callable[[str], Iterable[Json]]
    run: Json | None = None

    def holds_model(self, path: str) -> bool:
        """Whether ``MLmodel`` is in the directory ``path``, as far as the server can list it."""
        wanted = f"{path}/MLmodel" if path else "MLmodel"
        if unquote(path) == path:
            return any(entry["path"] == wanted for entry in self._entries(path))
        # The server would decode the escapes in ``path``, so only the listing of its parent can confirm it.
        parent = path.rpartition("/")[0]
        return any(entry["path"] == path and entry.get("is_dir") for entry in self._entries(parent))

    def model_directories(self) -> list[str]:
        """Every directory that holds ``MLmodel``, within a bounded number of listings."""
        found: list[str] = []
        queue = [""]
        for listed, path in enumerate(queue):
            if listed == _MOST_LISTINGS:
                break
            for entry in self._entries(path):
                if entry.get("is_dir"):
                    queue.append(entry["path"])
                elif entry["path"].rpartition("/")[2] == "MLmodel":
                    found.append(path)
        return found

    def _entries(self, path: str) -> Iterable[Json]:
        try:
            return self.listing(path)
        except TrackingError as error:
            if error.status in (400, 404):  # MLflow refuses to list a path with "#" in it, and a file
                return []
            raise


class _Resolver:
    def __init__(self, tracking: TrackingApi, extra_schemes: Collection[str]) -> None:
        self.tracking = tracking
        self.artifact_root = tracking.artifact_root
        self.extra_schemes = frozenset(scheme.lower() for scheme in extra_schemes)

    def run(self, model: str) -> str:
        run_id, _, path = model.partition(":/")[2].strip("/").partition("/")
        if model.startswith("runs://") or not run_id:
            raise _misspelt(model)
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts or any(sign in path for sign in "#?"):
            raise UsageError(
                f'MLflow does not read {model!r} literally: it rejects "..", and "#" and "?" end the path',
                remedy="log the model under a name without these characters",
            )
        tree = self._run_tree(run_id)
        path = "/".join(parts)
        if uri_scheme(tree.root) == "mlflow-artifacts":
            path = unquote(path)  # the client sends it as part of a URL
        if tree.holds_model(path):
            return self._finish(model, tree, path)
        logged = self._logged_models(tree)
        for candidate in logged:
            if candidate["name"] == path and (model_tree := self._logged_tree(candidate)).holds_model(""):
                return self._finish(model, model_tree, "")
        raise self._wrong_place(
            model,
            [f"runs:/{run_id}/{d}" for d in tree.model_directories()] + [f"runs:/{run_id}/{m['name']}" for m in logged],
        )

    def registered(self, model: str) -> str:
        rest = model.partition(":/")[2].strip("/")
        if model.startswith("models://") and not model.startswith("models:///"):
            raise _misspelt(model)
        name, slash, suffix = rest.rpartition("/")
        if not slash and "@" not in rest:
            if not rest:
                raise _misspelt(model)
            return self._logged(model, rest)
        if not slash:
            name, _, alias = rest.rpartition("@")
            version = self._version_by_alias(model, name, alias)
        elif suffix.isdigit():
            version = suffix
        else:
            version = self._latest(model, name, suffix)
        try:
            location = self.tracking.get_download_uri(name, version)
        except TrackingError as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise UsageError(
                f"{model!r}: {name!r} has no version {version}", remedy=f"registered versions: {self._versions(name)}"
            ) from error
        if uri_scheme(location) == "models":
            return self.registered(location)
        return self.direct(model, location)

    def direct(self, model: str, uri: str) -> str:
        """Resolve a URI in a store; ``model`` is what the user wrote, for messages."""
        if _is_other(uri):
            require_storage_uri(uri)
            return uri
        spellings = self._spellings(uri)
        found = _OWNER.match(spellings[0])
        tree = self._tree_of(found[1]) if found else None
        if tree is not None:
            roots = self._roots(tree)
            below = [p[len(root) :].strip("/") for p in spellings for root in roots if f"{p}/".startswith(f"{root}/")]
            for path in below:
                if tree.holds_model(path):
                    return self._finish(model, tree, path)
            if below or any(f"{root}/".startswith(f"{place}/") for place in spellings for root in roots):
                raise self._wrong_place(model, self._places(tree))
        place = next((p for p in spellings if uri_scheme(p) == "file" and _local(p).exists()), spellings[-1])
        self._look_locally(model, place)
        return _finished(place)

    # where things are

    def _spellings(self, uri: str) -> list[str]:
        return _spellings(uri, self.artifact_root, self.extra_schemes)

    def _run_tree(self, run_id: str) -> _Tree:
        info = self.tracking.get_run(run_id)["info"]
        return _Tree(info["artifact_uri"], lambda path: self.tracking.list_artifacts(run_id, path), info)

    def _logged_tree(self, info: Json) -> _Tree:
        model_id = info["model_id"]
        return _Tree(info["artifact_uri"], lambda path: self.tracking.list_logged_model_artifacts(model_id, path))

    def _tree_of(self, identifier: str) -> _Tree | None:
        try:
            if identifier.startswith("m-"):
                return self._logged_tree(self.tracking.get_logged_model(identifier))
            return self._run_tree(identifier)
        except TrackingError as error:
            if error.status == 404:
                return None
            raise

    def _logged_models(self, tree: _Tree) -> list[Json]:
        if tree.run is None:
            return []
        try:
            return self.tracking.search_logged_models(tree.run["experiment_id"], tree.run["run_id"])
        except TrackingError as error:
            if error.status == 404:  # MLflow 2
                return []
            raise

    def _logged(self, model: str, model_id: str) -> str:
        try:
            info = self.tracking.get_logged_model(model_id)
        except TrackingError as error:
            if error.status != 404:
                raise
            raise UsageError(
                f"{self.tracking.uri} has no logged model {model!r} (MLflow 3)",
                remedy="use a registered version, models:/NAME/VERSION or models:/NAME@ALIAS; "
                "MLflow 2 servers have no logged models",
            ) from error
        tree = self._logged_tree(info)
        if tree.holds_model(""):
            return self._finish(model, tree, "")
        raise self._wrong_place(model, [f"{tree.root}/{d}" for d in tree.model_directories()])

    def _version_by_alias(self, model: str, name: str, alias: str) -> str:
        try:
            return str(self.tracking.get_model_version_by_alias(name, alias)["version"])
        except TrackingError as error:
            if error.status not in (400, 404):
                raise
            aliases = self._aliases(name)
            raise UsageError(f"{model!r}: {name!r} has no alias {alias!r}", remedy=f"aliases: {aliases}") from error

    def _latest(self, model: str, name: str, stage: str) -> str:
        versions = self.tracking.search_model_versions(f"name = {quoted(name)}")
        wanted = [v for v in versions if stage.lower() in ("latest", str(v.get("current_stage", "")).lower())]
        if not wanted:
            raise UsageError(
                f"{model!r}: {name!r} has no version in stage {stage!r}",
                remedy=f"registered versions: {self._versions(name)}",
            )
        return str(max(int(version["version"]) for version in wanted))

    def _versions(self, name: str) -> str:
        found = self.tracking.search_model_versions(f"name = {quoted(name)}")
        return ", ".join(sorted((str(version["version"]) for version in found), key=int)) or "none"

    def _aliases(self, name: str) -> str:
        try:
            known = self.tracking.get_registered_model(name).get("aliases", [])
        except TrackingError as error:
            if error.status != 404:
                raise
            return f"none, because there is no registered model {name!r}"
        return ", ".join(f"{a['alias']} (version {a['version']})" for a in known) or "none"

    # the answer

    def _roots(self, tree: _Tree) -> list[str]:
        """The tree's root in the store, as written and decoded; empty behind a proxy without ``artifact_root``."""
        if uri_scheme(tree.root) == "mlflow-artifacts" and not self.artifact_root:
            return []
        return self._spellings(tree.root)

    def _places(self, tree: _Tree) -> list[str]:
        """The storage URIs of every model of a run or logged model."""
        root = self._roots(tree)[-1]
        return [f"{root}/{path}".rstrip("/") + "/" for path in tree.model_directories()] + [
            f"{logged_root}/"
            for info in self._logged_models(tree)
            for logged_root in self._roots(self._logged_tree(info))[-1:]
        ]

    def _finish(self, model: str, tree: _Tree, path: str) -> str:
        root = self._spellings(tree.root)[-1]
        place = f"{root}/{path}" if path else root
        self._look_locally(model, place)
        return _finished(place)

    def _wrong_place(self, model: str, right: list[str]) -> UsageError:
        return UsageError(
            f"{model!r} does not name a directory that holds MLmodel",
            remedy=f"use {' or '.join(dict.fromkeys(right))}"
            if right
            else "the tracking server lists no MLmodel there: log the model first",
        )

    def _look_locally(self, model: str, place: str) -> None:
        """Check a directory on this machine directly: the server may not know or not list it."""
        path = _local(place)
        if uri_scheme(place) != "file" or not path.exists() or (path / "MLmodel").is_file():
            return
        near = [p for p in path.parents if (p / "MLmodel").is_file()][:1]
        near += [found.parent for level in ("*", "*/*", "*/*/*") for found in path.glob(f"{level}/MLmodel")][:5]
        raise self._wrong_place(model, [f"file://{directory}/" for directory in near])


def _spellings(uri: str, artifact_root: str, extra_schemes: Collection[str]) -> list[str]:
    """The locations in the store that a URI of MLflow's may mean, without a trailing slash: as written and, where MLflow
    decodes, decoded (last)."""
    scheme = uri_scheme(uri)
    if scheme == "mlflow-artifacts":
        if not artifact_root:
            raise UsageError(
                f"{uri!r} points to the tracking server's artifact proxy, which no storage initializer fetches from",
                remedy="pass artifact_root to TrackingApi, the URI of the store behind the proxy (the server's --artifacts-destination), "
                "or run the server with --no-serve-artifacts --default-artifact-root s3://…",
            )
        path = unquote(urlsplit(uri).path).strip("/").removeprefix(_PROXY_API)
        return [f"{_spellings(artifact_root, '', extra_schemes)[-1]}/{path}"]
    if scheme in ("", "file"):
        spelt = uri if not scheme else re.sub(r"^file:(//(localhost(?=/))?)?", "", uri, flags=re.IGNORECASE)
        if not spelt.startswith("/"):
            raise UsageError(
                f"{uri!r} is neither a URI nor an absolute path",
                remedy="use runs:/RUN_ID/PATH, models:/NAME/VERSION, models:/NAME@ALIAS, "
                "or a URI of the store such as s3://BUCKET/PATH/",
            )
        spelt = "file://" + spelt.rstrip("/")
        return (
            [spelt] if not scheme else list(dict.fromkeys((spelt, "file://" + unquote(spelt.removeprefix("file://")))))
        )
    if written := _azure_as_https(uri):
        return [written.rstrip("/")]
    if _is_directory_store(uri) or scheme in extra_schemes:
        for text, remedy in _incomplete(uri):
            raise UsageError(text, remedy=remedy)
        return [uri.rstrip("/")]
    raise _not_fetched(uri)


def _azure_as_https(uri: str) -> str:
    """The ``https:`` URI of the files at a ``wasbs:`` or ``abfss:`` URI; empty for another URI, and outside Azure's public cloud.

    MLflow decodes the path of ``abfss:`` and takes that of ``wasbs:`` literally; KServe decodes neither. A storage account with a
    hierarchical namespace (``dfs``) has an endpoint for blobs too, with the same names.
    """
    found = _OF_AZURE.fullmatch(uri)
    if found is None or found["cloud"].lower() != _PUBLIC_CLOUD:
        return ""
    path = found["path"] or "/"
    path = "/" + unquote(path).lstrip("/") if found["scheme"].lower() == "abfss" else path
    return f"https://{found['account']}.blob.{_PUBLIC_CLOUD}/{found['container']}{path}"


def _not_fetched(uri: str) -> UsageError:
    scheme = uri_scheme(uri)
    remedy = NEVER_FETCHABLE.get(scheme) or _SPELT_OTHERWISE.get(scheme)
    if _OF_AZURE.fullmatch(uri):
        remedy = "copy the model to a store that the initializer fetches: of Azure, KServe knows the public cloud only"
    return UsageError(
        f"no storage initializer fetches {scheme}: URIs ({uri!r})",
        remedy=remedy
        or f"use one of: {', '.join(DIRECTORY_SCHEMES)}, or Azure's https; "
        "name the scheme in extra_schemes if a ClusterStorageContainer of the platform adds it",
    )


def _incomplete(uri: str) -> Iterator[tuple[str, str]]:
    """What is missing in a URI of a store: KServe admits it, and its initializer fails or fetches the whole bucket."""
    scheme = uri_scheme(uri)
    store, _, path = uri.partition(":/")[2].removeprefix("/").partition("/")
    if scheme in ("s3", "gs") and (not store or not uri.partition(":")[2].startswith("//")):
        yield f"{uri!r} names no bucket", f"write {scheme}://BUCKET/PATH/"
    elif scheme == "gs" and not path.strip("/"):
        yield f"{uri!r} names no directory in the bucket", "write gs://BUCKET/PATH/"
    elif scheme == "pvc" and not store:
        yield f"{uri!r} names no claim", "write pvc://CLAIM/PATH/"
    elif scheme in ("hdfs", "webhdfs") and not store + path.strip("/"):
        yield f"{uri!r} names no path", f"write {scheme}://PATH/"
    elif _OTHER_AZURE.match(uri) and not _AZURE.match(uri):
        yield (
            f"{uri!r}: KServe fetches from Azure's public cloud only, from .blob.core.windows.net or .file.core.windows.net, "
            "and takes any other https URI for an archive",
            "copy the model to a store that the initializer fetches, or write a ClusterStorageContainer for this one",
        )


def _finished(place: str) -> str:
    for text, remedy in _misread(place):
        raise UsageError(text, remedy=remedy)
    return place + "/"


def _misread(uri: str) -> list[tuple[str, str]]:
    """Characters that the initializer does not read as a part of the path."""
    scheme = uri_scheme(uri)
    signs, meaning = ("*?[", "a glob pattern") if scheme == "file" else ("?#", "the end of the path")
    if scheme in ("gs", "hdfs", "webhdfs", "pvc") or (scheme == "https" and "?" in uri):  # a SAS token follows "?"
        return []
    return [
        (f"{uri!r}: the storage initializer reads {sign!r} as {meaning}", "log the model under a name without it")
        for sign in signs
        if sign in uri
    ]


def _is_directory_store(uri: str) -> bool:
    return uri_scheme(uri) in DIRECTORY_SCHEMES or _AZURE.match(uri) is not None


def _is_other(uri: str) -> bool:
    return uri_scheme(uri) in OTHER_SCHEMES and not _is_directory_store(uri)


def _local(place: str) -> Path:
    return Path(place.removeprefix("file://"))


def _misspelt(model: str) -> UsageError:
    return UsageError(
        f"{model!r} is not a URI of an MLflow model",
        remedy="use runs:/RUN_ID/PATH, models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME/latest or models:/m-ID",
    )
