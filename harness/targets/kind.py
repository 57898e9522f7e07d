"""The target ``kind``: a session on the stack's kind cluster, which is created when it does not exist yet, and left running."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trivet.model.events import Emit
from trivet.model.stack import Stack
from trivet.provision.access import PIPELINES, ClusterAccess
from trivet.targets.cluster.target import ClusterTarget


def kind_target(images: str, mirror: str, *, addons: Sequence[str] = (), as_is: bool = False) -> ClusterTarget:
    """The target ``kind``. ``images`` is ``build`` or ``pull``, ``mirror`` the URL of a mirror for all registries, ``addons`` what the
    cluster has in addition, as in the settings.

    With ``as_is`` the cluster is neither created nor completed.
    """

    @contextmanager
    def opened(stack: Stack, emit: Emit) -> Iterator[ClusterAccess]:
        from trivet.provision.kind.up import ImageSource, open_cluster

        source = ImageSource(kind=images, mirror=mirror)
        with open_cluster(stack, emit, source, addons=addons, as_is=as_is) as access:
            yield access

    def steps(stack: Stack) -> Sequence[str]:
        parts = stack.components
        if as_is:
            return ("kind cluster: as it is; nothing is created, installed or repaired",)
        source = "built from packages" if images == "build" else "pulled from their registries"
        return (
            f"images: {source}, if missing",
            f"kind cluster: Kubernetes {parts.get('kubernetes', '(none named)')}, unless it is already running",
            f"platform: Knative {parts.get('knative', '(none named)')}, an ingress, KServe {parts['kserve']}, "
            f"MLflow {parts['mlflow']} on PostgreSQL with an S3 store, Prometheus",
            *(f"add-on {name}" for name in addons),
        )

    runner = "on KFP's backend" if PIPELINES in addons else "in the trainer pod"
    return ClusterTarget("kind", opened, steps, owns_cluster=True, runner=runner)
