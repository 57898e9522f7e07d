"""The generator of manifests and the comparison of verdicts, without a cluster."""

from __future__ import annotations

from typing import Any, cast

import pytest
import yaml
from differential.agreement import (
    BROKEN,
    COMPARED,
    FALSE_ALARM,
    KNOWN,
    Comparison,
    Disagreement,
    _at_the_place,
    is_meant,
)
from differential.children import Controller
from differential.judges import ApiServer, Lint, LintVerdict, ServerVerdict, _named_in, _warnings
from differential.mutations import Again, Plain, manifests, text
from hypothesis import HealthCheck, given, settings

from trivet.model.platform_config import PlatformConfig
from trivet.stacks.read import load_stack

STACK = load_stack("current")

MANIFEST = """apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: iris
spec:
  predictor:
    minReplicas: 1
    containers:
    - name: kserve-container
      image: 1
"""


def failing_at(*lines: int) -> LintVerdict:
    return LintVerdict(failures=tuple(("manifests.any", line, "wrong") for line in lines))


def test_plain_scalars_have_no_quotes_and_keys_can_stand_twice() -> None:
    assert text({"a": Plain("yes"), Again("b"): "1", "b": "yes"}) == "a: yes\nb: '1'\nb: 'yes'\n"


@given(manifests(STACK))
@settings(max_examples=50, database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_generated_manifest_is_yaml_of_one_object_of_its_kind(document: dict[str, object]) -> None:
    root = yaml.compose(text(document))
    assert isinstance(root, yaml.MappingNode)
    read = {key.value: value.value for key, value in root.value}
    for field in ("apiVersion", "kind"):
        assert read.get(field) == (str(document[field]) if field in document else None)


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ('strict decoding error: unknown field "spec.predictor.x", unknown field "y"', ["spec.predictor.x", "y"]),
        (
            "json: cannot unmarshal number into Go struct field EnvVar.spec.a.env.name of type string",
            ["spec.a.env.name"],
        ),
        ("json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string", ["metadata.labels"]),
        ("'MinReplicas' cannot be less than 0", []),
    ],
)
def test_fields_that_the_api_server_names(message: str, fields: list[str]) -> None:
    assert _named_in(message) == fields


def test_warnings_of_one_header() -> None:
    assert _warnings('299 - "unknown field \\"a\\"", 299 - "two"') == ['unknown field "a"', "two"]


@pytest.mark.parametrize(
    ("field", "line", "agrees"),
    [
        ("spec.predictor.minReplicas", 7, True),
        ("spec.predictor.minReplicas", 4, False),
        ("spec.predictor.containers.image", 10, True),
        ("spec.predictor.containers[0].ports[1]", 9, True),
        ("spec.predictor", 10, True),
        ("metadata.labels", 3, True),
        ("metadata.labels", 7, False),
    ],
)
def test_a_finding_is_at_the_field_that_the_server_names_below_it_or_where_it_is_missing(
    field: str, line: int, agrees: bool
) -> None:
    assert _at_the_place(MANIFEST, ServerVerdict(error="wrong", fields=(field,)), failing_at(line)) is agrees


class Says:
    """A judge with one verdict."""

    def __init__(self, verdict: Any) -> None:
        self._verdict = verdict

    def judge(self, *manifest: str, namespace: str = "") -> Any:
        return self._verdict

    def serves(self, version: str, kind: str) -> bool:
        return True


@pytest.mark.parametrize("server", [ServerVerdict(error="wrong"), ServerVerdict(stored=yaml.safe_load(MANIFEST))])
def test_a_check_that_raises_is_a_disagreement_whatever_the_server_says(server: ServerVerdict) -> None:
    raised = LintVerdict(
        failures=(("manifests.schema_is_met", 1, "wrong"),) if server.rejects else (),
        broken=(("validation.any", 1, "the check raised ValueError"),),
    )
    runtime = {"spec": {"containers": [{"name": "kserve-container", "image": "a"}]}}
    document = yaml.safe_load(MANIFEST) | {"kind": "Secret"}
    controller = Controller(stack=STACK, platform=PlatformConfig(), runtime=runtime)
    both = Comparison(cast(ApiServer, Says(server)), cast(Lint, Says(raised)), controller)
    found = both.disagreement(document)
    assert found is not None
    assert found.kind == BROKEN
    assert "the check raised ValueError" in found.signature
    assert not raised.of({}).rejects, "an error is no rejection"
    assert raised.of(COMPARED).broken == raised.broken


def test_known_differences_have_reasons_and_patterns() -> None:
    assert all(known.reason and (known.server or known.lint) for known in KNOWN)


def test_a_difference_is_meant_if_each_failure_of_lint_is() -> None:
    nul, other = (
        Disagreement(
            kind=FALSE_ALARM,
            layer="InferenceService",
            manifest='modelFormat:\n  "\\u0000": mlflow\n',
            server=ServerVerdict(),
            lint=LintVerdict(
                failures=(
                    ("manifests.fields_are_known", 2, "the API has no field spec.predictor.model.modelFormat."),
                    (
                        "manifests.schema_is_met",
                        1,
                        f"spec.predictor.model.{field} has no 'name', which the API requires",
                    ),
                )
            ),
        )
        for field in ("modelFormat", "env[0]")
    )
    assert is_meant(nul)
    assert not is_meant(other)
