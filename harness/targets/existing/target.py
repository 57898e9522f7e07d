"""From the user's settings to the way into the user's cluster. Makes nothing there; a session does, within the two named namespaces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from trivet.errors import PlatformError, UsageError, unknown
from trivet.host.kubectl import Kubectl, contexts
from trivet.host.signals import interruptible
from trivet.model.events import Emit
from trivet.model.settings import Existing
from trivet.model.stack import Stack
from trivet.provision.access import ClusterAccess, StoreAccess
from trivet.targets.cluster.target import ClusterTarget
from trivet.targets.existing.rbac import lacking

REQUIRED = ("context", "pipeline_namespace", "serving_namespace", "tracking_uri", "artifact_root", "ingress")


def existing_target(settings: Existing) -> ClusterTarget:
    """The target ``existing`` for what the user named. Nothing is looked at before a session starts."""

    @contextmanager
    def opened(stack: Stack, emit: Emit) -> Iterator[ClusterAccess]:
        yield existing_access(settings, stack)

    def steps(stack: Stack) -> Sequence[str]:
        return (
            f"context {settings.context or '(none named)'}: nothing is installed there, and nothing changed that a session did not make",
            f"namespaces {settings.pipeline_namespace or '(none named)'} and {settings.serving_namespace or '(none named)'}",
        )

    return ClusterTarget("existing", opened, steps)


def kubectl_of(settings: Existing) -> Kubectl:
    """kubectl for the named context. Raises UsageError when none is named, or one that the kubeconfig does not have."""
    kubeconfig = Path(settings.kubeconfig).expanduser().absolute() if settings.kubeconfig else None
    present = contexts(kubeconfig)
    known = f"the kubeconfig has: {', '.join(present)}" if present else "the kubeconfig has none"
    if not settings.context:
        raise UsageError(
            "the target existing works in a named context only, never in whatever is the current one",
            remedy=f"say --context NAME, or context in [tool.trivet.existing]; {known}",
        )
    if settings.context not in present:
        raise unknown("context of the kubeconfig", settings.context, present)
    return Kubectl(context=settings.context, kubeconfig=kubeconfig)


@interruptible
def existing_access(settings: Existing, stack: Stack) -> ClusterAccess:
    """The way into the named cluster. Raises UsageError for what is not named, PlatformError for what is not allowed there."""
    if missing := [key for key in REQUIRED if not getattr(settings, key)]:
        if "context" in missing:
            kubectl_of(settings)
        raise UsageError(
            f"the target existing needs to be told: {', '.join(missing)}",
            remedy="write them under [tool.trivet.existing] in pyproject.toml",
        )
    kubectl = kubectl_of(settings)
    version = json.loads(kubectl.raw("/version"))["gitVersion"]
    if denied := lacking(kubectl, (settings.pipeline_namespace, settings.serving_namespace)):
        raise PlatformError(
            f"this account may not {denied[0]}" + (f", and {len(denied) - 1} more" if len(denied) > 1 else ""),
            remedy="apply what `trivet doctor --target existing --rbac` prints, as somebody who may",
        )
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
        images=_images(settings, stack),
        owned=False,
        pipeline_namespace=settings.pipeline_namespace,
        serving_namespace=settings.serving_namespace,
        notes={"Kubernetes": version},
    )


def _images(settings: Existing, stack: Stack) -> dict[str, str]:
    runtime = stack.roles["runtime"].image
    found = {
        "trainer": settings.trainer_image,
        "initializer": settings.initializer_image
        or f"docker.io/kserve/storage-initializer:v{stack.components['kserve']}",
        "runtime": settings.runtime_image or runtime,
    }
    if missing := [role for role, image in found.items() if not image]:
        raise UsageError(
            f"no image is published for the role {missing[0]}, so one must be named",
            remedy=f"build it with `trivet images build`, push it, and name it as {missing[0]}_image in [tool.trivet.existing]",
        )
    return found
