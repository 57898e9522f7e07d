"""The target ``kind``: a session on the stack's kind cluster, which is created when it does not exist yet, and left running."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trivet.errors import UsageError
from trivet.model.events import Emit
from trivet.model.results import ResultInputs
from trivet.model.stack import Stack
from trivet.provision.access import PIPELINES, ClusterAccess
from trivet.targets.cluster.session import ClusterSession
from trivet.targets.cluster.target import ClusterTarget
from trivet.targets.common.session import CODE


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
        from trivet.provision.kind.up import check_composed

        owner = stack.cluster_of or stack
        parts = owner.components
        if as_is:
            return ("kind cluster: as it is; nothing is created, installed or repaired",)
        check_composed(owner, images)
        source = "built from packages" if images == "build" else "pulled from their registries"
        return (
            f"images: {source}, if missing",
            f"kind cluster: Kubernetes {parts.get('kubernetes', '(none named)')}, unless it is already running",
            f"platform: Knative {parts.get('knative', '(none named)')}, an ingress, KServe {parts['kserve']}, "
            f"MLflow {parts['mlflow']} on PostgreSQL with an S3 store, Prometheus",
            *(f"add-on {name}" for name in addons),
            *((f"the trainer's image for {stack.name}, beside those of the cluster",) if stack.cluster_of else ()),
        )

    def result_inputs(stack: Stack) -> ResultInputs:
        from trivet.provision.kind.up import ImageSource, content_digest

        if as_is:
            raise UsageError(
                "results of a cluster as it is cannot be kept: what was changed on it is not known",
                remedy="omit --results, or judge the cluster as trivet makes it, without --as-is",
            )
        content = content_digest(stack.cluster_of or stack, ImageSource(kind=images, mirror=mirror), addons)
        return ResultInputs(
            parts=ClusterSession.PARTS,
            options={"cluster": content},
            code=(*CODE, "trivet.targets.cluster"),
            momentary=frozenset(ClusterSession.CLIENTS) - frozenset(ClusterSession.PARTS),
        )

    runner = "on KFP's backend" if PIPELINES in addons else "in the trainer pod"
    return ClusterTarget("kind", opened, steps, owns_cluster=True, runner=runner, result_inputs=result_inputs)
