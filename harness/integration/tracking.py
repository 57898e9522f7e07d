"""A thin client of MLflow's REST API, for servers of MLflow 2 and 3.

Its methods return MLflow's JSON without the outermost object. It neither logs runs nor downloads artifacts; MLflow's own
client does.
"""

from __future__ import annotations

import configparser
import copy
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from trivet.errors import PlatformError, UsageError
from trivet.integration.deadline import retry_after, within

if TYPE_CHECKING:
    import requests

Json = Mapping[str, Any]

_API = "/api/2.0/mlflow/"

TIMEOUT = 10.0
RETRIES = 6
DEADLINE = 60.0
"""Seconds that a call may take, with all its tries: longer than the 12 s that a tracking server takes to restart."""

_TRANSIENT = (408, 429, 500, 502, 503, 504)
"""The statuses that MLflow's own client tries again (mlflow 3.17.2 mlflow/utils/request_utils.py)."""
_RETRIES_OF_500 = 2
"""MLflow answers 500 to what it will never answer otherwise, too, so it is tried less often than a server that restarts."""
_PAUSE = 0.5


class TrackingError(PlatformError):
    """The tracking server rejected a request or is not reachable.

    ``status`` is the HTTP status, 0 when there was no answer; ``code`` is MLflow's ``error_code``
    (``RESOURCE_DOES_NOT_EXIST`` …), empty when the answer was not MLflow's.
    """

    def __init__(self, message: str, *, remedy: str = "", status: int = 0, code: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.code = code


@dataclass(frozen=True, kw_only=True)
class _Connection:
    """How MLflow's environment variables say that the server is to be reached.

    Source: mlflow 3.17.2 mlflow/utils/credentials.py, get_default_host_creds, and mlflow/utils/rest_utils.py, http_request.
    """

    authorization: Callable[[requests.PreparedRequest], requests.PreparedRequest] | None
    verify: bool | str
    cert: str | None
    headers: Mapping[str, str]


class TrackingApi:
    """MLflow's tracking server and registry at ``uri`` (``http://…`` or ``https://…``).

    ``artifact_root`` is the store that the server was started with as ``--artifacts-destination``: where it proxies artifacts, storage URIs
    cannot be resolved without it, and no API returns it.

    ``timeout`` is in seconds for connecting and for each read, ``deadline`` for a whole call with all its tries. A request is tried at most
    ``retries + 1`` times, with pauses of 0.5, 1, 2, 4 … s or those that the server asks for (``Retry-After``), when the server cannot be
    reached or answers 408, 429, 502, 503 or 504; at most three times on 500. None means ``MLFLOW_HTTP_REQUEST_TIMEOUT`` and
    ``MLFLOW_HTTP_REQUEST_MAX_RETRIES``, or else TIMEOUT and RETRIES.

    Otherwise it is configured as MLflow's own client is: ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD`` (or
    ``~/.mlflow/credentials``), else ``MLFLOW_TRACKING_TOKEN``, else ``.netrc``; ``MLFLOW_TRACKING_INSECURE_TLS``,
    ``MLFLOW_TRACKING_SERVER_CERT_PATH``, ``MLFLOW_TRACKING_CLIENT_CERT_PATH``; ``workspace``, or ``MLFLOW_WORKSPACE``. Authentication by
    plug-ins (``MLFLOW_TRACKING_AUTH``, ``MLFLOW_TRACKING_AWS_SIGV4``) is a UsageError, unless ``auth`` is given: an object for
    ``requests``, such as the plug-in's ``get_auth()``.

    Every method raises :class:`TrackingError`.
    """

    def __init__(
        self,
        uri: str,
        *,
        artifact_root: str = "",
        timeout: float | None = None,
        retries: int | None = None,
        deadline: float = DEADLINE,
        workspace: str = "",
        auth: requests.auth.AuthBase | None = None,
    ) -> None:
        if not uri.startswith(("http://", "https://")):
            raise UsageError(
                f"tracking URI {uri!r} is not an HTTP address",
                remedy="pass the http://… or https://… address of an mlflow server; a pipeline step has it in "
                "MLFLOW_TRACKING_URI",
            )
        # Imported here, so that checking signatures or building manifests does not load it.
        import requests

        self.uri = uri.rstrip("/")
        self.artifact_root = artifact_root
        self._timeout = _setting("timeout", timeout, "MLFLOW_HTTP_REQUEST_TIMEOUT", TIMEOUT)
        self._retries = int(_setting("retries", retries, "MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES))
        self._deadline = deadline
        connection = _connection(workspace, auth)
        self._session = requests.Session()
        self._session.headers.update(connection.headers)
        # Set as an object rather than as a header, which requests would replace by what .netrc has.
        self._session.auth = auth or connection.authorization
        # Passed with each request: requests prefers REQUESTS_CA_BUNDLE to what a session has.
        self._tls: dict[str, Any] = {"verify": connection.verify, "cert": connection.cert}

    def server_version(self) -> str:
        """The version of MLflow that the server runs, as it states at ``/version``."""
        what = f"GET /version at {self.uri}"
        response = self._send("GET", "/version", what)
        text = response.text.strip()
        if response.ok and re.fullmatch(r"\d+(\.\w+)+", text):
            return text
        raise _refusal(what, response, {})

    def answer_to(self, endpoint: str, *, host: str, headers: Mapping[str, str], **parameters: str) -> tuple[int, str]:
        """The status and the text of the one answer to a GET of ``endpoint`` as another client sends it: with its ``Host`` and ``headers``,
        and without credentials.
        """
        import requests

        with requests.Session() as session:
            session.auth = lambda request: request  # or requests takes a password from .netrc
            stated = {**headers, "Host": host}
            try:
                response = session.get(
                    self.uri + _API + endpoint, params=parameters, headers=stated, timeout=self._timeout, **self._tls
                )
            except requests.RequestException as error:
                cause, remedy = _explain_connection(error)
                raise TrackingError(f"GET {_API}{endpoint} at {self.uri}: {cause} ({error})", remedy=remedy) from error
            return response.status_code, response.text

    def has_workspace(self, name: str) -> bool:
        """Whether the server has a workspace of this name; False too where it has no workspaces at all, as before MLflow 3.10."""
        path = f"/api/3.0/mlflow/workspaces/{quote(name, safe='')}"
        what = f"GET {path} at {self.uri}"
        response = self._send("GET", path, what)
        answer = _json(response)
        if response.ok and answer is not None:
            return True
        refusal = _refusal(what, response, answer)
        if refusal.status == 404 or refusal.code in ("RESOURCE_DOES_NOT_EXIST", "FEATURE_DISABLED"):
            return False
        raise refusal

    def in_workspace(self, name: str) -> TrackingApi:
        """This client, with requests for the workspace ``name``."""
        import requests

        other = copy.copy(self)
        other._session = requests.Session()
        other._session.headers.update({**self._session.headers, "X-MLFLOW-WORKSPACE": name})
        other._session.auth = self._session.auth
        return other

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

    def end_run(self, run_id: str, status: str = "KILLED") -> None:
        """End a run that whoever recorded it did not end: ``FINISHED``, ``FAILED`` or ``KILLED``, now."""
        self._post("runs/update", run_id=run_id, status=status, end_time=int(time.time() * 1000))

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
                f"{self.uri}/model-versions/get-artifact",
                params=parameters,
                timeout=self._timeout,
                stream=True,
                **self._tls,
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

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        """Delete one tag of a registered version."""
        self._request("DELETE", "model-versions/delete-tag", json={"name": name, "version": version, "key": key})

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Give a version an alias; the version that had it loses it."""
        self._post("registered-models/alias", name=name, alias=alias, version=version)

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Delete an alias; nothing happens when no version has it."""
        self._request("DELETE", "registered-models/alias", json={"name": name, "alias": alias})

    def transition_model_version_stage(
        self, name: str, version: str, stage: str, *, archive_existing: bool = False
    ) -> None:
        """Move a version into a stage: Staging, Production, Archived or None. With ``archive_existing`` others in it become Archived.

        MLflow deprecated stages in 2.9, and its servers up to 3.17 still have them.
        """
        self._post(
            "model-versions/transition-stage",
            name=name,
            version=version,
            stage=stage,
            archive_existing_versions=archive_existing,
        )

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
        """The answer to a request, tried again as the class says. Raises TrackingError when there is none."""
        from requests import RequestException

        end = time.monotonic() + self._deadline
        for attempt in range(self._retries + 1):
            response, failure = None, None
            try:
                response = within(
                    end - time.monotonic(),
                    lambda: self._session.request(
                        method, self.uri + path, timeout=self._timeout, **self._tls, **content
                    ),
                )
            except RequestException as error:
                failure = error
            pause = self._pause(attempt, response, failure)
            if pause is None or time.monotonic() + pause >= end:
                break
            time.sleep(pause)
        if failure is not None:
            cause, remedy = _explain_connection(failure)
            raise TrackingError(f"{what}: {cause} ({failure})", remedy=remedy) from failure
        if response is None:
            raise TrackingError(
                f"{what}: timed out after {self._deadline:.0f} s: the answer had not ended",
                remedy="something on the way passes single bytes on, or the server is slow: a longer deadline may help",
            )
        return response

    def _pause(
        self, attempt: int, response: requests.Response | None, failure: requests.RequestException | None
    ) -> float | None:
        """Seconds until the next try; None for no other one."""
        from requests.exceptions import ConnectionError as Unreachable
        from requests.exceptions import SSLError, Timeout

        tries = self._retries
        if response is None:
            if not isinstance(failure, Unreachable | Timeout) or isinstance(failure, SSLError):
                return None
        elif response.status_code not in _TRANSIENT:
            return None
        elif response.status_code == 500:
            tries = min(tries, _RETRIES_OF_500)
        if attempt >= tries:
            return None
        asked = response.headers.get("Retry-After", "") if response is not None else ""
        return max(_PAUSE * float(2**attempt), retry_after(asked))


def quoted(name: str) -> str:
    """A string in MLflow's filter language, which has two quotes and no escape for them."""
    return f'"{name}"' if "'" in name else f"'{name}'"


def _setting(name: str, value: float | None, variable: str, default: float) -> float:
    """An argument, else the number in an environment variable, else the default; from 0 on."""
    stated = os.environ.get(variable)
    try:
        number = value if value is not None else float(stated) if stated else default
    except ValueError:
        number = -1.0
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < float("inf"):
        raise UsageError(
            f"{name} is {value!r}" if value is not None else f"{variable} is {stated!r}",
            remedy="use a number from 0 on",
        )
    return number


def _connection(workspace: str, auth: object) -> _Connection:
    plugin = os.environ.get("MLFLOW_TRACKING_AUTH") or (
        "AWS Signature V4" if _is_set("MLFLOW_TRACKING_AWS_SIGV4") else ""
    )
    if plugin and auth is None:
        raise UsageError(
            f"the environment asks for authentication by MLflow's plug-in {plugin!r}, which trivet does not load",
            remedy="pass its object for requests to TrackingApi as auth (RequestAuthProvider.get_auth()), "
            "or unset MLFLOW_TRACKING_AUTH and MLFLOW_TRACKING_AWS_SIGV4",
        )
    insecure = _is_set("MLFLOW_TRACKING_INSECURE_TLS")
    authority = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH", "")
    certificate = os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH", "")
    if insecure and authority:
        raise UsageError(
            "MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH contradict each other",
            remedy="unset one of them, as MLflow's own client asks for too",
        )
    for variable, path in (
        ("MLFLOW_TRACKING_SERVER_CERT_PATH", authority),
        ("MLFLOW_TRACKING_CLIENT_CERT_PATH", certificate),
    ):
        if path and not Path(path).exists():
            raise UsageError(f"{variable} names {path}, which does not exist", remedy="set the path of a PEM file")
    named = (workspace or os.environ.get("MLFLOW_WORKSPACE", "")).strip()
    return _Connection(
        authorization=_authorization(),
        verify=authority or not insecure,
        cert=certificate or None,
        headers={"X-MLFLOW-WORKSPACE": named} if named else {},
    )


def _authorization() -> Callable[[requests.PreparedRequest], requests.PreparedRequest] | None:
    """The user and the password, which MLflow's client prefers, else the token, else None: requests reads .netrc."""
    from requests.auth import HTTPBasicAuth

    stored = configparser.ConfigParser(interpolation=None)
    stored.read(Path("~/.mlflow/credentials").expanduser())
    login = stored["mlflow"] if stored.has_section("mlflow") else {}
    user = os.environ.get("MLFLOW_TRACKING_USERNAME") or login.get("mlflow_tracking_username", "")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD") or login.get("mlflow_tracking_password", "")
    if user and password:
        return HTTPBasicAuth(user.encode(), password.encode())
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if not token:
        return None

    def bear(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return bear


def _is_set(variable: str) -> bool:
    """Whether a variable of MLflow's is true, as MLflow reads booleans (mlflow 3.17.2 mlflow/environment_variables.py)."""
    return os.environ.get(variable, "").lower() in ("true", "1")


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
