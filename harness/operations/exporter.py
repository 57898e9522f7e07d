"""Exports to Prometheus what MLflow's registry, its runs and KFP's API know: versions, their metrics and waiting times, runs by state.

Each source is read in a thread of its own, at an interval. A scrape gets what was read last; when a reading failed, or is older than three
intervals, the source's series disappear and ``trivet_exporter_up`` is 0: an alert on old numbers would be worse than none.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from trivet.errors import PlatformError, TrivetError, UsageError, unknown
from trivet.integration.lineage import SERVICE_TAG
from trivet.integration.pipeline_api import PipelineApi
from trivet.integration.tracking import TrackingApi, TrackingError
from trivet.operations.monitor import series
from trivet.operations.pipeline_runs import finished_runs

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

REJECTED_TAG = "trivet.dev/rejected"
"""A tag of a registered version that is not to be promoted, with any value: it does not wait for a decision, and is no previous version."""
RUN_STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
"""mlflow 3.17.2 mlflow/protos/service.proto, RunStatus."""
INTERVAL = 60.0
"""Seconds between two readings of a source."""
MOST_SAMPLES = 5000
"""Samples of a source, above which nothing of it is exported: labels come from names that users choose."""
_MOST_RUNS = 10_000


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One value of a series; ``labels`` in the order of the series' labels."""

    series: series.Series
    labels: tuple[str, ...]
    value: float


class Source(Protocol):
    """What is read. ``name`` is the value of the label ``source``."""

    @property
    def name(self) -> str: ...

    def read(self, now: float) -> Sequence[Sample]:
        """The samples at ``now``, in Unix time. Raises TrivetError."""


@dataclass(frozen=True, kw_only=True)
class RegistrySource:
    """MLflow. Without ``models`` every registered model is exported that has a version in production.

    ``production`` is the alias of the version in production; where no version has it, the stage of that name counts, whatever its case.
    ``metrics`` are names of metrics of runs, and ``experiments`` the names of those whose runs are counted.
    """

    tracking: TrackingApi
    metrics: Sequence[str]
    production: str = "production"
    models: Sequence[str] = ()
    experiments: Sequence[str] = ()
    name: str = "mlflow"

    def read(self, now: float) -> Sequence[Sample]:
        """The samples of models, then those of runs."""
        registered = {str(one["name"]): one for one in self.tracking.all_registered_models()}
        for model in self.models:
            if model not in registered:
                raise unknown("registered model", model, registered)
        versions: dict[str, list[Mapping[str, Any]]] = {}
        for version in self.tracking.all_model_versions():
            versions.setdefault(str(version["name"]), []).append(version)
        found: list[Sample] = []
        for model in self.models or registered:
            found += self._of_model(model, _aliases(registered[model]), versions.get(model, []))
        for experiment in self.experiments:
            found += self._of_experiment(experiment, now)
        return found

    def _of_model(
        self, model: str, aliases: Mapping[str, int], versions: Sequence[Mapping[str, Any]]
    ) -> Iterator[Sample]:
        number = aliases.get(self.production) or max(
            (_number(one) for one in versions if str(one.get("current_stage")).lower() == self.production.lower()),
            default=0,
        )
        if not number and not self.models:
            return
        for alias, aliased in aliases.items():
            yield Sample(series=series.ALIAS_VERSION, labels=(model, alias), value=aliased)
        candidates = [one for one in versions if REJECTED_TAG not in _tags(one)]
        pending = [one for one in candidates if _number(one) > number and one.get("status", "READY") == "READY"]
        yield Sample(series=series.VERSIONS_PENDING, labels=(model,), value=len(pending))
        if pending:
            oldest = min(int(one["creation_timestamp"]) for one in pending) / 1000
            yield Sample(series=series.OLDEST_PENDING, labels=(model,), value=oldest)
        in_production = next((one for one in versions if _number(one) == number), None)
        if in_production is None:
            return
        yield Sample(series=series.PRODUCTION_VERSION, labels=(model,), value=number)
        for tag in _tags(in_production):
            if tag.startswith(SERVICE_TAG):
                namespace, _, service = tag.removeprefix(SERVICE_TAG).partition("/")
                yield Sample(series=series.PRODUCTION_SERVICE, labels=(model, namespace, service), value=1)
        yield from self._metrics_of(model, in_production, series.PRODUCTION_METRIC)
        previous = max((one for one in candidates if _number(one) < number), key=_number, default=None)
        if previous is not None:
            yield from self._metrics_of(model, previous, series.PREVIOUS_METRIC)

    def _metrics_of(self, model: str, version: Mapping[str, Any], of: series.Series) -> Iterator[Sample]:
        if run_id := version.get("run_id"):
            try:
                measured = self.tracking.metrics(str(run_id))
            except TrackingError as error:
                if error.code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return  # The run was deleted for good; the other models have theirs.
            for metric in self.metrics:
                if math.isfinite(measured.get(metric, math.nan)):
                    yield Sample(series=of, labels=(model, metric), value=measured[metric])

    def _of_experiment(self, name: str, now: float) -> Iterator[Sample]:
        identifier = str(self.tracking.get_experiment_by_name(name)["experiment_id"])
        since = f"attributes.start_time >= {int((now - series.SECONDS_IN_A_DAY) * 1000)}"
        runs = self.tracking.search_runs(identifier, since, max_results=_MOST_RUNS)
        if len(runs) == _MOST_RUNS:
            raise PlatformError(
                f"experiment {name!r} has {_MOST_RUNS} runs or more of the last 24 hours",
                remedy="leave it out: --experiment names the experiments whose runs are counted",
            )
        for status in RUN_STATUSES:
            count = sum(run["info"].get("status") == status for run in runs)
            yield Sample(series=series.TRACKING_RUNS, labels=(name, status), value=count)


@dataclass(frozen=True, kw_only=True)
class PipelineSource:
    """Kubeflow Pipelines. ``namespaces`` are needed by a multi-user installation."""

    pipelines: PipelineApi
    namespaces: Sequence[str] = ()
    name: str = "kfp"

    def read(self, now: float) -> Sequence[Sample]:
        """The samples of every namespace."""
        found = []
        for namespace in self.namespaces or ("",):
            counted = finished_runs(self.pipelines, namespace, since=now - series.SECONDS_IN_A_DAY, until=now)
            found += [
                Sample(series=series.PIPELINE_RUNS, labels=(namespace, state), value=count)
                for state, count in counted.items()
            ]
        return found


@dataclass
class _Reading:
    """What is known of a source: its samples, and when they were read, by the monotonic clock and in Unix time. ``problem`` is why the last
    reading failed."""

    samples: Sequence[Sample] = ()
    at: float = -math.inf
    succeeded: float = 0.0
    problem: str = "it has not been read yet"


@dataclass
class Exporter:
    """Reads sources and keeps what was read last. ``clock`` is Unix time, ``monotonic`` measures ages."""

    sources: Sequence[Source]
    interval: float = INTERVAL
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    _readings: dict[str, _Reading] = field(default_factory=dict)

    def refresh(self, source: Source) -> str:
        """Read a source once; returns what went wrong, empty when nothing did."""
        reading = self._readings.setdefault(source.name, _Reading())
        started, now = self.monotonic(), self.clock()
        try:
            samples = source.read(now)
            if len(samples) > MOST_SAMPLES:
                raise PlatformError(
                    f"{source.name} has {len(samples)} samples, more than {MOST_SAMPLES}",
                    remedy="export single models: --model",
                )
        except TrivetError as error:
            problem = str(error)
        except Exception as error:
            # A source's answer can be anything, and the thread must live.
            problem = f"unexpected answer: {type(error).__name__}: {error}"
        else:
            problem = ""
        succeeded = reading.succeeded if problem else now
        self._readings[source.name] = _Reading(
            samples=() if problem else samples, at=started, succeeded=succeeded, problem=problem
        )
        return problem

    def samples(self) -> Iterator[Sample]:
        """All samples now, those about the exporter first."""
        for source in self.sources:
            reading = self._readings.get(source.name, _Reading())
            up = not reading.problem and self.monotonic() - reading.at <= 3 * self.interval
            yield Sample(series=series.EXPORTER_UP, labels=(source.name,), value=up)
            yield Sample(series=series.EXPORTER_LAST_SUCCESS, labels=(source.name,), value=reading.succeeded)
            if up:
                yield from reading.samples

    def run(self, stop: threading.Event, report: Callable[[str], None]) -> None:
        """Read all sources until ``stop``; ``report`` gets a line for each change between reading and failing."""
        threads = [
            threading.Thread(target=self._keep_reading, args=(source, stop, report), daemon=True, name=source.name)
            for source in self.sources
        ]
        for thread in threads:
            thread.start()
        stop.wait()

    def _keep_reading(self, source: Source, stop: threading.Event, report: Callable[[str], None]) -> None:
        before = None
        while not stop.is_set():
            problem = self.refresh(source)
            if problem != before:
                report(f"{source.name}: {problem or 'is read'}")
            before = problem
            stop.wait(self.interval)


class _Collector:
    """The exporter's samples as prometheus_client has them."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        families = {one.name: GaugeMetricFamily(one.name, one.meaning, labels=one.labels) for one in series.EXPORTED}
        for sample in self._exporter.samples():
            families[sample.series.name].add_metric(sample.labels, sample.value)
        yield from families.values()


def registry_of(exporter: Exporter) -> CollectorRegistry:
    """A registry of prometheus_client with the exporter's series. Raises UsageError without prometheus_client."""
    try:
        from prometheus_client import CollectorRegistry
    except ImportError as error:
        raise UsageError(
            "the exporter needs prometheus_client, which is not installed",
            remedy="pip install 'trivet[operations]'",
        ) from error
    registry = CollectorRegistry()
    registry.register(_Collector(exporter))
    return registry


def exposition(exporter: Exporter) -> str:
    """The exporter's series in Prometheus' text format."""
    registry = registry_of(exporter)
    from prometheus_client import generate_latest

    return generate_latest(registry).decode()


def serve(exporter: Exporter, host: str, port: int, *, stop: threading.Event) -> None:
    """Serve the series at ``/metrics`` and read the sources, until ``stop``. Raises UsageError when the address cannot be bound."""
    registry = registry_of(exporter)
    from prometheus_client import start_http_server

    try:
        server, _ = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror}", remedy="choose another address: --listen HOST:PORT"
        ) from error
    try:
        exporter.run(stop, lambda line: print(line, file=sys.stderr, flush=True))
    finally:
        stop.set()
        server.shutdown()
        server.server_close()


def _aliases(model: Mapping[str, Any]) -> Mapping[str, int]:
    return {str(one["alias"]): int(one["version"]) for one in model.get("aliases") or ()}


def _number(version: Mapping[str, Any]) -> int:
    return int(version["version"])


def _tags(version: Mapping[str, Any]) -> Sequence[str]:
    return [str(one["key"]) for one in version.get("tags") or ()]
