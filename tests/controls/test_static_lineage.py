"""Controls of the contract over the labels of a manifest."""

from __future__ import annotations

import pytest
from controls.registry import broken, sound
from controls.twins import findings

from trivet.model.finding import Finding


def manifest(labels: str) -> str:
    return f"""\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: recommendation-classifier, labels: {labels}}}
spec: {{predictor: {{model: {{modelFormat: {{name: mlflow}}, storageUri: "s3://models/model/"}}}}}}
"""


@pytest.mark.parametrize("value", ["Recommendation training (EU)", "models:/recommendation/3", "a" * 64, "-a", "ünï"])
@broken("lineage.labels_are_valid", because="label pipeline:")
def test_free_text(value: str) -> list[Finding]:
    return findings("lineage.labels_are_valid", manifest(f'{{team: a, pipeline: "{value}"}}'))


@broken("lineage.labels_are_valid", because="label version: 3 is no text")
def test_a_value_that_yaml_reads_as_a_number() -> list[Finding]:
    return findings("lineage.labels_are_valid", manifest("{version: 3}"))


@pytest.mark.parametrize("labels", ['{version: "3", run: 0f1e2d3c4b5a69788796a5b4c3d2e1f0, empty: ""}', "{}", "null"])
@sound("lineage.labels_are_valid")
def test_valid_labels_or_none(labels: str) -> list[Finding]:
    return findings("lineage.labels_are_valid", manifest(labels))
