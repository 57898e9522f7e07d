"""A client of the API server of Kubeflow Pipelines, REST v2beta1: uploads pipelines, starts and ends runs, and says what became of them.

The requests and answers are those of kubeflow/pipelines 2.0.5 and 2.17.0 backend/api/v2beta1/swagger. It reads nothing of a run's pods.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trivet.errors import PlatformError, UsageError
from trivet.model.redaction import redact

if TYPE_CHECKING:
    import requests

_API = "/apis/v2beta1"
_TRANSIENT = (429, 502, 503, 504)
"""Statuses that are tried again: of what stands before the API server."""
_PAGE = 200
_MOST_PAGES = 50
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_TOKEN_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"
TOKEN_PATH = Path("/var/run/secrets/kubeflow/pipelines/token")
"""As KFP's own client (kfp 2.9.0 kfp/client/set_volume_credentials.py)."""


class PipelineApiError(PlatformError):
    """KFP's API server did not answer, or answered with an error. ``status`` is the HTTP status, 0 when there was no answer."""

    def __init__(self, message: str, *, remedy: str = "", status: int = 0) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status

    @property
    def answered(self) -> bool:
        """Whether it is the API server's own answer, and not that of what stands before it."""
        return self.status != 0 and self.status not in _TRANSIENT


class PipelineApi:
    """KFP's API server at ``url`` (``http://…`` or ``https://…``), or at what ``url`` returns when it is called.

    ``timeout`` is in seconds for connecting and for each read; a request is tried ``retries + 1`` times when the server cannot be reached
    or answers 429, 502, 503 or 504; what changes something is tried again only when it was not sent. The token of the service account is
    that of KFP's own client, ``KF_PIPELINES_SA_TOKEN_PATH`` or the mounted one, read for each request; the certificate authority is that of
    ``REQUESTS_CA_BUNDLE``. A multi-user installation needs a ``namespace`` where a method has one; it is empty otherwise.
    Methods raise :class:`PipelineApiError`.
    """

    def __init__(self, url: str | Callable[[], str], *, timeout: float = 10.0, retries: int = 3) -> None:
        if isinstance(url, str) and not url.startswith(("http://", "https://")):
            raise UsageError(
                f"the address of KFP's API server {url!r} is no HTTP address",
                remedy="pass http://… or https://…, in a cluster http://ml-pipeline.kubeflow.svc:8888",
            )
        import requests
        from requests.adapters import HTTPAdapter, Retry

        self._url = url
        self._timeout = timeout
        self._session = requests.Session()
        retry = Retry(
            total=retries,
            backoff_factor=0.5,
            status_forcelist=_TRANSIENT,
            allowed_methods=("GET",),
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    @property
    def url(self) -> str:
        """The base URL."""
        return (self._url if isinstance(self._url, str) else self._url()).rstrip("/")

    def health(self) -> Mapping[str, Any]:
        """``tag_name``, the release, and ``multi_user``."""
        return self._call("GET", "healthz")

    def create_experiment(self, name: str, *, namespace: str) -> str:
        """Create an experiment, which runs of a multi-user installation need; returns its id."""
        body = {"display_name": name, "namespace": namespace}
        return str(self._call("POST", "experiments", json=body)["experiment_id"])

    def delete_experiment(self, experiment: str) -> None:
        """Delete an experiment; its runs stay."""
        self._call("DELETE", f"experiments/{experiment}")

    def upload(self, name: str, compiled: str, *, namespace: str = "") -> tuple[str, Mapping[str, Any]]:
        """Upload a compiled pipeline under a new name. Returns its id, and its version as stored."""
        answer = self._call(
            "POST",
            "pipelines/upload",
            params={"name": name, **_named(namespace)},
            files={"uploadfile": ("pipeline.yaml", compiled.encode())},
        )
        pipeline = str(answer["pipeline_id"])
        return pipeline, self._call("GET", f"pipelines/{pipeline}/versions")["pipeline_versions"][0]

    def delete_pipeline(self, pipeline: str, version: str) -> None:
        """Delete a pipeline that has this version only."""
        self._call("DELETE", f"pipelines/{pipeline}/versions/{version}")
        self._call("DELETE", f"pipelines/{pipeline}")

    def start(
        self,
        name: str,
        version: Mapping[str, Any],
        arguments: Mapping[str, Any],
        *,
        experiment: str = "",
        service_account: str = "",
    ) -> str:
        """Start a run of an uploaded version, in an experiment (empty: the default one); returns its id."""
        body = {
            "display_name": name,
            "pipeline_version_reference": {key: version[key] for key in ("pipeline_id", "pipeline_version_id")},
            "runtime_config": {"parameters": dict(arguments)},
            **({"experiment_id": experiment} if experiment else {}),
            **({"service_account": service_account} if service_account else {}),
        }
        return str(self._call("POST", "runs", json=body)["run_id"])

    def run(self, run_id: str) -> Mapping[str, Any]:
        """The run as the API server describes it."""
        return self._call("GET", f"runs/{run_id}")

    def runs(self, namespace: str = "") -> Iterator[Mapping[str, Any]]:
        """Runs, the newest first: at most 10,000, then it raises."""
        parameters: dict[str, Any] = {"sort_by": "created_at desc", "page_size": _PAGE, **_named(namespace)}
        for _ in range(_MOST_PAGES):
            page = self._call("GET", "runs", params=parameters)
            yield from page.get("runs") or ()
            if not page.get("next_page_token"):
                return
            parameters["page_token"] = page["next_page_token"]
        raise PipelineApiError(
            redact(f"there are more than {_PAGE * _MOST_PAGES} pipeline runs of the last days at {self.url}"),
            remedy="read single namespaces: --kfp-namespace",
        )

    def terminate(self, run_id: str) -> None:
        """Ask the API server to end a run."""
        self._call("POST", f"runs/{run_id}:terminate")

    def delete(self, run_id: str) -> None:
        """Delete a run, with its Workflow."""
        self._call("DELETE", f"runs/{run_id}")

    def _call(self, method: str, path: str, **request: Any) -> Mapping[str, Any]:
        import requests

        url = self.url
        what = redact(f"{method} {_API}/{path} at {url}")
        # Proxies of the environment are not for what listens on this machine.
        self._session.trust_env = urlsplit(url).hostname not in _LOOPBACK
        headers = _authorization()

        def authorize(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
            """As an object for requests, since it would replace a header by what ``.netrc`` has for the host."""
            prepared.headers.update(headers)
            return prepared

        try:
            response = self._session.request(
                method,
                f"{url}{_API}/{path}",
                auth=authorize if headers else None,
                timeout=self._timeout,
                **request,
            )
        except requests.RequestException as error:
            raise PipelineApiError(
                f"{what}: {error}", remedy="check the address of KFP's API server and the network path to it"
            ) from error
        try:
            answer = response.json() if response.text.strip() else {}
        except ValueError:
            answer = None
        if response.ok and isinstance(answer, dict):
            return answer
        remedy = "check that the address is that of KFP's API server"
        if response.status_code in (401, 403):
            remedy = f"mount a token of the service account with the audience pipelines.kubeflow.org and set {_TOKEN_VARIABLE}"
        elif response.status_code == 400:
            remedy = "a multi-user installation has runs in namespaces only: --kfp-namespace, or kfp_namespace in [tool.trivet.existing]"
        raise PipelineApiError(
            f"{what}: HTTP {response.status_code}: {_reason(answer, response.text)}",
            remedy=remedy,
            status=response.status_code,
        )


def _named(namespace: str) -> Mapping[str, str]:
    return {"namespace": namespace} if namespace else {}


def _authorization() -> Mapping[str, str]:
    """Read for each request: the kubelet renews the token."""
    named = os.environ.get(_TOKEN_VARIABLE)
    path = Path(named) if named else TOKEN_PATH
    if not named and not path.is_file():
        return {}
    try:
        return {"Authorization": f"Bearer {path.read_text(encoding='utf-8').strip()}"}
    except OSError as error:
        raise PipelineApiError(
            f"cannot read KFP's token {str(path)!r}: {error.strerror}", remedy=f"correct {_TOKEN_VARIABLE}"
        ) from error


def _reason(answer: Any, body: str) -> str:
    """The text of KFP's error, which is JSON of google.rpc.Status, or of its own; the body if it is neither."""
    if not isinstance(answer, dict) or not body.strip():
        return body[:300]
    return str(answer.get("message") or answer.get("error_message") or answer.get("error") or answer)[:1000]
