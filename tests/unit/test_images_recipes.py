"""Recipes of images: the shipped platforms, the merging of tables, and the errors of invalid recipes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from trivet.errors import UsageError
from trivet.model.stack import ROLES, Stack
from trivet.provision.images.names import parse_reference
from trivet.provision.images.pulled import mirrored, role_images
from trivet.provision.images.recipes import (
    NODE,
    STORE,
    GoLayer,
    ImageSet,
    RoleLayer,
    inputs_digest,
    load_images,
    title_of,
)
from trivet.stacks.composed import compose
from trivet.stacks.platform import PLATFORM_FILE, load_platform, read_platform
from trivet.stacks.read import load_stack, shipped_stacks

SHIPPED = [name for name in shipped_stacks() if load_stack(name).platform]


@pytest.fixture(scope="module")
def sets() -> dict[str, ImageSet]:
    return {name: load_images(load_stack(name)) for name in SHIPPED}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Stack]:
    """A stack with this text as its platform."""

    def made(text: str) -> Stack:
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / PLATFORM_FILE).write_text(text, encoding="utf-8")
        return replace(load_stack("2024.11"), folder=tmp_path, platform="mine")

    return made


def refusal(stack: Stack) -> str:
    with pytest.raises(UsageError) as error:
        load_images(stack)
    assert error.value.remedy
    return str(error.value)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_stack_has_an_image_of_every_role_the_node_and_the_store(
    name: str, sets: dict[str, ImageSet]
) -> None:
    images = sets[name]
    roles = [layer.role.name for image in images.images for layer in image.layers if isinstance(layer, RoleLayer)]
    assert sorted(roles) == sorted(ROLES)
    assert images.image(NODE).config["Entrypoint"][-1] == "/sbin/init"
    assert len(images.image(STORE).layers) == 1


def test_the_trainer_of_a_composed_stack_has_an_image_beside_those_of_its_base(sets: dict[str, ImageSet]) -> None:
    base = load_stack("2024.11-fixed")
    composed = compose(base, {"trainer": "current"})
    own = {str(image.reference) for image in load_images(composed).images} - {
        str(image.reference) for image in sets[base.name].images
    }
    assert own == {f"docker.io/trivet/trainer:2024.11-fixed-trainer-current-{composed.digest[:12]}"}


@pytest.mark.parametrize("name", SHIPPED)
def test_images_have_the_versions_of_the_stack(name: str, sets: dict[str, ImageSet]) -> None:
    stack = load_stack(name)
    tags = {image.reference.path: image.reference.tag for image in sets[name].images}
    for part in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", NODE):
        assert tags[part].startswith(f"v{stack.components['kubernetes']}.")
    assert {tags[f"kserve/{part}"] for part in ("kserve-controller", "agent", "router", "storage-initializer")} == {
        f"v{stack.components['kserve']}"
    }
    assert tags["mlflow/mlflow"] == f"v{stack.components['mlflow']}"
    assert stack.roles["runtime"].image == f"docker.io/seldonio/mlserver:{tags['seldonio/mlserver']}"
    for path, tag in tags.items():
        if path.startswith("knative-releases/"):
            assert tag.startswith(f"v{stack.components['knative']}.")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_go_program_is_a_tool_of_a_module_with_checksums(name: str, sets: dict[str, ImageSet]) -> None:
    for image in sets[name].images:
        for layer in image.layers:
            if isinstance(layer, GoLayer):
                module = (layer.folder / "go.mod").read_text(encoding="utf-8")
                assert (layer.folder / "go.sum").stat().st_size > 0
                for package in layer.programs:
                    assert re.search(rf"^(tool|\t)\s?{re.escape(package)}$", module, re.MULTILINE), package


def test_stacks_on_one_platform_share_every_layer_but_their_own_roles(sets: dict[str, ImageSet]) -> None:
    def layers(name: str) -> dict[str, str]:
        return {inputs_digest(layer): title_of(layer) for image in sets[name].images for layer in image.layers}

    ours, theirs = layers("2024.11"), layers("2024.11-fixed")
    assert [ours[one] for one in ours.keys() - theirs.keys()] == ["trainer of 2024.11 (Python)"]
    assert sets["2024.11"].key != sets["2024.11-fixed"].key


@pytest.mark.parametrize("name", SHIPPED)
def test_the_pull_source_uses_upstream_images_and_builds_missing_roles_on_a_base_image(
    name: str, sets: dict[str, ImageSet]
) -> None:
    for image in sets[name].images:
        assert image.pull or image.reference.path == STORE
        assert image.onto or not image.pull.startswith("docker.io/trivet/")
    roles = role_images(sets[name])
    assert set(roles) == set(ROLES)
    assert roles["runtime"] == load_stack(name).roles["runtime"].image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("kserve/agent:v1", "mirror.example/proxy/kserve/agent:v1"),
        ("redis:7", "mirror.example/proxy/library/redis:7"),
        ("docker.io/kindest/node:v1@sha256:ab", "mirror.example/proxy/kindest/node:v1@sha256:ab"),
    ],
)
def test_a_mirror_replaces_the_registry_of_an_image(image: str, expected: str) -> None:
    assert mirrored(image, "https://mirror.example/proxy/") == expected


@pytest.mark.parametrize(
    ("text", "registry", "path", "tag"),
    [
        ("redis:7", "docker.io", "library/redis", "7"),
        ("kserve/agent:v0.14.1", "docker.io", "kserve/agent", "v0.14.1"),
        ("registry.k8s.io/coredns/coredns:v1.11.3", "registry.k8s.io", "coredns/coredns", "v1.11.3"),
        ("localhost:5000/a/b:c", "localhost:5000", "a/b", "c"),
    ],
)
def test_references_are_parsed_as_in_containerd(text: str, registry: str, path: str, tag: str) -> None:
    found = parse_reference(text)
    assert (found.registry, found.path, found.tag) == (registry, path, tag)


@pytest.mark.parametrize("text", ["redis", "Redis:7", "a/b:", "a/b@sha256:00"])
def test_a_reference_needs_a_tag(text: str) -> None:
    with pytest.raises(UsageError, match="not an image reference with a tag"):
        parse_reference(text)


def test_included_tables_are_overridden_and_included_lists_come_first(tmp_path: Path) -> None:
    for name, text in {
        "below": 'title = "below"\n[[image]]\nname = "a:1"\n[rootfs.x]\nsuite = "old"\npackages = []\n[go.tool]\n',
        "above": 'include = "../below"\ntitle = "above"\n[[image]]\nname = "b:1"\n[rootfs.x]\nsuite = "new"\n',
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / PLATFORM_FILE).write_text(text, encoding="utf-8")
    platform = read_platform(tmp_path / "above")
    assert platform.table["title"] == "above"
    assert [image["name"] for image in platform.table["image"]] == ["a:1", "b:1"]
    assert platform.table["rootfs"]["x"] == {"suite": "new", "packages": []}
    assert platform.table["go"]["tool"]["folder"] == str(tmp_path / "below" / "go" / "tool")
    assert "include" not in platform.table


def test_a_platform_that_includes_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / PLATFORM_FILE).write_text('include = "."\n', encoding="utf-8")
    with pytest.raises(UsageError, match="includes itself"):
        read_platform(tmp_path)


def test_a_stack_without_a_platform_gets_the_list_of_platforms() -> None:
    with pytest.raises(UsageError, match=r"stack 2024.11 has no platform(.|\n)*2024.11, current"):
        load_platform(replace(load_stack("2024.11"), platform=""))
    with pytest.raises(UsageError, match=r"unknown platform 'nope'"):
        load_platform(replace(load_stack("2024.11"), platform="nope"))


@pytest.mark.parametrize("name", [name for name in shipped_stacks() if name not in SHIPPED])
def test_a_shipped_stack_without_a_platform_says_what_is_missing_for_a_cluster(name: str) -> None:
    stack = load_stack(name)
    with pytest.raises(UsageError, match=r"no image recipes and manifests of Kubernetes 1\.28") as refused:
        load_platform(stack)
    assert f"KServe {stack.components['kserve']}" in refused.value.message
    assert "with one of the same versions of: 2024.11, current" in refused.value.remedy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = 'x'", "`image` is missing"),
        ('[[image]]\nname = "a:1"\nrootfs = "none"', r"there is no \[rootfs.none\]"),
        ('[[image]]\nname = "a:1"', "has no layers"),
        ('[[image]]\nname = "a:1"\nbase = "x"', r"`image\[0\].base` is unknown"),
        ('[[image]]\nname = "a"\nfiles = ["f"]\n[[files.f]]\npath = "/x"', "not an image reference with a tag"),
        ('[[image]]\nname = "a:1"\nrole = "cook"', "no role 'cook'"),
        ('[[image]]\nname = "a:1"\nrole = "trainers"', "no role 'trainers'\n  remedy: did you mean 'trainer'?"),
        (
            '[[image]]\nname = "a:1"\nfiles = ["confg"]\n[[files.config]]\npath = "/x"',
            r"there is no \[files.confg\]\n  remedy: did you mean 'config'\? choose one of: config; or add it",
        ),
        (
            '[[image]]\nname = "one.example/a:1"\nfiles = ["f"]\n[[image]]\nname = "two.example/a:1"\nfiles = ["f"]\n'
            '[[files.f]]\npath = "/x"',
            "differ only in the registry",
        ),
        (
            '[[image]]\nname = "a:1"\nfiles = ["f"]\n[[image]]\nname = "a:1"\nfiles = ["f"]\n[[files.f]]\npath = "/x"',
            "library/a:1 is there twice, counting what the file includes",
        ),
        (
            '[[image]]\nname = "a:1"\nwheel = "w"\n'
            '[wheel.w]\nrequirement = "w==1"\nsha256 = {pdp11 = "00"}\nfiles = {a = "/a"}',
            "has no sha256 for",
        ),
    ],
)
def test_an_invalid_recipe_is_refused_with_its_location(text: str, words: str, write: Callable[[str], Stack]) -> None:
    assert re.search(words, refusal(write(text)))


def test_an_unknown_image_has_the_nearest_path(sets: dict[str, ImageSet]) -> None:
    with pytest.raises(UsageError, match="has no image 'kindest/nod'") as caught:
        sets["current"].image("kindest/nod")
    assert caught.value.remedy.startswith("did you mean 'kindest/node'? choose one of: ")


def test_an_image_that_two_tags_could_be_is_refused(write: Callable[[str], Stack]) -> None:
    text = '[[image]]\nname = "a:1"\nfiles = ["f"]\n[[image]]\nname = "a:2"\nfiles = ["f"]\n[[files.f]]\npath = "/x"'
    with pytest.raises(UsageError, match=r"2 images 'library/a': docker.io/library/a:1, docker.io/library/a:2"):
        load_images(write(text)).image("library/a")


def test_a_role_with_another_python_than_debian_s_is_refused(write: Callable[[str], Stack]) -> None:
    stack = write('[[image]]\nname = "a:1"\nrole = "trainer"')
    trainer = replace(stack.roles["trainer"], python="3.12")
    assert "needs Python 3.12" in refusal(replace(stack, roles={**stack.roles, "trainer": trainer}))
