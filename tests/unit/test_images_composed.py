"""Images of composed stacks: each role's is that of the stack that it is from, under a name that says what is inside."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from fakes.package_index import FakeIndex

from trivet.errors import UsageError
from trivet.model.stack import Stack
from trivet.provision.images.recipes import Image, ImageSet, ModuleLayer, RoleLayer, inputs_digest, load_images
from trivet.provision.kind.up import check_composed, renamed_images
from trivet.stacks.composed import compose
from trivet.stacks.platform import load_platform
from trivet.stacks.read import load_stack, stack_folder

BASE = "2024.11-fixed"
STORAGE = "kserve/storage-initializer"


@pytest.fixture(scope="module")
def base() -> Stack:
    return load_stack(BASE)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A stack of a user's own, whose runtime has the version of the shipped one and other packages."""
    folder = tmp_path / "mine"
    shutil.copytree(stack_folder(BASE), folder)
    lock = folder / "runtime.lock"
    text = lock.read_text(encoding="utf-8")
    lock.write_text(re.sub(r"(?m)^zipp==\S+", "zipp==3.16.0", text), encoding="utf-8")
    return folder


def image_of(images: ImageSet, role: str) -> Image:
    (found,) = (
        image
        for image in images.images
        if any(isinstance(layer, RoleLayer) and layer.role.name == role for layer in image.layers)
    )
    return found


def inputs(images: ImageSet) -> set[str]:
    return {inputs_digest(layer) for image in images.images for layer in image.layers}


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("tracking", "ghcr.io/mlflow/mlflow:v3.17.2"),
        ("initializer", f"docker.io/{STORAGE}:v0.20.0"),
        ("runtime", "docker.io/seldonio/mlserver:1.7.1"),
    ],
)
def test_a_role_of_another_stack_has_that_stack_s_image_and_nothing_else_changes(
    base: Stack, role: str, name: str
) -> None:
    composed, ours, theirs = (
        load_images(one) for one in (compose(base, {role: "current"}), base, load_stack("current"))
    )
    found = image_of(composed, role)
    assert (str(found.reference), found.inputs) == (name, image_of(theirs, role).inputs)
    assert found.manifest_name == str(image_of(ours, role).reference)
    kept = {str(one.reference): one.inputs for one in composed.images if one is not found}
    assert {name for name, content in kept.items() if content not in {one.inputs for one in ours.images}} == set()
    assert inputs(composed) <= inputs(ours) | inputs(theirs)
    assert composed.key != ours.key


def test_kserve_of_another_stack_brings_its_platform_and_leaves_the_roles(base: Stack) -> None:
    composed, theirs = load_images(compose(base, {"kserve": "current"})), load_images(load_stack("current"))
    assert image_of(composed, "initializer").inputs == image_of(load_images(base), "initializer").inputs
    assert image_of(composed, "initializer").manifest_name == f"docker.io/{STORAGE}:v0.20.0"
    names = {str(one.reference) for one in composed.images}
    assert {"docker.io/kserve/kserve-controller:v0.20.0", "docker.io/seldonio/mlserver:1.5.0"} <= names
    assert inputs(composed) <= inputs(load_images(base)) | inputs(theirs)


@pytest.mark.parametrize(
    ("version", "kserve"),
    [("0.11.2", "0.12.1"), ("0.12.0", "0.12.1"), ("0.15.0", "0.14.1"), ("0.16.0rc1", "0.20.0"), ("0.21.0", "0.20.0")],
)
def test_an_initializer_has_the_entry_script_that_imports_its_package(
    base: Stack, version: str, kserve: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    FakeIndex(monkeypatch, tmp_path)
    stack = compose(base, {"initializer": version})
    found = image_of(load_images(stack), "initializer")
    (script,) = (layer for layer in found.layers if isinstance(layer, ModuleLayer))
    assert f"github.com/kserve/kserve v{kserve}" in (script.folder / "go.mod").read_text(encoding="utf-8")
    assert re.fullmatch(rf"v{re.escape(version)}-lock-[0-9a-f]{{12}}", found.reference.tag)


def test_a_role_of_a_user_s_stack_does_not_have_the_name_of_the_published_image(base: Stack, own: Path) -> None:
    found = image_of(load_images(compose(base, {"runtime": str(own)})), "runtime")
    assert re.fullmatch(r"docker\.io/seldonio/mlserver:1\.5\.0-lock-[0-9a-f]{12}", str(found.reference))


def test_images_made_on_this_machine_have_one_name_for_one_content(base: Stack, own: Path) -> None:
    lock = own / "tracking.lock"
    lock.write_text(re.sub(r"(?m)^zipp==\S+", "zipp==3.16.0", lock.read_text(encoding="utf-8")), encoding="utf-8")
    stacks = (base, load_stack("2024.11"), load_stack(str(own)), compose(base, {"tracking": str(own)}))
    images = [image_of(load_images(stack), "tracking") for stack in stacks]
    assert len({image.reference.path for image in images}) == 1
    assert len({image.inputs for image in images}) == 2
    assert len({(image.local_name, image.inputs) for image in images}) == 2
    assert all(image.local_name.count("-lock-") == 1 for image in images)


def test_roles_of_shipped_stacks_are_in_upstream_s_images_where_these_are_pulled(base: Stack) -> None:
    stack = compose(base, {"initializer": "current", "runtime": "current", "tracking": "2024.08"})
    images = load_images(stack)
    check_composed(stack, "pull")
    renamed = renamed_images(images, "pull")
    assert renamed[f"docker.io/{STORAGE}:v0.14.1"] == f"docker.io/{STORAGE}:v0.20.0"
    assert renamed["docker.io/seldonio/mlserver:1.5.0"] == "docker.io/seldonio/mlserver:1.7.1"
    assert renamed["ghcr.io/mlflow/mlflow:v2.17.2"].startswith("ghcr.io/mlflow/mlflow:v2.15.1-lock-")
    assert renamed_images(images, "build")["ghcr.io/mlflow/mlflow:v2.17.2"] == "ghcr.io/mlflow/mlflow:v2.15.1"


def test_the_images_of_a_stack_that_is_not_composed_have_the_names_of_its_manifests(base: Stack) -> None:
    assert renamed_images(load_images(base), "pull") == {}


def test_a_version_that_no_published_image_is_known_of_is_not_pulled(
    base: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    FakeIndex(monkeypatch, tmp_path)
    stack = compose(base, {"initializer": "0.15.0"})
    check_composed(stack, "build")
    with pytest.raises(
        UsageError, match=r"no published image of the initializer 0\.15\.0 of .* no stack has this"
    ) as refused:
        check_composed(stack, "pull")
    assert "--images build" in refused.value.remedy


def test_another_lock_of_the_same_published_image_is_not_pulled(base: Stack, own: Path) -> None:
    stack = compose(base, {"runtime": str(own)})
    check_composed(stack, "build")
    with pytest.raises(
        UsageError, match=r"same published image of the runtime, docker\.io/seldonio/mlserver:1\.5\.0"
    ) as refused:
        check_composed(stack, "pull")
    assert "--images build" in refused.value.remedy


def test_kserve_of_a_stack_without_a_platform_names_that_stack_s_file(base: Stack, own: Path) -> None:
    file = own / "stack.toml"
    text = file.read_text(encoding="utf-8").replace('platform = "2024.11"\n', "").replace("= 8082", "= 8083")
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="has no platform") as refused:
        load_images(compose(base, {"kserve": str(own)}))
    assert str(file) in refused.value.remedy


def test_a_role_of_a_stack_without_a_platform_is_in_the_image_that_the_stack_names(base: Stack, own: Path) -> None:
    file = own / "stack.toml"
    text = file.read_text(encoding="utf-8").replace('platform = "2024.11"\n', "")
    file.write_text(text.replace("docker.io/seldonio/mlserver:1.5.0", "registry.example/mlserver:7"), encoding="utf-8")
    lock = own / "initializer.lock"
    lock.write_text(f"{lock.read_text(encoding='utf-8')}# another\n", encoding="utf-8")
    images = load_images(compose(base, {"runtime": str(own)}))
    assert renamed_images(images, "pull")["docker.io/seldonio/mlserver:1.5.0"] == "registry.example/mlserver:7"
    assert "mlserver:1.5.0-lock-" in renamed_images(images, "build")["docker.io/seldonio/mlserver:1.5.0"]
    check_composed(compose(base, {"runtime": str(own)}), "pull")
    with pytest.raises(
        UsageError, match=r"no published image of the initializer .*: mine, which it is from, has no plat"
    ):
        check_composed(compose(base, {"initializer": str(own)}), "pull")


def test_kserve_brings_a_platform_in_a_folder_of_the_same_name(tmp_path: Path) -> None:
    stacks = []
    for number in ("1", "2"):
        folder = tmp_path / number / "mine"
        shutil.copytree(stack_folder(BASE), folder)
        (folder / "own").mkdir()
        shipped = stack_folder(BASE).parents[1] / "platforms" / "2024.11"
        (folder / "own" / "platform.toml").write_text(f'include = "{shipped}"\ntitle = "{number}"\n', encoding="utf-8")
        file = folder / "stack.toml"
        file.write_text(
            file.read_text(encoding="utf-8").replace('platform = "2024.11"', 'platform = "own"'), encoding="utf-8"
        )
        stacks.append(load_stack(str(folder)))
    one, other = stacks
    made = compose(one, {"kserve": other.given})
    assert made.parts == {"kserve": other.given}
    assert load_platform(made).table["title"] == "2"
    assert compose(one, {"kserve": one.given}) is one
