"""Patches of kustomize are recognised, and not judged as whole manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from trivet.toolkit.kustomize import PATCH, STRATEGIC_MERGE_PATCH, without_patches
from trivet.toolkit.subjects import read_file
from trivet.toolkit.walking import Found, Skipped, places

SERVICE = "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: one}\n"
KUSTOMIZATION = """\
resources: [base.yaml]
patches:
- path: replicas.yaml
  target: {kind: InferenceService}
- patch: |-
    - op: remove
      path: /spec
patchesStrategicMerge:
- ../shared/memory.yaml
- |-
  kind: InferenceService
patchesJson6902:
- path: json.yaml
"""
FILES = ("prod/base.yaml", "prod/replicas.yaml", "prod/json.yaml", "shared/memory.yaml", "shared/other.yaml")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(SERVICE)
    (tmp_path / "prod" / "kustomization.yaml").write_text(KUSTOMIZATION)
    return tmp_path


def split(tree: Path, *paths: Path) -> tuple[set[str], set[str]]:
    """The names of the files that are read, and of those that are skipped as patches."""
    found = without_patches(places(paths))
    read_files = {str(one.path.relative_to(tree)) for one in found if isinstance(one, Found)}
    patches = {
        str(Path(one.path).relative_to(tree)) for one in found if isinstance(one, Skipped) and one.reason == PATCH
    }
    return read_files, patches


def test_what_a_kustomization_names_as_its_patches_is_skipped(tree: Path) -> None:
    assert split(tree, tree) == (
        {"prod/base.yaml", "prod/kustomization.yaml", "shared/other.yaml"},
        {"prod/replicas.yaml", "prod/json.yaml", "shared/memory.yaml"},
    )


def test_a_kustomization_without_an_extension_is_found(tree: Path) -> None:
    (tree / "prod" / "kustomization.yaml").rename(tree / "prod" / "Kustomization")
    assert split(tree, tree)[1] == {"prod/replicas.yaml", "prod/json.yaml", "shared/memory.yaml"}


def test_a_patch_that_is_named_is_known_by_the_kustomization_beside_or_above_it(tree: Path) -> None:
    assert split(tree, tree / "prod" / "replicas.yaml", tree / "prod" / "base.yaml") == (
        {"prod/base.yaml"},
        {"prod/replicas.yaml"},
    )
    (tree / "prod" / "patches").mkdir()
    (tree / "prod" / "patches" / "one.yaml").write_text(SERVICE)
    (tree / "prod" / "kustomization.yaml").write_text("patches: [{path: patches/one.yaml}]")
    assert split(tree, tree / "prod" / "patches" / "one.yaml") == (set(), {"prod/patches/one.yaml"})


@pytest.mark.parametrize(
    "text", ["", "[", "- a", "patches: 3", "patches: [3, {path: 3}, {}]", "a: 1\n---\nb: 2", "\udcff"]
)
def test_a_kustomization_that_is_none_skips_nothing(tree: Path, text: str) -> None:
    (tree / "prod" / "kustomization.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert split(tree, tree)[1] == set()


def test_a_document_with_a_directive_is_a_patch(tmp_path: Path) -> None:
    deleted = SERVICE + "$patch: delete\n"
    nested = SERVICE + "spec: {predictor: {containers: [{name: a, $patch: replace}]}}\n"
    mentioned = SERVICE + "spec: {predictor: {containers: [{name: $patch}]}}\n"
    (tmp_path / "a.yaml").write_text(f"{deleted}---\n{nested}---\n{mentioned}")
    found = read_file(tmp_path / "a.yaml")
    assert found.others == (STRATEGIC_MERGE_PATCH, STRATEGIC_MERGE_PATCH)
    assert len(found.subjects) == 1
