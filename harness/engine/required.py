"""Features that are required of a target: lacking one is a failure of a contract of its own, besides the contracts that it skips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from trivet.errors import unknown
from trivet.model.contract import FEATURES_PARAMETER, Contract
from trivet.model.feature import FEATURES, lacking
from trivet.model.finding import Finding, failed, passed
from trivet.model.outcome import Level

REQUIRED = Contract(
    id="target.has_the_required_features",
    title="The target must have the features that are required of it",
    level=Level.MUST,
    seam=("kserve", "kserve"),
    rationale="Contracts that need a feature are SKIPPED on a target that lacks it: a platform that loses one would stay conformant.",
    remedy="Restore the feature, or no longer require it: --require-feature, or require_features in [tool.trivet].",
    check=lambda features: (),
    wants=(FEATURES_PARAMETER,),
)
"""The contract of a run that requires features. It is part of such a run and of no profile; :func:`required_features` gives it a check."""


def required_features(names: Sequence[str]) -> Contract:
    """The contract that a target has the features ``names``. Raises UsageError for a name that is not declared."""
    for name in names:
        if name not in FEATURES:
            raise unknown("feature", name, FEATURES)

    def check(features: Mapping[str, str]) -> Iterator[Finding]:
        for name in dict.fromkeys(names):
            if reason := lacking([name], features):
                yield failed(reason)
            else:
                yield passed(f"{name}: {features[name]}")

    return replace(REQUIRED, check=check)
