"""The facts of a platform that its monitoring depends on: as its stack states them, and as its operators say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trivet.errors import CannotTell, UsageError, unknown
from trivet.integration.request_metrics import (
    KNATIVE,
    KNATIVE_OPENCENSUS,
    KSERVE_PYTHON,
    MLSERVER_REST,
    RequestSource,
    source_named,
)
from trivet.model.stack import Stack

EXPORTER, EXPORTER_PORT = "trivet-exporter", 9469
"""The name of trivet's exporter, which is that of its job and of its objects, and its port."""

ENDPOINTS: Mapping[str, tuple[int, str] | None] = {
    MLSERVER_REST.name: None,
    KNATIVE.name: (9091, "/metrics"),
    KNATIVE_OPENCENSUS.name: (9091, "/metrics"),
    KSERVE_PYTHON.name: (8080, "/metrics"),
}
"""The sources that are scraped from the predictors' pods, with port and path; None: the stack states them. The gateways' are scraped
elsewhere."""

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ADDRESS = re.compile(r"[A-Za-z0-9.-]+:[0-9]{1,5}|\[[0-9A-Fa-f:]+\]:[0-9]{1,5}")


@dataclass(frozen=True, kw_only=True)
class MonitoredPlatform:
    """``source`` counts the inference requests, and ``metrics_port`` and ``metrics_path`` are where a predictor's pod serves its counts.
    ``namespaces`` limit what is scraped and alerted on; empty means all. The others are HOST:PORT of trivet's exporter, of
    kube-state-metrics, and of NVIDIA's dcgm-exporter, which is empty for a platform without GPUs.

    Raises UsageError for a name or an address that is none.
    """

    stack: str
    metrics_port: int
    metrics_path: str
    source: RequestSource = MLSERVER_REST
    namespaces: tuple[str, ...] = ()
    exporter: str = f"{EXPORTER}.monitoring.svc:{EXPORTER_PORT}"
    kube_state_metrics: str = "kube-state-metrics.kube-system.svc:8080"
    gpu: str = ""

    def __post_init__(self) -> None:
        for name in self.namespaces:
            if not _NAMESPACE.fullmatch(name):
                raise UsageError(
                    f"{name!r} is no name of a namespace",
                    remedy="lower-case letters, digits and '-', at most 63 characters, such as models",
                )
        for what, address in (
            ("exporter", self.exporter),
            ("kube-state-metrics", self.kube_state_metrics),
            ("GPU exporter", self.gpu),
        ):
            if not _ADDRESS.fullmatch(address) and (address or what != "GPU exporter"):
                raise UsageError(
                    f"the address of the {what} is {address!r}",
                    remedy=f"pass HOST:PORT without a scheme, such as {MonitoredPlatform.exporter}",
                )


def source_of(name: str) -> RequestSource:
    """The source of this name, of those that are scraped from pods. Raises UsageError for another one."""
    if name not in ENDPOINTS:
        raise unknown("source of request metrics that is scraped from the predictors' pods", name, ENDPOINTS)
    return source_named(name)


def metrics_endpoint(stack: Stack, source: RequestSource = MLSERVER_REST) -> tuple[int, str]:
    """Port and path at which the predictors of a stack serve the metrics of a source.

    Raises UsageError for MLServer when the stack does not state them, or no version of MLServer.
    """
    if fixed := ENDPOINTS[source.name]:
        return fixed
    try:
        serving = stack.settings["serving"]
        # A detected stack has a runtime's version only if its image is MLServer's, whose series the rules count.
        _, port, path = stack.components["runtime"], serving["metrics_port"], serving["metrics_path"]
    except (KeyError, CannotTell) as error:
        raise UsageError(
            f"stack {stack.name} does not state where its predictors serve the metrics of MLServer: {error}",
            remedy="for another runtime name what counts its requests, such as --source knative; for MLServer write runtime into "
            "[components], metrics_port and metrics_path into [serving] of its stack.toml, and delete their lines in [unknown]",
        ) from error
    return int(port), str(path)
