"""Features: what a target can do beyond the clients that every target has. A contract that needs one is skipped where it is missing."""

from __future__ import annotations

from trivet.model.vocabulary import Vocabulary

KNATIVE = "Knative"
CANARY_TRAFFIC = "CanaryTraffic"
SCALE_TO_ZERO = "ScaleToZero"
NETWORK_POLICY_ENFORCED = "NetworkPolicyEnforced"
PROMETHEUS = "Prometheus"
CPU_AUTOSCALING = "CpuAutoscaling"
CONDITIONAL_PIPELINE = "ConditionalPipeline"

FEATURES = Vocabulary(
    "feature",
    {
        KNATIVE: "KServe deploys InferenceServices as Knative services",
        CANARY_TRAFFIC: "the ingress splits the traffic of one InferenceService between two of its revisions",
        SCALE_TO_ZERO: "a service without traffic may go down to no pod, and comes back when a request arrives",
        NETWORK_POLICY_ENFORCED: "what a NetworkPolicy denies does not get through",
        PROMETHEUS: "a Prometheus scrapes the predictors' pods and answers queries",
        CPU_AUTOSCALING: "Knative's HPA extension runs, so that a Knative service may scale by CPU",
        CONDITIONAL_PIPELINE: "the pipeline runner runs conditions itself",
    },
)
"""Feature → its meaning in one sentence."""


OWN_FEATURE = "a feature of a target of your own is declared before, with declare_feature"


def declare_feature(name: str, meaning: str) -> None:
    """Add a feature that a target of your own can measure. Call it where its module is imported, before contracts name it.

    Raises DeclarationError for a name that is no identifier, or that has another meaning already.
    """
    FEATURES.declare(name, meaning)
