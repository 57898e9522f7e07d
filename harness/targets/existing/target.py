"""The target ``existing``: access to a user's cluster from the settings. Only a session creates objects there, in the two namespaces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from trivet.errors import PlatformError, UsageError, unknown
from trivet.host.kubectl import Kubectl, contexts
from trivet.host.signals import interruptible
from trivet.integration.pipeline_api import PipelineApi
from trivet.model.events import Emit
from trivet.model.redaction import redact
from trivet.model.settings import Existing
from trivet.model.stack import Stack
from trivet.provision.access import ClusterAccess, PipelinesAccess, StoreAccess
from trivet.targets.cluster.target import ClusterTarget
from trivet.targets.existing.rbac import missing_permissions, needed_permissions

REQUIRED = ("context", "pipeline_namespace", "serving_namespace", "tracking_uri", "artifact_root", "ingress")


def existing_target(settings: Existing) -> ClusterTarget:
    """The target ``existing`` for these settings. The cluster is first accessed when a session starts."""

    @contextmanager
    def opened(stack: Stack, emit: Emit) -> Iterator[ClusterAccess]:
        yield existing_access(settings, stack)

    def steps(stack: Stack) -> Sequence[str]:
        return (
            f"context {settings.context or '(not set)'}: nothing is installed, and only objects that a session created are changed",
            f"namespaces {settings.pipeline_namespace or '(not set)'} and {settings.serving_namespace or '(not set)'}",
            *(
                [redact(f"Kubeflow Pipelines at {settings.kfp_url}, runs in {settings.kfp_namespace}")]
                if settings.kfp_url
                else []
            ),
        )

    return ClusterTarget("existing", opened, steps)


def kubectl_of(settings: Existing) -> Kubectl:
    """kubectl for the context in the settings. Raises UsageError when there is none, or the kubeconfig does not have it."""
    kubeconfig = Path(settings.kubeconfig).expanduser().absolute() if settings.kubeconfig else None
    present = contexts(kubeconfig)
    known = f"the kubeconfig has: {', '.join(present)}" if present else "the kubeconfig has none"
    if not settings.context:
        raise UsageError(
            "the target existing needs the name of a context; it never uses the current context",
            remedy=f"set --context NAME, or context in [tool.trivet.existing]; {known}",
        )
    if settings.context not in present:
        raise unknown("context of the kubeconfig", settings.context, present)
    return Kubectl(context=settings.context, kubeconfig=kubeconfig)


@interruptible
def existing_access(settings: Existing, stack: Stack) -> ClusterAccess:
    """The access to the cluster in the settings. Raises UsageError for missing settings, PlatformError for missing permissions."""
    if missing := [key for key in REQUIRED if not getattr(settings, key)]:
        if "context" in missing:
            kubectl_of(settings)
        raise UsageError(
            f"the target existing needs these settings: {', '.join(missing)}",
            remedy="set them in [tool.trivet.existing] of pyproject.toml",
        )
    if bool(settings.kfp_url) is not bool(settings.kfp_namespace):
        given, absent = ("kfp_url", "kfp_namespace") if settings.kfp_url else ("kfp_namespace", "kfp_url")
        raise UsageError(
            f"the target existing has {given} and no {absent}",
            remedy=f"set {absent} in [tool.trivet.existing], or leave both out: the contracts of KFP's backend are then skipped",
        )
    kubectl = kubectl_of(settings)
    version = json.loads(kubectl.raw("/version"))["gitVersion"]
    needed = needed_permissions(settings)
    if denied := missing_permissions(kubectl, needed):
        raise PlatformError(
            f"this account may not {denied[0]}" + (f", and {len(denied) - 1} more" if len(denied) > 1 else ""),
            remedy="let a cluster administrator apply the output of `trivet doctor --target existing --rbac`",
        )
    images = _images(settings, stack)
    return ClusterAccess(
        kubectl=kubectl,
        ingress=settings.ingress,
        tracking_uri=settings.tracking_uri,
        tracking_url=settings.tracking_url,
        prometheus_url=settings.prometheus_url,
        store=StoreAccess(
            root=settings.artifact_root,
            endpoint=settings.store_endpoint,
            region=settings.store_region,
            service_account=settings.service_account,
            secret=settings.store_secret,
        ),
        images=images,
        pipelines=_pipelines(settings, images["trainer"]),
        owned=False,
        pipeline_namespace=settings.pipeline_namespace,
        serving_namespace=settings.serving_namespace,
        notes={"Kubernetes": version},
    )


def _pipelines(settings: Existing, trainer_image: str) -> PipelinesAccess | None:
    """Kubeflow Pipelines, whose API server answers; None when the settings have none. Raises PipelineApiError."""
    if not settings.kfp_url:
        return None
    PipelineApi(settings.kfp_url).health()
    return PipelinesAccess(
        url=settings.kfp_url, namespace=settings.kfp_namespace, step_image=settings.kfp_step_image or trainer_image
    )


def _images(settings: Existing, stack: Stack) -> dict[str, str]:
    images = {
        "trainer": settings.trainer_image,
        "initializer": settings.initializer_image
        or f"docker.io/kserve/storage-initializer:v{stack.components['kserve']}",
        "runtime": settings.runtime_image or stack.roles["runtime"].image,
    }
    if missing := [role for role, image in images.items() if not image]:
        raise UsageError(
            f"the target existing needs an image for the role {missing[0]}: none is published",
            remedy=f"build it with `trivet images build`, push it, and set {missing[0]}_image in [tool.trivet.existing]",
        )
    return images
