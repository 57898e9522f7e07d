"""A client of Prometheus' HTTP API: queries at a time, with authentication, TLS, retries and one deadline for each query.

Thanos and Mimir offer the same API. What the queries mean is the business of :mod:`trivet.integration.request_metrics`.

Source: prometheus v0.310.0 (3.10) web/api/v1/api.go: Response, errorType and their HTTP statuses; web/api/v1/json_codec.go: the forms of
samples and histograms.
"""

from __future__ import annotations

import math
import time as clock
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trivet.errors import PlatformError, UsageError
from trivet.integration.deadline import retry_after, within

if TYPE_CHECKING:
    import requests

DEADLINE = 30.0
"""Seconds that a query may take, with all its tries: longer than Prometheus takes to restart, shorter than a minute's window."""

_TRANSIENT = (429, 502, 503, 504)
"""Statuses that are tried again: of proxies and of Mimir's limits. Prometheus itself answers 503 to a query that timed out or was
aborted."""
_REFUSED = (401, 403)
_PAUSE, _LONGEST_PAUSE = 0.25, 4.0
_SHOWN = 200
"""Characters of a foreign answer in a message."""


class PrometheusError(PlatformError):
    """Prometheus did not answer, refused the query, or answered with what must not be judged by.

    ``status`` is the HTTP status, 0 when there was no answer. Refused credentials are not ``transient``: trying again does not help.
    """

    def __init__(self, message: str, *, remedy: str = "", status: int = 0) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.transient = status not in _REFUSED


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series of an answer: its labels, and its samples as (Unix seconds, value), oldest first."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]

    @property
    def value(self) -> float:
        """The newest sample's value."""
        return self.samples[-1][1]


class Prometheus:
    """The Prometheus whose API is below ``url``, such as ``http://prometheus.monitoring:9090``; with a route prefix, that too.

    Credentials are ``token_file``, a file with a bearer token that is read for each query (Kubernetes replaces the token of a service
    account within the hour), or ``username`` and ``password``. ``ca_file`` is the certificate authority of the server,
    ``client_certificate`` the paths of certificate and key that a proxy asks for. ``headers`` are sent with each query, such as Mimir's
    ``X-Scope-OrgID``.

    ``deadline`` is in seconds, for one query with all its tries. A query is tried again when Prometheus cannot be reached or a proxy
    answers 429, 502, 503 or 504, after 0.25, 0.5, 1, 2, 4 … s or what the answer asks for in ``Retry-After``.

    Methods raise :class:`PrometheusError`.
    """

    def __init__(
        self,
        url: str,
        *,
        token_file: str | Path | None = None,
        username: str = "",
        password: str = "",
        ca_file: str | Path | None = None,
        client_certificate: tuple[str | Path, str | Path] | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        if not isinstance(url, str) or not urlsplit(url).netloc or not url.startswith(("http://", "https://")):
            raise UsageError(
                f"{url!r} is not the HTTP address of a Prometheus",
                remedy="pass its base URL, such as http://prometheus.monitoring:9090",
            )
        if "@" in urlsplit(url).netloc:
            raise UsageError(
                "the URL of Prometheus has credentials in it",
                remedy="pass username and password, and the URL without them",
            )
        if token_file and username:
            raise UsageError(
                "both a token file and a user name are given", remedy="pass one of token_file and username"
            )
        if password and not username:
            raise UsageError("a password is given without a user name", remedy="pass username and password")
        for name, file in (("token_file", token_file), ("ca_file", ca_file), *_named(client_certificate)):
            if file is not None and not Path(file).is_file():
                raise UsageError(f"{name} {str(file)!r} is not a file", remedy=f"pass the path of a file as {name}")
        if isinstance(deadline, bool) or not isinstance(deadline, int | float) or not 0 < deadline < math.inf:
            raise UsageError(f"the deadline is {deadline!r}", remedy="use a number of seconds above 0")
        self.url = url.rstrip("/")
        self._token_file = token_file
        self._basic = f"{username}:{password}" if username else ""
        self._verify: bool | str = str(ca_file) if ca_file else True
        self._certificate = tuple(map(str, client_certificate)) if client_certificate else None
        self._headers = dict(headers or {})
        self._deadline = float(deadline)

    def query(self, promql: str, *, time: float | None = None) -> list[Series]:
        """The series of an instant query at ``time`` (Unix seconds; None: now, by Prometheus' clock).

        A range selector gives raw samples; a scalar is one series without labels. Raises PrometheusError for native histograms and for an
        answer that Prometheus warns of, since Thanos gives warnings with partial answers.
        """
        data = self._data("query", {"query": promql} | ({} if time is None else {"time": _number(time)}))
        return _series(data, promql)

    def query_range(self, promql: str, *, start: float, end: float, step: float) -> list[Series]:
        """The series of a range query: times in Unix seconds, ``step`` in seconds."""
        times = {"start": _number(start), "end": _number(end), "step": _number(step)}
        return _series(self._data("query_range", {"query": promql} | times), promql)

    def value(self, promql: str, *, time: float | None = None) -> float | None:
        """The single value of an instant query; None for no series and for NaN, which a rate or a quantile without data is.

        Raises PrometheusError for several series.
        """
        found = self.query(promql, time=time)
        if len(found) > 1:
            raise PrometheusError(
                f"{promql!r} returns {len(found)} series", remedy="aggregate them, for example with sum()"
            )
        return None if not found or math.isnan(found[0].value) else found[0].value

    def now(self) -> float:
        """The time by Prometheus' clock, in Unix seconds. Windows are stated by it, since no other clock has stamped the samples."""
        found = self.value("time()")
        if found is None:
            raise PrometheusError(f"Prometheus at {self.url} does not say what time it has")
        return found

    def _data(self, endpoint: str, parameters: Mapping[str, str]) -> Mapping[str, Any]:
        import requests

        where = f"{self.url}/api/v1/{endpoint}"
        end = clock.monotonic() + self._deadline
        pause, tries = _PAUSE, 0
        while True:
            tries += 1
            left = end - clock.monotonic()
            failure: PrometheusError
            asked = ""
            try:
                answer = within(left, lambda: self._get(where, parameters, left))  # noqa: B023
            except requests.RequestException as error:
                failure = self._unreachable(error)
            else:
                if answer is None:
                    raise PrometheusError(
                        f"timed out after {self._deadline:g} s waiting for Prometheus at {self.url} to answer {parameters['query']!r}",
                        remedy="the connection is open, but the answer does not come or does not end: look at the load of Prometheus and "
                        "the proxies before it, ask for less, or pass a longer deadline",
                    )
                if answer.status_code not in _TRANSIENT or _is_prometheus(answer):
                    return self._checked(answer, parameters["query"])
                failure = PrometheusError(
                    f"Prometheus at {self.url} answers HTTP {answer.status_code} {_beginning(answer)}",
                    remedy="a proxy before Prometheus answers, or a limit on queries: check that Prometheus runs, and ask less often",
                    status=answer.status_code,
                )
                asked = answer.headers.get("Retry-After", "")
            wait = max(pause, retry_after(asked))
            if clock.monotonic() + wait >= end:
                raise PrometheusError(
                    f"{failure.message} (tries: {tries}, within {self._deadline:g} s)"
                    + (f"; it asks to wait {asked}" if asked else ""),
                    remedy=failure.remedy,
                    status=failure.status,
                )
            clock.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _get(self, where: str, parameters: Mapping[str, str], left: float) -> requests.Response:
        import requests

        return requests.get(
            where,
            params={**parameters, "timeout": f"{max(left, 0.1):.1f}"},
            headers=self._headers,
            timeout=max(left, 0.1),
            auth=self._authorize,
            verify=self._verify,
            cert=self._certificate,  # type: ignore[arg-type]
        )

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """As an object for requests, since it would replace a header by what ``.netrc`` has for the host."""
        if self._token_file:
            request.headers["Authorization"] = f"Bearer {Path(self._token_file).read_text(encoding='utf-8').strip()}"
        elif self._basic:
            import base64

            request.headers["Authorization"] = f"Basic {base64.b64encode(self._basic.encode()).decode()}"
        return request

    def _checked(self, answer: requests.Response, promql: str) -> Mapping[str, Any]:
        if answer.status_code in _REFUSED:
            raise self._refused(answer)
        body = _json(answer)
        if body is None or "status" not in body:
            moved = "" if answer.url.startswith(self.url) else f" from {answer.url.partition('?')[0]}"
            raise PrometheusError(
                f"what answers at {self.url} is not Prometheus' API: HTTP {answer.status_code}{moved}, {_beginning(answer)}",
                remedy="pass the base URL, without /api/v1 or /graph and with the route prefix if there is one; a page in HTML is often "
                "that of Grafana, or of a login",
                status=answer.status_code,
            )
        if body["status"] != "success":
            kind, text = body.get("errorType", "error"), body.get("error", "no text")
            raise PrometheusError(
                f"Prometheus at {self.url} rejects {promql!r}: {kind}: {text}",
                remedy="ask for a shorter time or fewer series, or raise --query.timeout and --query.max-samples"
                if kind in ("timeout", "canceled", "execution", "unavailable")
                else "correct the query",
                status=answer.status_code,
            )
        if warnings := body.get("warnings"):
            raise PrometheusError(
                f"Prometheus at {self.url} warns that the answer to {promql!r} may be wrong: {'; '.join(map(str, warnings))}",
                remedy="Thanos and remote storage warn when a part of the data is missing; counts of a part are not judged by",
            )
        data: Mapping[str, Any] = body["data"]
        return data

    def _refused(self, answer: requests.Response) -> PrometheusError:
        wanted = answer.headers.get("WWW-Authenticate", "")
        sent = "the bearer token" if self._token_file else "the user name and password" if self._basic else ""
        if answer.status_code == 401:
            message = f"does not accept {sent}" if sent else "asks for credentials"
            kind = wanted.partition(" ")[0].lower()
            remedy = {"basic": "pass username and password", "bearer": "pass token_file"}.get(
                kind, "pass token_file, or username and password"
            )
        else:
            message = (
                f"does not permit the query with {sent}" if sent else "does not permit the query without credentials"
            )
            remedy = (
                "give the account the permission to query metrics (with kube-rbac-proxy: a ClusterRole that its configuration names; on "
                "OpenShift: cluster-monitoring-view)"
            )
        return PrometheusError(
            f"Prometheus at {self.url} {message}: HTTP {answer.status_code}"
            + (f", WWW-Authenticate: {wanted}" if wanted else f" {_beginning(answer)}"),
            remedy=remedy,
            status=answer.status_code,
        )

    def _unreachable(self, error: requests.RequestException) -> PrometheusError:
        text = f"{type(error).__name__} {error}"
        host = urlsplit(self.url).netloc
        if "ProxyError" in text:
            cause, remedy = f"the HTTP proxy fails: {error}", "set NO_PROXY to the host of Prometheus"
        elif any(sign in text for sign in ("NameResolutionError", "getaddrinfo", "name resolution", "No address")):
            cause, remedy = f"the host name in {host} does not resolve", "in a cluster use SERVICE.NAMESPACE.svc"
        elif "Connection refused" in text:
            cause, remedy = (
                "connection refused",
                "nothing listens there, or a NetworkPolicy rejects the connection: check the port, and that Prometheus runs",
            )
        elif "SSLError" in text or "certificate" in text:
            cause, remedy = (
                f"the TLS handshake failed: {error}",
                "pass ca_file with the certificate authority of the server, client_certificate if it asks for one, and the host name that "
                "is in its certificate",
            )
        elif "imeout" in text or "timed out" in text:
            cause, remedy = (
                "timed out",
                "packets that are dropped rather than rejected suggest a NetworkPolicy or a firewall; a slow Prometheus needs a longer "
                "deadline",
            )
        else:
            cause, remedy = f"the connection failed: {error}", "check the address, and http:// against https://"
        return PrometheusError(f"Prometheus at {self.url} cannot be reached: {cause}", remedy=remedy)


def _series(data: Mapping[str, Any], promql: str) -> list[Series]:
    kind, result = data["resultType"], data["result"]
    if kind == "scalar":
        return [Series(labels={}, samples=(_sample(result),))]
    if kind not in ("vector", "matrix"):
        raise PrometheusError(f"{promql!r} returns a {kind}, not series", remedy="ask for numbers")
    native = [one["metric"] for one in result if "histogram" in one or "histograms" in one]
    if native:
        name = native[0].get("__name__", promql)
        raise PrometheusError(
            f"{name} is a native histogram ({len(native)} series), which has no series of buckets and counts",
            remedy="set always_scrape_classic_histograms: true in the scrape configuration of these pods, or turn scrape_native_histograms "
            "and convert_classic_histograms_to_nhcb off for them",
        )
    return [
        Series(
            labels=one["metric"],
            samples=tuple(map(_sample, one["values"] if kind == "matrix" else [one["value"]])),
        )
        for one in result
    ]


def _sample(found: Any) -> tuple[float, float]:
    return float(found[0]), float(found[1])


def _number(value: float) -> str:
    """A time or step as the API reads it, to the millisecond of its samples."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(
            f"{value!r} is no number of seconds", remedy="pass times in Unix seconds, such as Prometheus.now()"
        )
    return f"{value:.3f}"


def _json(answer: requests.Response) -> Mapping[str, Any] | None:
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _is_prometheus(answer: requests.Response) -> bool:
    """Whether Prometheus itself answered, rather than a proxy before it; it would answer the same again."""
    return "errorType" in (_json(answer) or {})


def _beginning(answer: requests.Response) -> str:
    text = " ".join(answer.text.split())
    kind = answer.headers.get("Content-Type", "no content type").partition(";")[0]
    return f"({kind}) {text[:_SHOWN]!r}" if text else f"({kind}, no text)"


def _named(certificate: tuple[str | Path, str | Path] | None) -> list[tuple[str, str | Path]]:
    if certificate is None:
        return []
    if isinstance(certificate, str | Path) or len(certificate) != 2:
        raise UsageError("client_certificate is not a pair", remedy="pass the paths of certificate and key")
    return [("client_certificate", one) for one in certificate]
