"""The windows of a canary's judge, read from a Prometheus."""

from __future__ import annotations

from dataclasses import dataclass

from trivet.integration.canary_counts import CanaryWindow
from trivet.integration.prometheus import Prometheus
from trivet.integration.request_metrics import detect_source, read_window, source_named


@dataclass(frozen=True, kw_only=True)
class PrometheusMetrics:
    """Implements ``trivet.operations.canary_run.CanaryMetrics``. ``source_name`` is one of SOURCES; empty: the one that counts requests of
    the revisions."""

    prometheus: Prometheus
    namespace: str
    source_name: str = ""

    def now(self) -> float:
        """The time by Prometheus' clock."""
        return self.prometheus.now()

    def source(self, *, canary: str, stable: str) -> str:
        """The name of the source, detected unless it is stated. Raises UsageError for an unknown one."""
        found = (
            source_named(self.source_name)
            if self.source_name
            else detect_source(self.prometheus, namespace=self.namespace, revisions=(canary, stable))
        )
        return found.name

    def window(self, source: str, *, canary: str, stable: str, start: float, end: float) -> CanaryWindow:
        """See ``trivet.integration.request_metrics.read_window``."""
        return read_window(
            self.prometheus,
            source_named(source),
            namespace=self.namespace,
            canary=canary,
            stable=stable,
            start=start,
            end=end,
        )
