"""What is known of the platform's configuration."""

from __future__ import annotations

from pathlib import Path

from trivet.model.platform_config import PlatformConfig, indexed, platform_of
from trivet.model.subjects import Manifest, Resource
from trivet.stacks.read import load_stack
from trivet.toolkit.subjects import read_file

STREAM = """
apiVersion: v1
kind: Secret
metadata: {name: credentials, namespace: models}
---
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: own}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: recommender}
---
apiVersion: example.com/v1
kind: Secret
metadata: {name: of-another-group}
---
apiVersion: v1
kind: Pod
metadata: {name: not-read}
"""


def stream(tmp_path: Path) -> tuple[list[Resource], tuple[str, ...]]:
    file = tmp_path / "all.yaml"
    file.write_text(STREAM, encoding="utf-8")
    found = read_file(file)
    return [one for one in found.subjects if isinstance(one, Resource)], found.others


def test_objects_of_kserve_and_those_beside_a_service_are_subjects_and_others_are_counted(tmp_path: Path) -> None:
    resources, others = stream(tmp_path)
    assert [(one.kind, one.name, type(one)) for one in resources] == [
        ("Secret", "credentials", Resource),
        ("ServingRuntime", "own", Resource),
        ("InferenceService", "recommender", Manifest),
    ]
    assert others == ("Secret", "Pod")


def test_an_object_is_found_by_kind_name_and_namespace(tmp_path: Path) -> None:
    resources, _ = stream(tmp_path)
    platform = PlatformConfig(resources=indexed(resources))
    assert platform.find("Secret", "credentials", "models") is resources[0]
    assert platform.find("Secret", "credentials") is resources[0]
    assert platform.find("Secret", "credentials", "elsewhere") is None
    assert platform.find("ServingRuntime", "own", "models") is resources[1]
    assert platform.find("ServingRuntime", "missing") is None


def test_the_platform_of_a_stack_has_the_default_mode_of_its_kserve() -> None:
    assert platform_of(load_stack("2024.11")).default_deployment_mode == "Serverless"


def test_a_resource_without_metadata_has_no_name() -> None:
    bare = Resource(file="f.yaml", document={"kind": "Secret", "metadata": []}, line=lambda keys: 1)
    assert (bare.name, bare.namespace, bare.at().object) == ("", "", "Secret/")
