"""Features: capabilities of a target beyond its clients. A contract that needs a missing feature is SKIPPED."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trivet.model.vocabulary import Vocabulary

KNATIVE = "Knative"
CANARY_TRAFFIC = "CanaryTraffic"
SCALE_TO_ZERO = "ScaleToZero"
NETWORK_POLICY_ENFORCED = "NetworkPolicyEnforced"
PROMETHEUS = "Prometheus"
CPU_AUTOSCALING = "CpuAutoscaling"
CONDITIONAL_PIPELINE = "ConditionalPipeline"
PIPELINE_BACKEND = "PipelineBackend"

FEATURES = Vocabulary(
    "feature",
    {
        KNATIVE: "KServe deploys InferenceServices as Knative services",
        CANARY_TRAFFIC: "the ingress splits the traffic of one InferenceService between two of its revisions",
        SCALE_TO_ZERO: "a service without traffic may scale to zero, and scales up when a request arrives",
        NETWORK_POLICY_ENFORCED: "NetworkPolicies are enforced",
        PROMETHEUS: "a Prometheus scrapes the predictors' pods and answers queries",
        CPU_AUTOSCALING: "Knative's HPA extension runs, so that a Knative service may scale by CPU",
        CONDITIONAL_PIPELINE: "the pipeline runner runs conditions itself",
        PIPELINE_BACKEND: "KFP's API server is on the cluster, and runs pipelines",
    },
)
"""Feature → its meaning in one sentence."""


OWN_FEATURE = "declare a feature of your own target first, with declare_feature"


def declare_feature(name: str, meaning: str) -> None:
    """Add a feature that your own target measures. Call it when the target's module is imported, before contracts that use it are declared.

    Raises DeclarationError for a name that is not an identifier, or that already has another meaning.
    """
    FEATURES.declare(name, meaning)


def lacking(needed: Sequence[str], present: Mapping[str, str]) -> str:
    """The features that a target does not have, with what they mean; empty when it has all."""
    missing = [name for name in needed if name not in present]
    return "; ".join(
        f"the target lacks the feature {name}: {FEATURES.get(name, 'see its contract')}" for name in missing
    )
