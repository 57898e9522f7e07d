"""What is known of the configuration of the platform that manifests are applied to. Reads nothing; empty means unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from trivet.model.stack import Stack
from trivet.model.subjects import Resource


@dataclass(frozen=True, kw_only=True)
class PlatformConfig:
    """What a check may know of the platform besides the versions in the stack.

    ``default_deployment_mode`` is the value in KServe's ConfigMap ``inferenceservice-config``, and ``ingress_domain`` the domain there;
    each is empty if it is unknown. ``resources`` are the other objects that are applied with the manifest, or exist on the cluster.
    ``runtimes`` are the names of the platform's own ClusterServingRuntimes and ServingRuntimes beside those of KServe's release, which are
    taken to be installed unless ``runtimes_are_known``: then ``resources`` has every one. ``kfp_backend`` is the release of KFP's backend,
    such as ``2.5.0``; empty if it is unknown. ``kfp_plugins`` is ``plugins`` in its API server's ``config.json``, None if it is not stated,
    ``kfp_namespace`` the namespace of runs, ``kfp_multi_user`` whether each user has one, and ``kfp_stated`` the release that the stack
    states, where ``kfp_backend`` may be what the API server says. ``is_users`` means that trivet has not made the platform, and
    ``tracking_uri`` is then its MLflow's for pods.
    ``fetches_local_files`` means that the storage initializer runs on the machine whose files ``file://`` names, and in no container.
    """

    default_deployment_mode: str = ""
    ingress_domain: str = ""
    kfp_backend: str = ""
    kfp_plugins: Mapping[str, Any] | None = None
    kfp_namespace: str = "kubeflow"
    kfp_multi_user: bool = False
    kfp_stated: str = ""
    is_users: bool = False
    tracking_uri: str = ""
    fetches_local_files: bool = False
    runtimes: tuple[str, ...] = ()
    runtimes_are_known: bool = False
    resources: Mapping[tuple[str, str], tuple[Resource, ...]] = field(default_factory=dict)

    def of_kind(self, kind: str) -> Mapping[str, tuple[Resource, ...]]:
        """The objects of this kind by name."""
        return self._by_kind.get(kind, {})

    @cached_property
    def _by_kind(self) -> Mapping[str, Mapping[str, tuple[Resource, ...]]]:
        kinds: dict[str, dict[str, tuple[Resource, ...]]] = {}
        for (kind, name), found in self.resources.items():
            kinds.setdefault(kind, {})[name] = found
        return kinds

    def find(self, kind: str, name: str, namespace: str = "") -> Resource | None:
        """The object of this kind and name. An object or a manifest without a namespace matches every namespace."""
        found = self.resources.get((kind, name), ())
        return next((one for one in found if not namespace or one.namespace in ("", namespace)), None)


def indexed(resources: Iterable[Resource]) -> Mapping[tuple[str, str], tuple[Resource, ...]]:
    """``resources`` by kind and name, as :class:`PlatformConfig` has them."""
    found: dict[tuple[str, str], tuple[Resource, ...]] = {}
    for one in resources:
        key = (one.kind, one.name)
        found[key] = (*found.get(key, ()), one)
    return found


def platform_of(stack: Stack) -> PlatformConfig:
    """The platform that ``stack`` describes. One of trivet's own has KServe's release with its own configuration."""
    serving: Mapping[str, Any] = stack.settings.get("serving", {})
    # What the stack does not know is unknown here too, which is no reason to refuse contracts that need only the rest.
    mode = serving["default_deployment_mode"] if "default_deployment_mode" in dict(serving) else ""
    pipelines: Mapping[str, Any] = stack.settings.get("pipelines", {})
    return PlatformConfig(
        default_deployment_mode=str(mode),
        kfp_backend=str(pipelines.get("backend", "")),
        kfp_stated=str(pipelines.get("backend", "")),
        kfp_plugins=pipelines.get("plugins"),
        kfp_namespace=str(pipelines.get("namespace", "kubeflow")),
    )
