"""Reads pipeline runs from the API of Kubeflow Pipelines.

KFP's own gauges (``resource_manager_workflow_runs_success`` …) cannot tell how many runs of a day succeeded: each has the name of the
workflow as a label, so that a series is born at 1 with every run and never grows, failed attempts that are retried count as failures, and
all are lost when the API server restarts (kubeflow/pipelines backend/src/apiserver/resource/resource_manager.go, execStatus).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from trivet.errors import PlatformError, UsageError
from trivet.model.pipeline_runs import FINAL_STATES
from trivet.model.redaction import redact

LONGEST_RUN = 7 * 86_400.0
"""Seconds from a run's creation within which it must finish to be counted."""

_RUNS = "/apis/v2beta1/runs"
_PAGE = 200
_MOST_PAGES = 50
_TOKEN_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"
_TOKEN_PATH = Path("/var/run/secrets/kubeflow/pipelines/token")
"""As KFP's own client (kfp 2.9.0 kfp/client/set_volume_credentials.py)."""


class PipelineApi:
    """KFP's API server at ``url`` (``http://…`` or ``https://…``).

    ``timeout`` is in seconds for connecting and for each read; a request is tried ``retries + 1`` times when the server cannot be reached
    or answers 429, 502, 503 or 504. The token of the service account is that of KFP's own client, ``KF_PIPELINES_SA_TOKEN_PATH`` or the
    mounted one; the certificate authority is that of ``REQUESTS_CA_BUNDLE``. Methods raise PlatformError.
    """

    def __init__(self, url: str, *, timeout: float = 10.0, retries: int = 3) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(
                f"the address of KFP's API server {url!r} is no HTTP address",
                remedy="pass http://… or https://…, in a cluster http://ml-pipeline.kubeflow.svc:8888",
            )
        import requests
        from requests.adapters import HTTPAdapter, Retry

        self.url = url.rstrip("/")
        self._timeout = timeout
        self._session = requests.Session()
        retry = Retry(total=retries, backoff_factor=0.5, status_forcelist=(429, 502, 503, 504), raise_on_status=False)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def finished(self, namespace: str, *, since: float, until: float) -> Mapping[str, int]:
        """How many runs finished between two points in Unix time, by final state; 0 for a state without runs.

        ``namespace`` is needed by a multi-user installation, and empty otherwise. Runs that were created more than LONGEST_RUN before
        ``since`` are not counted.
        """
        counted = Counter(dict.fromkeys(FINAL_STATES, 0))
        for run in self._newest_first(namespace):
            if _time(run, "created_at") < since - LONGEST_RUN:
                break
            state = str(run.get("state") or "")
            if state in FINAL_STATES and since <= _time(run, "finished_at") <= until:
                counted[state] += 1
        return counted

    def _newest_first(self, namespace: str) -> Iterator[Mapping[str, Any]]:
        parameters: dict[str, Any] = {"sort_by": "created_at desc", "page_size": _PAGE}
        if namespace:
            parameters["namespace"] = namespace
        for _ in range(_MOST_PAGES):
            page = self._get(parameters)
            yield from page.get("runs") or ()
            if not page.get("next_page_token"):
                return
            parameters["page_token"] = page["next_page_token"]
        raise PlatformError(
            redact(f"there are more than {_PAGE * _MOST_PAGES} pipeline runs of the last days at {self.url}"),
            remedy="read single namespaces: --kfp-namespace",
        )

    def _get(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        import requests

        what = redact(f"GET {_RUNS} at {self.url}")
        try:
            response = self._session.get(
                self.url + _RUNS, params=dict(parameters), headers=_authorization(), timeout=self._timeout
            )
        except requests.RequestException as error:
            raise PlatformError(
                f"{what}: {error}", remedy="check the address of KFP's API server and the network path to it"
            ) from error
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.ok and isinstance(answer, dict):
            return answer
        remedy = "check that the address is that of KFP's API server"
        if response.status_code in (401, 403):
            remedy = f"mount a token of the service account with the audience pipelines.kubeflow.org and set {_TOKEN_VARIABLE}"
        elif response.status_code == 400:
            remedy = "a multi-user installation lists the runs of a namespace only: --kfp-namespace"
        raise PlatformError(f"{what}: HTTP {response.status_code}: {response.text[:300]}", remedy=remedy)


def _authorization() -> Mapping[str, str]:
    """Read for each request: the kubelet renews the token."""
    named = os.environ.get(_TOKEN_VARIABLE)
    path = Path(named) if named else _TOKEN_PATH
    if not named and not path.is_file():
        return {}
    try:
        return {"Authorization": f"Bearer {path.read_text(encoding='utf-8').strip()}"}
    except OSError as error:
        raise PlatformError(
            f"cannot read KFP's token {str(path)!r}: {error.strerror}", remedy=f"correct {_TOKEN_VARIABLE}"
        ) from error


def _time(run: Mapping[str, Any], key: str) -> float:
    """A point in Unix time; 0 for none. KFP writes the zero time for a run that has not finished."""
    text = str(run.get(key) or "")
    try:
        return datetime.fromisoformat(text).timestamp() if text else 0.0
    except ValueError as error:
        raise PlatformError(f"run {run.get('run_id')} has {key} {text!r}, which is no time") from error
