"""The target ``kind``: a session on the stack's own cluster, which is brought up for it when it is not there yet and left running."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trivet.model.events import Emit
from trivet.model.stack import Stack
from trivet.provision.access import ClusterAccess
from trivet.targets.cluster.target import ClusterTarget


def kind_target(images: str, mirror: str) -> ClusterTarget:
    """The target ``kind``. ``images`` is ``build`` or ``pull``, ``mirror`` a registry before all others, as in the settings."""

    @contextmanager
    def opened(stack: Stack, emit: Emit) -> Iterator[ClusterAccess]:
        from trivet.provision.kind.up import Source, open_cluster

        with open_cluster(stack, emit, Source(kind=images, mirror=mirror)) as access:
            yield access

    def steps(stack: Stack) -> Sequence[str]:
        parts = stack.components
        source = "built from packages" if images == "build" else "pulled from their registries"
        return (
            f"images: {source}, those that are not there yet",
            f"kind cluster: Kubernetes {parts.get('kubernetes', '(none named)')}, unless it runs already",
            f"platform: Knative {parts.get('knative', '(none named)')}, an ingress, KServe {parts['kserve']}, "
            f"MLflow {parts['mlflow']} on PostgreSQL with an S3 store, Prometheus",
        )

    return ClusterTarget("kind", opened, steps)
