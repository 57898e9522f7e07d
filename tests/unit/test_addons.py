"""Add-ons: the shipped ones are consistent, and are installed once, beside an unchanged platform."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from trivet.cli import main
from trivet.errors import PlatformError, UsageError
from trivet.host.kubectl import Kubectl
from trivet.provision.images import layers
from trivet.provision.images.recipes import STORE, GoLayer, ImageSet, addon_images, inputs_digest, load_images
from trivet.provision.images.store import hosts_toml, set_keys_of
from trivet.provision.kind import addons
from trivet.provision.kind.addons import PreparedAddon, describe_addon, ensure_addon
from trivet.provision.kind.cluster import HOSTS, add_mirror
from trivet.provision.kind.manifests import parse, read_files
from trivet.provision.kind.state import READY, AddonState, ClusterFolder, ClusterState
from trivet.provision.kind.steps import InstallStep, TemplateValues, objects_of, read_steps
from trivet.provision.kind.up import ImageSource, open_cluster
from trivet.stacks.platform import PLATFORM_FILE, Platform, load_addon, read_platform, shipped_addons
from trivet.stacks.read import load_stack, shipped_stacks
from trivet.targets.kind import kind_target

PIPELINES = "pipelines"
STACK = "2024.11-fixed"
SERVER = "kubeflow/Deployment/ml-pipeline"


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return addon_images(load_stack(STACK), PIPELINES)


def go_layers(images: ImageSet) -> list[GoLayer]:
    return [layer for image in images.images for layer in image.layers if isinstance(layer, GoLayer)]


@pytest.mark.parametrize("stack", [name for name in shipped_stacks() if load_stack(name).platform])
@pytest.mark.parametrize("name", shipped_addons())
def test_a_shipped_addon_has_images_of_its_own_for_every_stack(stack: str, name: str) -> None:
    own, platform = addon_images(load_stack(stack), name), load_images(load_stack(stack))
    common = {str(one.reference) for one in own.images} & {str(one.reference) for one in platform.images}
    assert [one.rpartition(":")[0] for one in common] == [f"docker.io/{STORE}"]
    assert own.key != platform.key


def test_every_go_program_of_an_addon_is_a_tool_of_a_module_with_checksums(images: ImageSet) -> None:
    for layer in go_layers(images):
        module = (layer.folder / "go.mod").read_text(encoding="utf-8")
        assert (layer.folder / "go.sum").stat().st_size > 0
        for package in layer.programs:
            assert re.search(rf"^(tool|\t)\s?{re.escape(package)}$", module, re.MULTILINE), package


@pytest.mark.parametrize("source", ["build", "pull"])
def test_every_step_of_a_shipped_addon_comes_after_what_it_waits_for(source: str) -> None:
    for name in shipped_addons():
        seen: set[str] = set()
        for step in read_steps(load_addon(name), source):
            assert {*step.after, *step.needs} <= seen
            seen.add(step.name)


def test_the_images_that_the_api_server_is_given_are_built(images: ImageSet) -> None:
    (step,) = (one for one in read_steps(load_addon(PIPELINES), "build") if one.name == PIPELINES)
    given = [one["value"] for patch in step.patches for items in patch.append.values() for one in items]
    assert len(given) == 2
    assert {*given} <= {str(image.reference) for image in images.images}


def test_steps_run_as_root_which_alone_can_create_the_directory_that_the_launcher_uses(images: ImageSet) -> None:
    assert "User" not in images.image("trivet/step").config


def test_the_volumes_of_an_addon_are_manifests_in_its_own_folder() -> None:
    addon = load_addon(PIPELINES)
    (step,) = (one for one in read_steps(addon, "build") if "." in one.files)
    assert [one.kind for one in objects_of(step, addon, TemplateValues())] == ["PersistentVolume"] * 2


def test_stand_ins_are_named_where_images_are_built() -> None:
    built = describe_addon(load_stack(STACK), PIPELINES, "build").note
    for words in (
        "Kubeflow Pipelines 2.0.5",
        "mysql: Debian's MariaDB",
        "minio: versitygw",
        "ml_metadata_store_server: ML Metadata",
    ):
        assert words in built
    assert "trivet/registry" not in built
    assert "versitygw" not in describe_addon(load_stack(STACK), PIPELINES, "pull").note


def test_the_digest_of_an_addon_follows_its_images_its_source_and_its_manifests(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def digest(source: str = "build", mirror: str = "") -> str:
        return describe_addon(load_stack(STACK), PIPELINES, source, mirror).digest

    first = digest()
    assert len({first, digest("pull"), digest("pull", "https://mirror.example"), digest()}) == 3
    (tmp_path / "volumes.yaml").write_text("kind: other\n", encoding="utf-8")
    monkeypatch.setattr(addons, "load_addon", lambda name: replace(load_addon(name), folder=tmp_path))
    assert digest() != first


@pytest.mark.parametrize(("stack", "release"), [(STACK, "2.3.0"), ("current", "2.17.0")])
def test_what_is_pulled_is_the_release_for_the_stack_s_sdk_by_upstream_s_manifests(stack: str, release: str) -> None:
    described = describe_addon(load_stack(stack), PIPELINES, "pull")
    note = f"Kubeflow Pipelines {release}; the node has 1 nvidia.com/gpu without a device"
    assert (described.release, described.note) == (release, note)
    (step,) = (one for one in described.steps if one.name == "pipelines-cluster")
    rendered: list[str] = []

    def kustomize(url: str) -> str:
        rendered.append(url)
        return "kind: Namespace\nmetadata:\n  name: kubeflow\n"

    values = TemplateValues(values={"release": release})
    (namespace,) = objects_of(step, described.platform, values, kustomize)
    assert rendered == [
        f"https://github.com/kubeflow/pipelines/manifests/kustomize/cluster-scoped-resources?ref={release}"
    ]
    assert parse(namespace)["metadata"]["labels"] == {"trivet.dev/role": "pipelines"}
    with pytest.raises(UsageError, match=r"unknown value \$\{release\}"):
        objects_of(step, described.platform, TemplateValues(), kustomize)


def test_an_sdk_without_a_release_to_pull_is_refused() -> None:
    stack = load_stack(STACK)
    other = replace(stack, components={**stack.components, "kfp": "2.8.0"})
    with pytest.raises(UsageError, match=r"no release to pull for the KFP SDK 2\.8\.0 of stack 2024\.11-fixed"):
        describe_addon(other, PIPELINES, "pull")
    assert describe_addon(other, PIPELINES, "build").release == "2.0.5"


def test_files_of_a_step_can_be_for_one_image_source() -> None:
    for source, files in (
        ("build", {"github.com/kubeflow/pipelines"}),
        ("pull", {"https://github.com/kubeflow/pipelines"}),
    ):
        steps = {step.name: step for step in read_steps(load_addon(PIPELINES), source)}
        assert {*steps[PIPELINES].files} == files
        assert ("pipelines-volumes" in steps) == (source == "build")


def test_an_unknown_addon_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="unknown add-on 'pipeline'") as error:
        load_addon("pipeline")
    assert "did you mean 'pipelines'?" in error.value.remedy


def wrapper(folder: Path, **more: str) -> GoLayer:
    folder.mkdir(exist_ok=True)
    for name, text in {"go.mod": "module a\n", "go.sum": "", **more}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return GoLayer(name="a", folder=folder, programs={"example.com/a": "/bin/a"})


def test_the_digest_of_a_go_layer_covers_modules_in_its_folder(tmp_path: Path) -> None:
    plain = wrapper(tmp_path / "a")
    assert len(plain.digest_inputs["sums"]) == 2
    assert plain.digest_inputs.keys() == {"sums", "programs", "ldflags"}
    stub = wrapper(tmp_path / "a", **{"stub/stub.go": "package stub\n"})
    assert len(stub.digest_inputs["sums"]) == 3
    first = inputs_digest(stub)
    assert inputs_digest(wrapper(tmp_path / "a", **{"stub/stub.go": "package other\n"})) != first


def test_a_link_that_the_module_s_archive_lacks_is_restored_in_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, calls = tmp_path / "module", []
    (module / "os").mkdir(parents=True)
    (module / "os" / "signal_darwin.go").write_text("package os\n", encoding="utf-8")
    for folder in (module / "os", module):
        folder.chmod(0o555)
    monkeypatch.setattr(layers, "module_folder", lambda folder, name: module)
    monkeypatch.setattr(layers, "run_logged", lambda arguments, **more: calls.append((arguments, more["cwd"])))
    links = {"example.com/b": {"os/signal_linux.go": "signal_darwin.go"}}
    layer = replace(wrapper(tmp_path / "a"), links=links)
    assert "links" in layer.digest_inputs
    (tmp_path / "work").mkdir()
    layers.compile_programs(layer, tmp_path / "work", log=tmp_path / "log", stop=threading.Event())
    copy = tmp_path / "work" / "wrapper"
    assert (copy / "modules-0" / "os" / "signal_linux.go").read_text(encoding="utf-8") == "package os\n"
    assert [arguments[:3] for arguments, _ in calls] == [["go", "mod", "edit"], ["go", "build", "-trimpath"]]
    assert calls[0][0][3] == "-replace=example.com/b=./modules-0"
    assert {folder for _, folder in calls} == {copy}
    assert not (module / "os" / "signal_linux.go").exists()

    wrong = replace(layer, links={"example.com/b": {"os/signal_linux.go": "signal_bsd.go"}})
    (tmp_path / "other").mkdir()
    with pytest.raises(PlatformError, match=r"has no file signal_bsd\.go beside os/signal_linux\.go"):
        layers.compile_programs(wrong, tmp_path / "other", log=tmp_path / "log", stop=threading.Event())


def test_the_text_of_a_file_can_come_from_beside_the_recipe(tmp_path: Path) -> None:
    recipe = '[[image]]\nname = "a:1"\nfiles = ["f"]\n[[files.f]]\npath = "/x"\nsource = "x.sh"\n'
    (tmp_path / PLATFORM_FILE).write_text(recipe, encoding="utf-8")
    with pytest.raises(UsageError, match=r"cannot read .*x\.sh of \[\[files\.f\]\]"):
        read_platform(tmp_path)
    (tmp_path / "x.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    assert read_platform(tmp_path).table["files"]["f"] == [{"path": "/x", "text": "#!/bin/sh\n"}]


def test_a_pattern_that_ends_in_a_slash_is_rendered_as_a_kustomization(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "a.yaml").write_text("kind: a\n", encoding="utf-8")
    assert (
        read_files(tmp_path, ["base/", "a.yaml"], lambda folder: f"kind: {Path(folder).name}\n")
        == "kind: base\n\n---\nkind: a\n"
    )
    with pytest.raises(UsageError, match="has no file 'overlay/'"):
        read_files(tmp_path, ["overlay/"], lambda folder: "")


class Cluster:
    """A cluster's folder, and fakes of what installs on it. ``lacking`` are workloads that are not ready."""

    def __init__(self, folder: ClusterFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.installed: list[list[str]] = []
        self.lacking: Mapping[str, str] = {}
        self.fails = False
        (folder.path / HOSTS).parent.mkdir(parents=True)
        (folder.path / HOSTS).write_text(hosts_toml("platform-1"), encoding="utf-8")
        outer = self

        class Installation:
            def __init__(self, *_: Any) -> None:
                pass

            def run(self, steps: Sequence[InstallStep]) -> list[str]:
                outer.installed.append([step.name for step in steps])
                if outer.fails:
                    raise PlatformError("a pod does not start")
                return [SERVER]

        monkeypatch.setattr(addons, "Installation", Installation)
        monkeypatch.setattr(addons, "not_ready", lambda kubectl, names: self.lacking if names else {})

    def ensure(self, digest: str = "d") -> str:
        addon = PreparedAddon(
            platform=Platform(name=PIPELINES, folder=Path("/nowhere"), table={}),
            release="1",
            steps=[InstallStep(name="all", files={})],
            digest=digest,
            roles={"trainer": "step:1"},
            note="",
            hosts=hosts_toml("addon-1"),
        )
        assert not addon.is_outdated(self.folder)
        return ensure_addon(addon, self.folder, Path("kind"), Kubectl(context="c"), lambda event: None)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    return Cluster(ClusterFolder(name="trivet-a", path=tmp_path / "clusters" / "trivet-a"), monkeypatch)


def test_an_addon_is_installed_once_and_repaired_when_a_part_of_it_is_gone(cluster: Cluster) -> None:
    assert cluster.ensure() == "installed in this run"
    assert cluster.ensure() == "as found: 1 workloads ready"
    cluster.lacking = {SERVER: "not found"}
    assert cluster.ensure() == f"repaired in this run: {SERVER} (not found)"
    assert cluster.installed == [["all"], ["all"]]


def test_an_interrupted_installation_of_an_addon_is_done_again(cluster: Cluster) -> None:
    cluster.fails = True
    with pytest.raises(PlatformError, match="a pod does not start"):
        cluster.ensure()
    assert cluster.folder.read_addon(PIPELINES) == AddonState(digest="d", workloads=[], images={"trainer": "step:1"})
    cluster.fails = False
    assert cluster.ensure() == "installed in this run"


def test_nodes_ask_for_the_images_of_an_addon_after_those_of_the_platform(cluster: Cluster) -> None:
    cluster.ensure()
    cluster.ensure()
    assert set_keys_of((cluster.folder.path / HOSTS).read_text(encoding="utf-8")) == ["platform-1", "addon-1"]
    add_mirror(cluster.folder, hosts_toml("addon-2"))
    assert set_keys_of((cluster.folder.path / HOSTS).read_text(encoding="utf-8"))[2:] == ["addon-2"]


def test_an_addon_from_other_recipes_is_outdated(cluster: Cluster) -> None:
    cluster.ensure()
    described = describe_addon(load_stack(STACK), PIPELINES, "build")
    assert described.is_outdated(cluster.folder)
    cluster.folder.write_addon(PIPELINES, AddonState(digest=described.digest, workloads=[SERVER]))
    assert not described.is_outdated(cluster.folder)


def test_an_unreadable_state_of_an_addon_counts_as_none(cluster: Cluster) -> None:
    cluster.ensure()
    (cluster.folder.path / "addons" / f"{PIPELINES}.json").write_text("{", encoding="utf-8")
    assert cluster.folder.read_addon(PIPELINES) is None


def test_kubeflow_pipelines_is_reached_by_its_service_and_has_an_image_for_steps() -> None:
    access = describe_addon(load_stack(STACK), PIPELINES, "build").access
    assert access is not None
    assert (access.namespace, access.service, access.port) == ("kubeflow", "ml-pipeline", 8888)
    assert access.step_image == f"docker.io/trivet/step:{STACK}"


def test_a_cluster_without_the_addon_is_not_judged_as_if_it_had_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nodes: Callable[[], None]
) -> None:
    nodes()
    folder = ClusterFolder(name="trivet-current", path=tmp_path / "clusters" / "trivet-current")
    folder.write(ClusterState(stage=READY, digest="", source="build", ingress=0, tracking=0, prometheus=0, secret=""))
    with (
        pytest.raises(PlatformError, match="does not have the add-on pipelines") as error,
        open_cluster(
            load_stack("current"), lambda event: None, ImageSource(kind="build"), addons=[PIPELINES], as_is=True
        ),
    ):
        pass
    assert error.value.remedy == "install it: trivet up --stack current --addon pipelines"


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Sets an empty cache, in which every cluster has a node."""

    def given() -> None:
        monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
        monkeypatch.setattr("trivet.provision.kind.up.node_containers", lambda name: [name])

    return given


def test_a_plan_names_the_addons_of_its_cluster() -> None:
    stack = load_stack(STACK)
    assert "add-on pipelines" in kind_target("build", "", addons=[PIPELINES]).plan(stack)
    assert not any("add-on" in line for line in kind_target("build", "").plan(stack))


def test_the_commands_on_images_take_those_of_an_addon() -> None:
    result = CliRunner().invoke(
        main, ["images", "build", "--stack", "2024.11-fixed", "--addon", "pipelines", "kfp-launch"]
    )
    assert result.exit_code == 3
    assert "ml-pipeline/kfp-launcher" in result.output
    assert "kserve/kserve-controller" not in result.output


def test_the_commands_on_images_name_the_addons_that_there_are() -> None:
    result = CliRunner().invoke(main, ["images", "list", "--addon", "pipeline"])
    assert result.exit_code == 3
    assert "did you mean 'pipelines'" in result.output
