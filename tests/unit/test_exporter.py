"""The exporter: sources that fail or hang leave no series, labels are bounded, and KFP's runs are counted by when they finished."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fakes.http_server import serving
from prometheus_client.parser import text_string_to_metric_families

from trivet.errors import PlatformError, UsageError
from trivet.integration.pipeline_api import PipelineApi
from trivet.operations.exporter import MOST_SAMPLES, Exporter, PipelineSource, Sample, exposition, serve
from trivet.operations.monitor import series
from trivet.operations.pipeline_runs import finished_runs

NOW = 1_800_000_000.0
HOUR = 3600.0


@dataclass
class Source:
    """Answers with what ``answers`` has next."""

    answers: list[Sequence[Sample] | Exception]
    name: str = "mlflow"

    def read(self, now: float) -> Sequence[Sample]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Clock:
    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def version(number: int) -> Sample:
    return Sample(series=series.PRODUCTION_VERSION, labels=("rec",), value=number)


def values(exporter: Exporter) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(exposition(exporter))
        for sample in family.samples
    }


UP, LAST, VERSION = (
    "trivet_exporter_up['mlflow']",
    "trivet_exporter_last_success_timestamp_seconds['mlflow']",
    "trivet_model_production_version['rec']",
)


def test_before_the_first_reading_the_source_is_down_and_has_no_series() -> None:
    assert values(Exporter(sources=[Source([])])) == {UP: 0, LAST: 0}


@pytest.mark.parametrize("error", [PlatformError("MLflow is away"), KeyError("version")])
def test_a_reading_that_fails_leaves_no_old_numbers_and_says_when_the_last_one_succeeded(error: Exception) -> None:
    source = Source([[version(3)], error, [version(4)]])
    exporter = Exporter(sources=[source], clock=lambda: NOW)
    assert exporter.refresh(source) == ""
    assert values(exporter) == {UP: 1, LAST: NOW, VERSION: 3}
    assert str(error) in exporter.refresh(source)
    assert values(exporter) == {UP: 0, LAST: NOW}
    exporter.refresh(source)
    assert values(exporter) == {UP: 1, LAST: NOW, VERSION: 4}


def test_a_reading_that_hangs_counts_as_failed_after_three_intervals() -> None:
    clock = Clock()
    source = Source([[version(3)]])
    exporter = Exporter(sources=[source], interval=10, clock=lambda: NOW, monotonic=clock)
    exporter.refresh(source)
    clock.seconds = 30.0
    assert values(exporter)[UP] == 1
    clock.seconds = 30.1
    assert values(exporter) == {UP: 0, LAST: NOW}


def test_a_source_with_too_many_samples_is_refused_as_a_whole() -> None:
    source = Source([[version(1)] * (MOST_SAMPLES + 1)])
    exporter = Exporter(sources=[source])
    assert "5001 samples, more than 5000" in exporter.refresh(source)
    assert values(exporter) == {UP: 0, LAST: 0}


def test_one_source_that_fails_does_not_touch_the_other() -> None:
    good, bad = Source([[version(3)]]), Source([PlatformError("away")], name="kfp")
    exporter = Exporter(sources=[good, bad], clock=lambda: NOW)
    exporter.refresh(good)
    exporter.refresh(bad)
    assert values(exporter)[VERSION] == 3
    assert values(exporter)["trivet_exporter_up['kfp']"] == 0


def test_names_with_quotes_and_line_ends_are_escaped() -> None:
    name = 'a"b\\c\nd'
    source = Source([[Sample(series=series.VERSIONS_PENDING, labels=(name,), value=1)]])
    exporter = Exporter(sources=[source])
    exporter.refresh(source)
    assert f"trivet_model_versions_pending{[name]}" in values(exporter)


def test_names_follow_the_rules_of_prometheus() -> None:
    for one in series.EXPORTED:
        assert one.name.startswith("trivet_")
        assert not one.name.endswith(("_total", "_count", "_sum", "_bucket"))
        assert ("timestamp" in one.name) == one.name.endswith("_seconds")
        assert one.meaning.endswith(".")


def test_an_address_in_use_is_an_error_with_its_reason() -> None:
    import threading

    with serving(BaseHTTPRequestHandler) as taken, pytest.raises(UsageError, match="Address already in use"):
        serve(Exporter(sources=[]), "127.0.0.1", taken.server_port, stop=threading.Event())


# -- Kubeflow Pipelines -------------------------------------------------------------------------------------------------


def run(state: str, *, finished: float | None, created: float | None = None) -> dict[str, str]:
    """A run as KFP's API returns it; hours before NOW. The zero time stands for a run that has not finished."""
    ended = NOW - finished * HOUR if finished is not None else 0.0
    began = NOW - (finished or 0) * HOUR - HOUR if created is None else NOW - created * HOUR
    return {"run_id": "r", "state": state, "created_at": _stamp(began), "finished_at": _stamp(ended)}


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Requests:
    """What KFP's server was asked."""

    queries: list[Mapping[str, list[str]]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)


@contextmanager
def kfp(pages: Sequence[Any], status: int = 200) -> Iterator[tuple[str, Requests]]:
    seen = Requests()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            assert url.path == "/apis/v2beta1/runs"
            seen.queries.append(parse_qs(url.query))
            seen.tokens.append(self.headers.get("Authorization"))
            body = json.dumps(pages[len(seen.queries) - 1]).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with serving(Handler) as server:
        yield f"http://127.0.0.1:{server.server_port}", seen


def test_runs_are_counted_by_their_end_over_all_pages_until_they_are_too_old() -> None:
    pages = [
        {
            "runs": [
                run("RUNNING", finished=None),
                run("SUCCEEDED", finished=1),
                run("FAILED", finished=2, created=30),
                run("SUCCEEDED", finished=25),
            ],
            "next_page_token": "2",
        },
        {
            "runs": [run("CANCELED", finished=23), run("SUCCEEDED", finished=1, created=200)],
            "next_page_token": "never read",
        },
    ]
    with kfp(pages) as (url, seen):
        source = PipelineSource(pipelines=PipelineApi(url), namespaces=["team"])
        counted = {sample.labels: sample.value for sample in source.read(NOW)}
    assert counted == {
        ("team", "SUCCEEDED"): 1,
        ("team", "FAILED"): 1,
        ("team", "CANCELED"): 1,
        ("team", "SKIPPED"): 0,
    }
    assert [query["namespace"] for query in seen.queries] == [["team"], ["team"]]
    assert "page_token" not in seen.queries[0]
    assert seen.queries[1]["page_token"] == ["2"]
    assert seen.queries[0]["sort_by"] == ["created_at desc"]


def test_the_token_of_the_service_account_is_read_for_each_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token))
    with kfp([{}, {}]) as (url, seen):
        api = PipelineApi(url)
        for text in ("first\n", "second\n"):
            token.write_text(text)
            finished_runs(api, "", since=0, until=1)
        token.unlink()
        with pytest.raises(PlatformError, match="No such file"):
            finished_runs(api, "", since=0, until=1)
    assert seen.tokens == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("status", "page", "remedy"),
    [
        (401, {}, "audience pipelines.kubeflow.org"),
        (400, {"error": "Namespace is required"}, "--kfp-namespace"),
        (404, {}, "check that the address is that of KFP's API server"),
        (200, [], "check that the address is that of KFP's API server"),
    ],
)
def test_what_kfp_rejects_is_an_error_with_a_remedy(status: int, page: Any, remedy: str) -> None:
    with kfp([page], status) as (url, _), pytest.raises(PlatformError, match="GET /apis/v2beta1/runs") as caught:
        finished_runs(PipelineApi(url), "", since=0, until=1)
    assert remedy in str(caught.value)


def _wrong_time() -> dict[str, str]:
    return {**run("FAILED", finished=1), "created_at": "yesterday"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PipelineApi("ml-pipeline:8888"), "is no HTTP address"),
        (
            lambda: finished_runs(PipelineApi("http://127.0.0.1:9", retries=0), "", since=0, until=1),
            "Connection refused",
        ),
    ],
)
def test_a_wrong_address_is_an_error(call: Callable[[], object], message: str) -> None:
    with pytest.raises((UsageError, PlatformError), match=message):
        call()


def test_a_time_that_is_none_names_the_run() -> None:
    with (
        kfp([{"runs": [_wrong_time()]}]) as (url, _),
        pytest.raises(PlatformError, match="run r has created_at 'yesterday'"),
    ):
        finished_runs(PipelineApi(url), "", since=0, until=NOW)
