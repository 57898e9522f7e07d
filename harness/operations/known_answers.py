"""Asks the revisions of a canary known requests over HTTP, each at an address of its own, which does not depend on its share of the
traffic. It judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import requests

from trivet.errors import PlatformError, UsageError
from trivet.integration.known_requests import KnownRequest
from trivet.integration.rollout import revision_url

TIMEOUT = 10.0
"""Seconds until a request counts as not answered."""

REVISION_URL = revision_url("{revision}", "{namespace}")
"""The Service that Knative creates for each revision."""


@dataclass(frozen=True, kw_only=True)
class HttpKnownAnswers:
    """Implements ``trivet.operations.canary_run.KnownAnswers``. ``url`` is the address of a revision, with {revision} and {namespace} in
    place of their names. Raises UsageError for an address that is the same for each revision."""

    service: str
    namespace: str
    known: Sequence[KnownRequest]
    url: str = REVISION_URL

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")) or "{revision}" not in self.url:
            raise UsageError(
                f"{self.url!r} is not the address of a revision",
                remedy=f"write one with {{revision}} in place of its name, such as {REVISION_URL}",
            )

    def check(self, revision: str) -> None:
        """Raise PlatformError when the revision, which serves, cannot be reached or answers with another status than 200."""
        url, (known, *_) = self._url(revision), self.known
        try:
            response = requests.post(url, json=known.request, timeout=TIMEOUT)
        except requests.RequestException as error:
            raise PlatformError(
                f"{revision} cannot be asked the known requests at {url}: {error}",
                remedy="judge in the cluster (`trivet canary render`), or pass an address that reaches each revision (--revision-url)",
            ) from error
        if response.status_code != 200:
            raise PlatformError(
                f"{revision} answers the first known request with HTTP {response.status_code}: {response.text[:300]}",
                remedy="compare the request with the signature of the model, and the address with the service",
            )

    def ask(self, revision: str, turn: int) -> tuple[int, int]:
        """How many answers are known to the request of this ``turn``, and how many of them the revision does not give: another value, an
        error, or nothing in TIMEOUT seconds."""
        known = self.known[turn % len(self.known)]
        try:
            response = requests.post(self._url(revision), json=known.request, timeout=TIMEOUT)
            wrong = known.wrong(response.status_code, response.json() if response.status_code == 200 else None)
        except requests.RequestException:
            wrong = len(known.answers)
        return len(known.answers), wrong

    def _url(self, revision: str) -> str:
        address = self.url.replace("{revision}", revision).replace("{namespace}", self.namespace)
        return f"{address.rstrip('/')}/v2/models/{self.service}/infer"
