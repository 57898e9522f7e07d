"""What lint knows of the platform that files are applied to: from settings, or from a cluster, which is only read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trivet.model.platform_config import PlatformConfig, indexed
from trivet.model.settings import Lint
from trivet.model.subjects import Keys, Resource

if TYPE_CHECKING:
    from trivet.host.kubectl import Kubectl


def configured(settings: Lint) -> PlatformConfig:
    """The platform as ``[tool.trivet.lint]`` describes it; what it leaves out is unknown."""
    return PlatformConfig(
        default_deployment_mode=settings.default_deployment_mode,
        ingress_domain=settings.ingress_domain,
        kfp_backend=settings.kfp_backend,
        runtimes=settings.runtimes,
    )


def of_cluster(kubectl: Kubectl) -> PlatformConfig:
    """The platform as the cluster has it: KServe's ConfigMap ``inferenceservice-config`` (keys ``deploy`` and ``ingress``, kserve 0.14.1
    pkg/apis/serving/v1beta1/configmap.go), the runtimes of all namespaces, and Knative's ConfigMaps where there are any.

    Raises PlatformError when kubectl fails, or the cluster has no such ConfigMap or an invalid one.
    """
    from trivet.targets.cluster.platform_reader import (  # loaded where a cluster is asked
        KNATIVE_CONFIGS,
        KNATIVE_NAMESPACE,
        RUNTIMES,
        kserve_config,
    )

    config = kserve_config(kubectl)
    runtimes = [one for kind in RUNTIMES for one in kubectl.objects(kind)]
    configs = [kubectl.get("configmap", name, namespace=KNATIVE_NAMESPACE) for name in KNATIVE_CONFIGS]
    documents = [*runtimes, *(one for one in configs if one)]
    resources = [Resource(file=f"context {kubectl.context}", document=one, line=_first_line) for one in documents]
    return PlatformConfig(
        default_deployment_mode=_text(config, "deploy", "defaultDeploymentMode"),
        ingress_domain=_text(config, "ingress", "ingressDomain"),
        runtimes=tuple(dict.fromkeys(one["metadata"]["name"] for one in runtimes)),
        runtimes_are_known=True,
        resources=indexed(resources),
    )


def _text(config: Mapping[str, Any], section: str, key: str) -> str:
    from trivet.targets.cluster.platform_reader import config_value

    value = config_value(config, section, key)
    return value if isinstance(value, str) else ""


def _first_line(keys: Keys) -> int:
    return 1
