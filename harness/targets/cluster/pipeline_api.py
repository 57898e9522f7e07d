"""KFP's API server over REST (v2beta1): uploads pipelines, starts and ends runs, and says what became of them.

The requests and answers are those of kubeflow/pipelines 2.0.5 and 2.17.0 backend/api/v2beta1/swagger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import requests

from trivet.errors import CannotTell
from trivet.model.clients import Refused
from trivet.targets.cluster import limits

_UNREACHED = (502, 503, 504)
"""What a proxy in front of the API server answers for it."""


class PipelineApi:
    """The API server whose base URL ``url`` returns; one that is for a single user, and runs everything in its own namespace."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url

    def health(self) -> Mapping[str, Any]:
        """``tag_name``, the release, and ``multi_user``. Raises CannotTell when the API server does not respond."""
        return self._call("GET", "healthz")

    def upload(self, name: str, compiled: str) -> tuple[str, Mapping[str, Any]]:
        """Upload a compiled pipeline under a new name. Returns its id, and its version as stored. Raises Refused."""
        files = {"uploadfile": ("pipeline.yaml", compiled.encode())}
        pipeline = str(self._call("POST", "pipelines/upload", params={"name": name}, files=files)["pipeline_id"])
        versions = self._call("GET", f"pipelines/{pipeline}/versions")["pipeline_versions"]
        return pipeline, versions[0]

    def start(
        self, name: str, version: Mapping[str, Any], arguments: Mapping[str, Any], *, service_account: str = ""
    ) -> str:
        """Start a run of an uploaded version; returns its id. Raises Refused."""
        body = {
            "display_name": name,
            "pipeline_version_reference": {key: version[key] for key in ("pipeline_id", "pipeline_version_id")},
            "runtime_config": {"parameters": dict(arguments)},
            **({"service_account": service_account} if service_account else {}),
        }
        return str(self._call("POST", "runs", json=body)["run_id"])

    def run(self, run_id: str) -> Mapping[str, Any]:
        """The run as the API server describes it."""
        return self._call("GET", f"runs/{run_id}")

    def terminate(self, run_id: str) -> None:
        """Ask the API server to end a run."""
        self._call("POST", f"runs/{run_id}:terminate")

    def delete(self, run_id: str) -> None:
        """Delete a run, with its Workflow."""
        self._call("DELETE", f"runs/{run_id}")

    def delete_pipeline(self, pipeline: str, version: str) -> None:
        """Delete a pipeline that has this version only."""
        self._call("DELETE", f"pipelines/{pipeline}/versions/{version}")
        self._call("DELETE", f"pipelines/{pipeline}")

    def _call(self, method: str, path: str, **request: Any) -> Mapping[str, Any]:
        url = f"{self._url()}/apis/v2beta1/{path}"
        with requests.Session() as session:
            session.trust_env = False
            try:
                answer = session.request(method, url, timeout=limits.PIPELINE_API, **request)
            except requests.RequestException as error:
                raise CannotTell(f"no response to {method} {url}: {error}") from error
        if answer.ok:
            try:
                return dict(answer.json()) if answer.text.strip() else {}
            except ValueError as error:
                raise CannotTell(f"{method} {path}: the answer is no JSON: {answer.text[:200]!r}") from error
        message = f"{method} {path}: HTTP {answer.status_code}: {_reason(answer)}"
        raise (CannotTell if answer.status_code in _UNREACHED else Refused)(message)


def _reason(answer: requests.Response) -> str:
    """The text of KFP's error, which is JSON of google.rpc.Status, or of its own; the body if it is neither."""
    try:
        found = answer.json()
    except ValueError:
        return answer.text[:1000]
    return str(found.get("message") or found.get("error_message") or found.get("error") or found)[:1000]
