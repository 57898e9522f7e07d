"""Examples of the contract over the labels of a manifest."""

from __future__ import annotations

import pytest
from contract_examples.registry import failing, inconclusive, passing
from contract_examples.static import findings

from trivet.model.finding import Finding


def manifest(metadata: str) -> str:
    return f"""\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:{metadata}
spec: {{predictor: {{model: {{modelFormat: {{name: mlflow}}, storageUri: "s3://models/model/"}}}}}}
"""


def labelled(*labels: str) -> str:
    return manifest("\n  name: recommendation-classifier\n  labels:" + "".join(f"\n    {label}" for label in labels))


@pytest.mark.parametrize("value", ["Recommendation training (EU)", "models:/recommendation/3", "a" * 64, "-a", "ünï"])
@failing("lineage.labels_are_valid", because="label pipeline: '", at="pipeline: ")
def test_free_text(value: str) -> list[Finding]:
    found = findings("lineage.labels_are_valid", labelled("team: a", f'pipeline: "{value}"'))
    assert [finding.message.partition("' is ")[2] for finding in found] == ["not valid"]
    return found


@pytest.mark.parametrize("value", ["${V}", "{{ v }}", "$V", "v-${V:-1}"])
@inconclusive("lineage.labels_are_valid", because="it has a placeholder, whose value is not in the file", at="v: ")
def test_a_value_that_is_filled_later(value: str) -> list[Finding]:
    return findings("lineage.labels_are_valid", labelled("team: a", f"v: '{value}'"))


@passing("lineage.labels_are_valid", because="1 labels are valid", at="labels:")
def test_a_key_that_is_filled_later() -> list[Finding]:
    return findings("lineage.labels_are_valid", labelled("${K}: a"))


@failing("lineage.labels_are_valid", because="label version: 3 is not a string", at="version: 3")
def test_a_value_that_yaml_reads_as_a_number() -> list[Finding]:
    return findings("lineage.labels_are_valid", labelled("version: 3"))


@failing("lineage.labels_are_valid", because="label b: '-' is not valid", at="b: '-'")
def test_every_wrong_label_is_reported() -> list[Finding]:
    found = findings("lineage.labels_are_valid", labelled("a: 'x y'", "b: '-'", "c: fine"))
    assert len(found) == 2
    return found


@passing("lineage.labels_are_valid", because="4 labels are valid", at="labels:")
def test_valid_labels() -> list[Finding]:
    labels = ('version: "3"', "run: 0f1e2d3c4b5a69788796a5b4c3d2e1f0", 'empty: ""', "none:")
    return findings("lineage.labels_are_valid", labelled(*labels))


@pytest.mark.parametrize("metadata", ["", " {}", " {labels: null}", " {labels: [a]}", " [a]"])
@passing("lineage.labels_are_valid", because="no labels")
def test_no_labels(metadata: str) -> list[Finding]:
    return findings("lineage.labels_are_valid", manifest(metadata))
