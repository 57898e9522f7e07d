"""The schemas of each shipped stack, and how objects are judged by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trivet.errors import PlatformError, UsageError
from trivet.stacks import api_generator
from trivet.stacks.api_generator import generate_schemas
from trivet.stacks.api_schemas import INFERENCE_SERVICE, is_base64, load_schemas, violations
from trivet.stacks.read import load_stack, shipped_stacks
from trivet.toolkit.subjects import RESOURCES

CURRENT = load_stack("current").api_schemas


@pytest.mark.parametrize("name", shipped_stacks())
def test_the_schemas_are_of_the_stacks_versions_and_of_every_kind_that_lint_judges(name: str) -> None:
    stack = load_stack(name)
    schemas = load_schemas(stack.api_schemas)
    assert schemas.source == {component: stack.components[component] for component in ("kserve", "kubernetes")}
    kinds = {where.rpartition("/")[2] for where in schemas.kinds}
    later = {"LLMInferenceService"} & {*schemas.versions}
    assert kinds == {"InferenceService", *RESOURCES["serving.kserve.io"], *RESOURCES[""], *later}
    assert {where.rpartition("/")[2] for where in schemas.expressions} == later


def test_later_kinds_and_fields_are_known_in_the_later_stack_only() -> None:
    old, new = (load_schemas(load_stack(name).api_schemas) for name in ("2024.11", "current"))
    assert "autoScaling" in new.at(INFERENCE_SERVICE, ("spec", "predictor"))["properties"]
    assert "autoScaling" not in old.at(INFERENCE_SERVICE, ("spec", "predictor"))["properties"]
    assert new.versions["LLMInferenceService"] == ("v1alpha1", "v1alpha2")
    assert "LLMInferenceService" not in old.versions


@pytest.mark.parametrize("name", shipped_stacks())
def test_every_definition_is_used_and_every_reference_is_defined(name: str) -> None:
    text = load_stack(name).api_schemas.read_text(encoding="utf-8")
    content = json.loads(text)
    for definition in content["$defs"]:
        assert f'"#/$defs/{definition}"' in text
    assert text.count('"$ref"') == sum(text.count(f'"#/$defs/{definition}"') for definition in content["$defs"])


def test_a_place_in_an_object_has_its_schema() -> None:
    schemas = load_schemas(CURRENT)
    assert schemas.at(INFERENCE_SERVICE, ("metadata", "labels", "team"))["type"] == "string"
    assert schemas.at(INFERENCE_SERVICE, ("spec", "predictor", "containers", 0, "env", 3, "name")) == {"type": "string"}
    assert schemas.at(INFERENCE_SERVICE, ("spec", "predictor", "model", "resources", "limits", "cpu")) == {
        "format": "quantity"
    }
    assert schemas.at(INFERENCE_SERVICE, ("status", "anything")) == {}


@pytest.mark.parametrize(
    ("text", "valid"),
    [("", True), ("YQ==", True), ("YQ==\n", True), ("Y\r\nQ==", True), ("YQ", False), ("a b=", False), ("é===", False)],
)
def test_base64_is_what_go_decodes(text: str, valid: bool) -> None:
    """The answers are those of a dry run of a Secret on Kubernetes 1.30.14."""
    assert is_base64(text) is valid


@pytest.mark.parametrize("valid", [1, 0.5, "1e3", "1E", "1Ei", "+1", "1.", ".5", "1Gi ", "-1", "1e400", "1n", None])
def test_a_quantity_that_kubernetes_parses(valid: Any) -> None:
    """The answers of this and the next are those of dry runs on Kubernetes 1.30.14."""
    assert not list(violations(CURRENT, "v1/PersistentVolumeClaim", _claim(valid)))


@pytest.mark.parametrize("wrong", ["1gb", "1e", "1 Gi", True, "", "Gi", "1GI", "1ki", "1.2.3", "0x1", [], {}])
def test_a_quantity_that_kubernetes_does_not_parse(wrong: Any) -> None:
    (found,) = violations(CURRENT, "v1/PersistentVolumeClaim", _claim(wrong))
    assert found.keys == ("spec", "resources", "requests", "storage")


def _claim(storage: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "spec": {"resources": {"requests": {"storage": storage}}},
    }


@pytest.mark.parametrize(
    ("below", "place", "value"),
    [
        ({"": "1gi"}, ("",), "1gi"),
        ({"a": "1", "": "1gi"}, ("",), "1gi"),
        ({"0": "1gi"}, ("0",), "1gi"),
    ],
)
def test_a_place_below_an_empty_key_or_one_of_digits_is_found(below: Any, place: Any, value: Any) -> None:
    claim = _claim("1Gi")
    claim["spec"]["resources"]["limits"] = below
    (found,) = violations(CURRENT, "v1/PersistentVolumeClaim", claim)
    assert (found.keys, found.value) == (("spec", "resources", "limits", *place), value)


def test_an_empty_name_of_a_field_is_unknown() -> None:
    claim = _claim("1Gi")
    claim["spec"][""] = {"": []}
    (found,) = violations(CURRENT, "v1/PersistentVolumeClaim", claim)
    assert (found.rule, found.keys, found.value) == ("additionalProperties", ("spec", ""), "")


def test_every_item_that_comes_again_is_found() -> None:
    names = [{"name": "A"}, {"name": "B"}, {"name": "A"}, {"name": "B"}, {"name": "C"}, "no mapping"]
    document = {"spec": {"containers": [{"name": "a", "env": names}]}}
    found = [each.keys[-1] for each in violations(CURRENT, "serving.kserve.io/v1alpha1/ServingRuntime", document)]
    assert sorted(found) == [2, 3, 5]


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"source": {}, "versions": {}, "kinds": {}})])
def test_an_invalid_file_is_an_error_with_the_command(tmp_path: Path, content: str) -> None:
    file = tmp_path / "api_schemas.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=f"trivet stack lock {tmp_path}"):
        load_schemas(file)


def test_a_stack_without_a_version_of_kubernetes_has_no_schemas() -> None:
    with pytest.raises(UsageError, match="names no version of Kubernetes"):
        generate_schemas({"kserve": "0.20.0"})


def test_a_keyword_of_a_later_release_is_refused_until_it_is_handled() -> None:
    with pytest.raises(PlatformError, match=r"the schema of a\.b has the keyword 'x-kubernetes-embedded-resource'"):
        api_generator._cleaned({"type": "object", "properties": {"b": {"x-kubernetes-embedded-resource": True}}}, "a")
