"""Sends known requests to the revisions of a canary over HTTP, to each at an address of its own, which does not depend on its share of the
traffic. It judges nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from trivet.errors import PlatformError, UsageError
from trivet.integration.deadline import within
from trivet.integration.known_requests import KnownAnswer, KnownRequest
from trivet.integration.rollout import revision_url

TIMEOUT = 10.0
"""Seconds until a request counts as not answered."""

LARGEST = 4 * 2**20
"""Bytes of an answer: the judge's pod has little memory, and an answer may be compressed."""

REVISION_URL = revision_url("{revision}", "{namespace}")
"""The Service that Knative creates for each revision. Its activator knows the revision by the whole name of the host."""


@dataclass(frozen=True, kw_only=True)
class KnownRequestClient:
    """Implements ``trivet.operations.canary_run.KnownRequests``. ``url`` is the address of a revision, with {revision} and {namespace} in
    place of their names. Raises UsageError for an address that is the same for each revision, or has credentials."""

    service: str
    namespace: str
    known: Sequence[KnownRequest]
    url: str = REVISION_URL

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or parts.query or parts.fragment or "{revision}" not in self.url:
            raise UsageError(
                f"{self.url!r} is not the address of a revision",
                remedy=f"write one with {{revision}} in place of its name, such as {REVISION_URL}",
            )
        if "@" in parts.netloc:
            raise UsageError(
                "the address of a revision has credentials in it", remedy="pass one without: the judge sends none"
            )

    @property
    def rows(self) -> Sequence[int]:
        """The number of rows of each request."""
        return [len(one.answers) for one in self.known]

    def verify(self, revision: str) -> float:
        """The seconds of this revision's slowest answer. Raises PlatformError when it, which serves, does not answer each of the requests,
        or answers no row correctly: nothing would be known of another one."""
        wrong, slowest = 0, 0.0
        for index, known in enumerate(self.known):
            began = time.monotonic()
            try:
                status, body = self._post(revision, known)
            except (OSError, ValueError) as error:
                raise PlatformError(
                    f"{revision} does not answer known request {index} at {self._url(revision)}: {error}",
                    remedy="judge in the cluster (`trivet canary render`), or pass an address that reaches each revision (--revision-url)",
                ) from error
            if status != 200:
                refused = PlatformError(
                    f"{revision} answers known request {index} with HTTP {status}: {json.dumps(body)[:300]}",
                    remedy="compare the request with the signature of the model, and the address with the service",
                )
                refused.transient = status >= 500
                raise refused
            slowest = max(slowest, time.monotonic() - began)
            wrong += known.wrong(status, body)
        if wrong == sum(self.rows):
            mistaken = PlatformError(
                f"{revision} answers none of {wrong} known rows correctly",
                remedy="compare the answers of the file with those of the model: their order, type and shape",
            )
            mistaken.transient = False
            raise mistaken
        return slowest

    def ask(self, revision: str, index: int) -> KnownAnswer:
        """How the revision answers the request of this index, which counts on beyond the last one."""
        known = self.known[index % len(self.known)]
        began = time.monotonic()
        try:
            status, body = self._post(revision, known)
        except (OSError, ValueError):
            return KnownAnswer(rows=len(known.answers), seconds=time.monotonic() - began)
        seconds, wrong = time.monotonic() - began, known.wrong(status, body)
        return KnownAnswer(rows=len(known.answers), status=status, wrong=wrong, seconds=seconds)

    def _url(self, revision: str) -> str:
        address = self.url.replace("{revision}", revision).replace("{namespace}", self.namespace)
        return f"{address.rstrip('/')}/v2/models/{self.service}/infer"

    def _post(self, revision: str, known: KnownRequest) -> tuple[int, Any]:
        """Status and JSON of an answer; None for a body that is no JSON. Raises OSError or ValueError without an answer."""
        url, began = self._url(revision), time.monotonic()

        def post() -> tuple[int, bytes]:
            with requests.Session() as session:
                # A proxy of the environment is for addresses outside, and would answer in place of the revision.
                session.trust_env = False
                with session.post(url, json=known.request, timeout=TIMEOUT, allow_redirects=False, stream=True) as got:
                    content = b"".join(_limited(got.iter_content(2**16), end=began + TIMEOUT))
                    return got.status_code, content

        answered = within(TIMEOUT, post)
        if answered is None:
            raise TimeoutError(f"no whole answer in {TIMEOUT:g} s")
        status, content = answered
        try:
            return status, json.loads(content)
        except (ValueError, RecursionError):
            return status, None


def _limited(chunks: Iterable[bytes], *, end: float) -> Iterator[bytes]:
    """The chunks of an answer. Raises ValueError when they are too many, and TimeoutError when they come too late."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > LARGEST:
            raise ValueError(f"the answer has more than {LARGEST / 2**20:g} MiB")
        if time.monotonic() > end:
            raise TimeoutError(f"no whole answer in {TIMEOUT:g} s")
        yield chunk
