"""A thin client of MLflow's REST API, for servers of MLflow 2 and 3.

Its methods return MLflow's JSON without the outermost object. It neither logs runs nor downloads artifacts; MLflow's own
client does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trivet.errors import PlatformError, UsageError

if TYPE_CHECKING:
    import requests

Json = Mapping[str, Any]

_API = "/api/2.0/mlflow/"


class TrackingError(PlatformError):
    """The tracking server rejected a request or is not reachable.

    ``status`` is the HTTP status, 0 when there was no answer; ``code`` is MLflow's ``error_code``
    (``RESOURCE_DOES_NOT_EXIST`` …), empty when the answer was not MLflow's.
    """

    def __init__(self, message: str, *, remedy: str = "", status: int = 0, code: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.code = code


class TrackingApi:
    """MLflow's tracking server and registry at ``uri`` (``http://…`` or ``https://…``).

    ``artifact_root`` is the store that the server was started with as ``--artifacts-destination``: where it proxies artifacts, storage URIs
    cannot be resolved without it, and no API returns it.
    ``timeout`` is in seconds for connecting and for each read; a request is tried at most ``retries + 1`` times, with
    pauses of 0, 1, 2 … s, when the server cannot be reached or answers 429, 502, 503 or 504. Credentials come from
    ``MLFLOW_TRACKING_TOKEN``, else from ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``, as for
    MLflow's own client. Every method raises :class:`TrackingError`.
    """

    def __init__(self, uri: str, *, artifact_root: str = "", timeout: float = 10.0, retries: int = 2) -> None:
        if not uri.startswith(("http://", "https://")):
            raise UsageError(
                f"tracking URI {uri!r} is not an HTTP address",
                remedy="pass the http://… or https://… address of an mlflow server; a pipeline step has it in "
                "MLFLOW_TRACKING_URI",
            )
        # Imported here, so that checking signatures or building manifests does not load it.
        import requests
        from requests.adapters import HTTPAdapter, Retry

        self.uri = uri.rstrip("/")
        self.artifact_root = artifact_root
        self._timeout = timeout
        self._session = requests.Session()
        retry = Retry(
            total=retries,
            backoff_factor=0.5,
            status_forcelist=(429, 502, 503, 504),
            allowed_methods=None,
            raise_on_status=False,
            respect_retry_after_header=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))
        if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
            self._session.headers["Authorization"] = f"Bearer {token}"
        elif user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
            self._session.auth = (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", ""))

    def server_version(self) -> str:
        """The version of MLflow that the server runs, as it states at ``/version``."""
        what = f"GET /version at {self.uri}"
        response = self._send("GET", "/version", what)
        text = response.text.strip()
        if response.ok and re.fullmatch(r"\d+(\.\w+)+", text):
            return text
        raise _refusal(what, response, {})

    # runs and artifacts

    def get_experiment_by_name(self, name: str) -> Json:
        """The experiment: ``experiment_id``, ``artifact_location``, ``lifecycle_stage`` …"""
        experiment: Json = self._get("experiments/get-by-name", experiment_name=name)["experiment"]
        return experiment

    def search_runs(self, experiment_id: str, filter_string: str = "", max_results: int = 1000) -> list[Json]:
        """Up to ``max_results`` runs of an experiment, newest first."""
        request = {"experiment_ids": [experiment_id], "filter": filter_string, "max_results": max_results}
        return list(self._post("runs/search", **request).get("runs", []))

    def get_run(self, run_id: str) -> Json:
        """The run: ``info`` (``artifact_uri``, ``lifecycle_stage`` …) and ``data``."""
        run: Json = self._get("runs/get", run_id=run_id)["run"]
        return run

    def metrics(self, run_id: str) -> dict[str, float]:
        """The last value of every metric of a run; MLflow writes NaN and the infinities as strings."""
        return {entry["key"]: float(entry["value"]) for entry in self.get_run(run_id)["data"].get("metrics", [])}

    def metric_history(self, run_id: str, key: str) -> list[Json]:
        """Every recorded value of one metric: ``value``, ``step``, ``timestamp``; empty for a metric that the run lacks."""
        return self._pages("metrics/get-history", "metrics", run_id=run_id, metric_key=key)

    def set_run_tag(self, run_id: str, key: str, value: str) -> None:
        """Write one tag of a run."""
        self._post("runs/set-tag", run_id=run_id, key=key, value=value)

    def delete_run(self, run_id: str) -> None:
        """Mark a run deleted (``lifecycle_stage: deleted``); its artifacts stay until ``mlflow gc``."""
        self._post("runs/delete", run_id=run_id)

    def restore_run(self, run_id: str) -> None:
        """Restore a run that :meth:`delete_run` deleted."""
        self._post("runs/restore", run_id=run_id)

    def list_artifacts(self, run_id: str, path: str = "") -> list[Json]:
        """One level of a run's artifacts: ``path`` (from the artifact root), ``is_dir``, ``file_size``.

        The server lists the artifact store itself. (The MLflow 3 client adds logged models to its listing; this method
        does not.) The server percent-decodes ``path`` until nothing changes, so a name with a literal escape, such as
        ``a%20b``, cannot be listed.
        """
        return self._pages("artifacts/list", "files", run_id=run_id, **({"path": path} if path else {}))

    # registered models

    def get_model_version(self, name: str, version: str) -> Json:
        """A registered version: ``run_id``, ``source``, ``status``, ``tags`` …"""
        answer: Json = self._get("model-versions/get", name=name, version=version)["model_version"]
        return answer

    def get_model_version_by_alias(self, name: str, alias: str) -> Json:
        """The version that has an alias."""
        answer: Json = self._get("registered-models/alias", name=name, alias=alias)["model_version"]
        return answer

    def get_registered_model(self, name: str) -> Json:
        """A registered model: ``aliases`` (``alias``, ``version``), ``latest_versions``, ``tags``."""
        answer: Json = self._get("registered-models/get", name=name)["registered_model"]
        return answer

    def all_registered_models(self) -> Iterator[Json]:
        """Every registered model, by name. Pages are read as needed."""
        return self._each("registered-models/search", "registered_models", max_results="1000")

    def search_model_versions(self, filter_string: str) -> list[Json]:
        """Registered versions that match MLflow's filter, such as ``run_id = '…'`` or ``name = '…'``."""
        return self._pages("model-versions/search", "model_versions", filter=filter_string)

    def all_model_versions(self) -> Iterator[Json]:
        """Every registered version, by name and version. Pages are read as needed.

        The order is stated, since pages are counted from their beginning: by default a version that changes meanwhile moves to the first.
        """
        order = ("name ASC", "version_number ASC")
        return self._each("model-versions/search", "model_versions", order_by=order, max_results="1000")

    def download_model_version_file(self, name: str, version: str, path: str, file: IO[bytes]) -> None:
        """Write the file ``path`` of a registered version's directory into ``file``, from wherever the server keeps it.

        Source: mlflow 2.12.2 and 3.17.2 mlflow/server/__init__.py, serve_model_version_artifact, which MLflow's own pages use too.
        """
        from requests import RequestException

        what = f"GET /model-versions/get-artifact of {path!r} at {self.uri}"
        parameters = {"name": name, "version": version, "path": path}
        try:
            with self._session.get(
                f"{self.uri}/model-versions/get-artifact", params=parameters, timeout=self._timeout, stream=True
            ) as response:
                if not response.ok:
                    raise _refusal(what, response, _json(response))
                for part in response.iter_content(2**16):
                    file.write(part)
        except RequestException as error:
            cause, remedy = _explain_connection(error)
            raise TrackingError(f"{what}: {cause} ({error})", remedy=remedy) from error

    def get_download_uri(self, name: str, version: str) -> str:
        """The location of a version's files: correct for the layouts of MLflow 2 and 3, but possibly
        ``mlflow-artifacts:/…``."""
        return str(self._get("model-versions/get-download-uri", name=name, version=version)["artifact_uri"])

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        """Write one tag of a registered version."""
        self._post("model-versions/set-tag", name=name, version=version, key=key, value=value)

    # MLflow 3's logged models; an MLflow 2 server answers 404

    def get_logged_model(self, model_id: str) -> Json:
        """A logged model's ``info``: ``name``, ``artifact_uri``, ``source_run_id``, ``status``."""
        info: Json = self._get(f"logged-models/{model_id}")["model"]["info"]
        return info

    def search_logged_models(self, experiment_id: str, run_id: str) -> list[Json]:
        """The ``info`` of a run's logged models, newest first."""
        request: dict[str, Any] = {"experiment_ids": [experiment_id], "filter": f"source_run_id = '{run_id}'"}
        found: list[Json] = []
        while True:
            page = self._post("logged-models/search", **request)
            found += [model["info"] for model in page.get("models", [])]
            if not page.get("next_page_token"):
                return sorted(found, key=lambda info: int(info["creation_timestamp_ms"]), reverse=True)
            request["page_token"] = page["next_page_token"]

    def list_logged_model_artifacts(self, model_id: str, path: str = "") -> list[Json]:
        """One level of a logged model's files, as :meth:`list_artifacts` for a run."""
        parameters = {"artifact_directory_path": path} if path else {}
        return self._pages(f"logged-models/{model_id}/artifacts/directories", "files", **parameters)

    # transport

    def _get(self, endpoint: str, **parameters: str | Sequence[str]) -> Json:
        return self._request("GET", endpoint, params=parameters)

    def _post(self, endpoint: str, **body: Any) -> Json:
        return self._request("POST", endpoint, json=body)

    def _pages(self, endpoint: str, key: str, **parameters: str) -> list[Json]:
        return list(self._each(endpoint, key, **parameters))

    def _each(self, endpoint: str, key: str, **parameters: str | Sequence[str]) -> Iterator[Json]:
        while True:
            page = self._get(endpoint, **parameters)
            yield from page.get(key, [])
            if not page.get("next_page_token"):
                return
            parameters["page_token"] = page["next_page_token"]

    def _request(self, method: str, endpoint: str, **content: Any) -> Json:
        what = f"{method} {_API}{endpoint} at {self.uri}"
        response = self._send(method, _API + endpoint, what, **content)
        answer = _json(response)
        if response.ok and answer is not None:
            return answer
        raise _refusal(what, response, answer)

    def _send(self, method: str, path: str, what: str, **content: Any) -> requests.Response:
        from requests import RequestException

        try:
            return self._session.request(method, self.uri + path, timeout=self._timeout, **content)
        except RequestException as error:
            cause, remedy = _explain_connection(error)
            raise TrackingError(f"{what}: {cause} ({error})", remedy=remedy) from error


def _json(response: requests.Response) -> Json | None:
    """The JSON object that a response holds, or None."""
    try:
        answer = response.json()
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _refusal(what: str, response: requests.Response, answer: Json | None) -> TrackingError:
    answer = answer or {}
    text = str(answer.get("message") or response.text.strip()[:500] or response.reason)
    remedy = ""
    if response.status_code == 403 and "Invalid Host header" in text:
        host = urlsplit(response.url).netloc
        remedy = (
            "mlflow >= 3.5 answers only requests to allowed host names: "
            f"start the server with --allowed-hosts '{host},localhost:*' (or MLFLOW_SERVER_ALLOWED_HOSTS); "
            "the list replaces the defaults, and each entry includes the port"
        )
    elif response.status_code == 401:
        remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    elif response.status_code == 404 and not answer:
        remedy = (
            "the server has no such endpoint: servers before MLflow 3 have no logged models"
            if "logged-models" in what
            else "check that the tracking URI is that of an mlflow server, including any path prefix"
        )
    elif response.ok:
        remedy = "this is not an mlflow server, or a proxy in front of it answers: check the tracking URI"
    return TrackingError(
        f"{what}: HTTP {response.status_code}: {text}",
        remedy=remedy,
        status=response.status_code,
        code=str(answer.get("error_code", "")),
    )


def _explain_connection(error: requests.RequestException) -> tuple[str, str]:
    """Cause and remedy, by the text of the innermost exception: urllib3 1 has no class for failed name resolution."""
    text = f"{type(error).__name__} {error}"
    if any(
        sign in text
        for sign in ("NameResolutionError", "getaddrinfo", "name resolution", "service not known", "No address")
    ):
        return (
            "the host name does not resolve",
            "in a cluster use the full name SERVICE.NAMESPACE.svc.cluster.local, and allow egress to port 53 in the "
            "NetworkPolicy",
        )
    if "Connection refused" in text:
        return (
            "connection refused",
            "no process listens there, or a NetworkPolicy rejects the connection: check the port, the server, "
            "and the policies on both sides",
        )
    if "Timeout" in text or "timed out" in text:
        return (
            "timed out",
            "packets that are dropped rather than rejected suggest a NetworkPolicy or firewall; "
            "a slow server needs a longer timeout",
        )
    if "SSLError" in text or "SSLCertVerificationError" in text:
        return (
            "the TLS handshake failed",
            "set REQUESTS_CA_BUNDLE to the certificate authority of the server",
        )
    return "connection failed", "check the tracking URI and the network path to it"
