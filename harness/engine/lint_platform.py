"""What lint knows of the platform that files are applied to: from settings, or from a cluster, which is only read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trivet.errors import PlatformError
from trivet.host.kubectl import Kubectl
from trivet.model.platform_config import PlatformConfig, indexed
from trivet.model.settings import Lint
from trivet.model.subjects import Keys, Resource

CONFIG = "inferenceservice-config"
NAMESPACE = "kserve"
"""The namespace of KServe's release; other distributions have another, which is then looked for."""
KNATIVE_CONFIGS = ("config-features", "config-defaults", "config-autoscaler")
"""ConfigMaps of Knative Serving, in the namespace ``knative-serving``, that decide what its webhook admits."""
RUNTIMES = ("clusterservingruntimes.serving.kserve.io", "servingruntimes.serving.kserve.io")


def configured(settings: Lint) -> PlatformConfig:
    """The platform as ``[tool.trivet.lint]`` describes it; what it leaves out is unknown."""
    return PlatformConfig(
        default_deployment_mode=settings.default_deployment_mode,
        ingress_domain=settings.ingress_domain,
        runtimes=settings.runtimes,
    )


def of_cluster(kubectl: Kubectl) -> PlatformConfig:
    """The platform as the cluster has it: KServe's ConfigMap ``inferenceservice-config`` (keys ``deploy`` and ``ingress``, kserve 0.14.1
    pkg/apis/serving/v1beta1/configmap.go), the runtimes of all namespaces, and Knative's ConfigMaps where there are any.

    Raises PlatformError when kubectl fails, or the cluster has no such ConfigMap or an invalid one.
    """
    data = _config(kubectl)
    runtimes = [one for kind in RUNTIMES for one in kubectl.objects(kind)]
    configs = [kubectl.get("configmap", name, namespace="knative-serving") for name in KNATIVE_CONFIGS]
    documents = [*runtimes, *(one for one in configs if one)]
    resources = [Resource(file=f"context {kubectl.context}", document=one, line=_first_line) for one in documents]
    return PlatformConfig(
        default_deployment_mode=_value(data, "deploy", "defaultDeploymentMode"),
        ingress_domain=_value(data, "ingress", "ingressDomain"),
        runtimes=tuple(dict.fromkeys(one["metadata"]["name"] for one in runtimes)),
        runtimes_are_known=True,
        resources=indexed(resources),
    )


def _config(kubectl: Kubectl) -> Mapping[str, Any]:
    found = kubectl.get("configmap", CONFIG, namespace=NAMESPACE)
    if found is None:
        named = f"--field-selector=metadata.name={CONFIG}"
        listed = json.loads(kubectl.run("get", "configmap", "--all-namespaces", named, "-o", "json"))["items"]
        found = next((one for one in listed if one["metadata"]["name"] == CONFIG), None)
    if found is None:
        raise PlatformError(
            f"the cluster of context {kubectl.context} has no ConfigMap {CONFIG}, in no namespace",
            remedy="use the context of a cluster that KServe is installed on, or describe the platform in [tool.trivet.lint]",
        )
    data = found.get("data")
    return data if isinstance(data, Mapping) else {}


def _value(data: Mapping[str, Any], section: str, key: str) -> str:
    """One value of a section of KServe's configuration, which is JSON in a text; empty if it is not there."""
    try:
        value = json.loads(data.get(section) or "{}").get(key)
    except (ValueError, AttributeError, TypeError) as error:
        raise PlatformError(
            f"ConfigMap {CONFIG} of the cluster has no JSON object in {section!r}: {error}",
            remedy="correct the ConfigMap: KServe cannot read it either",
        ) from error
    return value if isinstance(value, str) else ""


def _first_line(keys: Keys) -> int:
    return 1
