"""The metrics client: queries to Prometheus over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from trivet.errors import CannotTell

TIMEOUT = 20.0
"""Seconds for one query."""


class Prometheus:
    """The Prometheus at ``url``."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def ready(self) -> bool:
        """Whether Prometheus reports that it is ready."""
        try:
            return _get(f"{self._url}/-/ready", {}).status_code == 200
        except requests.RequestException:
            return False

    def query(self, promql: str) -> list[tuple[Mapping[str, str], float]]:
        """An instant query at the current time: labels and value of each series. Raises CannotTell when Prometheus does not respond."""
        return [(one["metric"], float(one["value"][1])) for one in self._result("query", query=promql)]

    def range(
        self, promql: str, *, begin: float, end: float, step: float = 5.0
    ) -> list[tuple[Mapping[str, str], list[tuple[float, float]]]]:
        """A range query (times in seconds since the epoch): labels and (time, value) points of each series. Raises CannotTell."""
        result = self._result("query_range", query=promql, start=begin, end=end, step=step)
        return [(one["metric"], [(float(at), float(value)) for at, value in one["values"]]) for one in result]

    def _result(self, endpoint: str, **parameters: Any) -> list[dict[str, Any]]:
        try:
            response = _get(f"{self._url}/api/v1/{endpoint}", parameters)
            body = response.json()
        except (requests.RequestException, ValueError) as error:
            raise CannotTell(f"Prometheus at {self._url} does not respond: {error}") from error
        if body.get("status") != "success":
            raise CannotTell(f"Prometheus rejects {parameters['query']!r}: {body.get('error', response.status_code)}")
        return list(body["data"]["result"])


def _get(url: str, parameters: Mapping[str, Any]) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, params=dict(parameters), timeout=TIMEOUT)
