"""Which documents look meant for KServe although their ``apiVersion`` or ``kind`` is not one of its: misspelt, of another version, missing.

What such a document should say depends on the stack, and is for a contract. Documents of other projects are none of these: a kind that
only sounds alike, such as Knative's, is left alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

GROUP = "serving.kserve.io"
EARLIER_GROUP = "serving.kubeflow.org"
"""KServe's group until 0.6, when it was KFServing."""

KSERVE_KINDS = (
    "InferenceService",
    "ServingRuntime",
    "ClusterServingRuntime",
    "ClusterStorageContainer",
    "InferenceGraph",
    "TrainedModel",
)
CORE_KINDS = ("Secret", "ServiceAccount", "PersistentVolumeClaim", "ConfigMap")
NOT_OURS = frozenset({"Predictor"})
"""Kinds in KServe's group that other projects define (kserve/modelmesh-serving config/crd/bases/serving.kserve.io_predictors.yaml)."""

_OTHER_CORE_KINDS = frozenset(
    {
        *("Binding", "ComponentStatus", "Config", "Endpoints", "Event", "LimitRange", "List", "Namespace", "Node"),
        *("PersistentVolume", "Pod", "PodTemplate", "ReplicationController", "ResourceQuota", "Service"),
    }
)
RELATED_GROUPS = frozenset({"serving.knative.dev", "kubeflow.org", "pipelines.kubeflow.org"})
"""Groups of the projects around KServe, none of which has a kind of the name of one of KServe's."""

_NEAR_GROUP, _NEAR_KIND = 0.85, 0.85


def is_misaddressed(document: Mapping[str, Any]) -> bool:
    """Whether a document that is no subject of lint by its ``apiVersion`` and ``kind`` looks as if it were meant to be one."""
    version, kind = document.get("apiVersion", document.get("api_version")), document.get("kind")
    spec = document.get("spec")
    return _is_meant(
        version if isinstance(version, str) else "",
        kind if isinstance(kind, str) else "",
        isinstance(spec, Mapping) and isinstance(spec.get("predictor"), Mapping),
        isinstance(document.get("metadata"), Mapping),
    )


@lru_cache(maxsize=1024)
def _is_meant(version: str, kind: str, has_predictor: bool, has_metadata: bool) -> bool:
    group = version.rpartition("/")[0]
    if kind in NOT_OURS:
        return False
    if group not in RELATED_GROUPS and _is_like_kserve(group or version):
        return True
    if "." in group and not group.endswith(".k8s.io"):
        return group in RELATED_GROUPS and kind in KSERVE_KINDS
    if kind in KSERVE_KINDS:
        return bool(version) or has_metadata or has_predictor
    if kind in CORE_KINDS:
        return version != "v1" and (bool(version) or has_metadata)
    if has_predictor:
        return not kind or _is_near(kind, KSERVE_KINDS)
    return version == "v1" and kind not in _OTHER_CORE_KINDS and _is_near(kind, (*CORE_KINDS, *KSERVE_KINDS))


def _is_like_kserve(group: str) -> bool:
    lower = group.lower()
    return "kserve" in lower or any(
        difflib.SequenceMatcher(None, lower, known).ratio() >= _NEAR_GROUP for known in (GROUP, EARLIER_GROUP)
    )


def _is_near(kind: str, kinds: tuple[str, ...]) -> bool:
    return bool(difflib.get_close_matches(kind.lower(), [known.lower() for known in kinds], 1, _NEAR_KIND))
