"""What a run says that it did to a cluster of trivet's own before it judged, and judging it as it is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from trivet.engine.results_store import inputs_of
from trivet.errors import PlatformError, UsageError
from trivet.provision.images.recipes import Image
from trivet.provision.kind.state import CREATED, READY, ClusterState, folder_of
from trivet.provision.kind.up import (
    ImageSource,
    content_digest,
    down,
    open_cluster,
    preparation_of,
    tracking_environment,
)
from trivet.stacks.composed import compose
from trivet.stacks.read import load_stack, stack_folder
from trivet.targets.kind import kind_target

NETWORK = "kube-system/DaemonSet/kube-router"


def state(stage: str = READY, secret: str = "first", workloads: tuple[str, ...] = (NETWORK,)) -> ClusterState:
    return ClusterState(
        stage=stage,
        digest="",
        source="build",
        ingress=0,
        tracking=0,
        prometheus=0,
        secret=secret,
        workloads=list(workloads),
    )


@pytest.mark.parametrize(
    ("before", "now", "lacking", "said"),
    [
        (None, state(CREATED, workloads=()), {}, "created in this run"),
        (state(secret="of an earlier cluster"), state(CREATED, workloads=()), {}, "created in this run"),
        (
            state(CREATED, workloads=()),
            state(CREATED, workloads=()),
            {},
            "its installation was interrupted, and is completed in this run",
        ),
        (state(), state(), {NETWORK: "not found"}, f"repaired in this run: {NETWORK} (not found)"),
        (state(), state(), {}, ""),
    ],
)
def test_what_is_done_to_a_cluster_is_said(
    before: ClusterState | None, now: ClusterState, lacking: Mapping[str, str], said: str
) -> None:
    assert preparation_of(before, now, lacking) == said


def test_a_composed_trainer_changes_nothing_that_its_cluster_is_made_from() -> None:
    base = load_stack("2024.11-fixed")
    on_base, on_composed, with_addon = (
        inputs_of(kind_target("build", "", addons=addons), stack).options
        for stack, addons in ((base, []), (compose(base, {"trainer": "current"}), []), (base, ["pipelines"]))
    )
    assert on_base == on_composed != with_addon


def test_results_of_traffic_and_changes_on_a_cluster_are_not_kept() -> None:
    inputs = inputs_of(kind_target("build", ""), load_stack("current"))
    assert {"serving", "cluster", "traffic", "rollout", "metrics", "faults"} <= inputs.momentary
    assert inputs.momentary.isdisjoint(inputs.parts)
    assert inputs.parts["pipeline_backend"] == inputs.parts["pipelines"]


def test_results_of_a_cluster_as_it_is_are_not_kept() -> None:
    with pytest.raises(UsageError, match="results of a cluster as it is cannot be kept") as error:
        inputs_of(kind_target("build", "", as_is=True), load_stack("current"))
    assert "--as-is" in error.value.remedy


def test_nothing_is_loaded_into_a_cluster_that_is_judged_as_it_is() -> None:
    stack = compose(load_stack("2024.11-fixed"), {"trainer": "current"})
    with (
        pytest.raises(UsageError, match=r"the trainer of .* is not on the cluster of 2024\.11-fixed") as error,
        open_cluster(stack, lambda event: None, ImageSource(kind="build"), as_is=True),
    ):
        pass
    assert "--as-is" in error.value.remedy


def test_a_cluster_that_does_not_exist_is_not_judged_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    with (
        pytest.raises(PlatformError, match="there is no cluster of stack current to judge as it is") as error,
        open_cluster(load_stack("current"), lambda event: None, ImageSource(kind="build"), as_is=True),
    ):
        pass
    assert error.value.remedy == "create it: trivet up --stack current"


def test_a_composed_stack_without_a_cluster_is_named_with_the_options_that_compose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    stack = compose(load_stack("2024.11-fixed"), {"tracking": "current"})
    with (
        pytest.raises(PlatformError, match="there is no cluster of stack") as error,
        open_cluster(stack, lambda event: None, ImageSource(kind="build"), as_is=True),
    ):
        pass
    assert error.value.remedy == "create it: trivet up --stack 2024.11-fixed --with tracking=current"


def test_a_composed_stack_has_a_cluster_of_its_own_unless_only_its_trainer_is_from_elsewhere() -> None:
    base = load_stack("2024.11-fixed")
    named = {
        tuple(parts.items()): folder_of(compose(base, parts)).name
        for parts in (
            {"trainer": "current"},
            {"tracking": "current"},
            {"tracking": "2024.08"},
            {"kserve": "current"},
            {"trainer": "current", "tracking": "current"},
        )
    }
    assert named[(("trainer", "current"),)] == folder_of(base).name == "trivet-2024-11-fixed"
    assert named[(("trainer", "current"), ("tracking", "current"))] == named[(("tracking", "current"),)]
    assert len(set(named.values())) == 4
    composed = set(named.values()) - {folder_of(base).name}
    assert all(name.startswith("trivet-2024-11-fixed-") for name in composed)


def test_the_name_of_every_node_is_a_label(tmp_path: Path) -> None:
    values = {"kserve": "current", "tracking": "2024.08", "initializer": "current", "runtime": "current"}
    base = load_stack("2024.11-fixed")
    stacks = [compose(base, dict(parts)) for number in (1, 2, 3, 4) for parts in combinations(values.items(), number)]
    named = [replace(base, name="n" * length, given=str(tmp_path)) for length in range(30, 60)]
    names = [folder_of(stack).name for stack in (*stacks, *named)]
    assert max(len(f"{name}-control-plane") for name in names) == 63
    assert len({folder_of(stack).name for stack in stacks}) == len(stacks)


def test_stacks_in_folders_of_one_name_have_clusters_of_their_own_when_they_are_composed(tmp_path: Path) -> None:
    base, values = load_stack("2024.11-fixed"), []
    for number in ("1", "2"):
        folder = tmp_path / number / "mine"
        shutil.copytree(stack_folder("current"), folder)
        values.append(str(folder))
    parts = [folder_of(compose(base, {"tracking": value})).name for value in values]
    bases = [folder_of(compose(load_stack(value), {"tracking": "2024.11"})).name for value in values]
    assert len({*parts, *bases}) == 4


def test_a_cluster_of_another_stack_with_its_name_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("trivet.provision.kind.up.docker_info", dict)
    ours, theirs = (replace(load_stack("2024.11"), name="mine", given=f"/{user}/mine") for user in ("a", "b"))
    folder_of(ours).write(replace(state(), options=ours.options))
    source = ImageSource(kind="build")
    for use in (lambda: down(theirs, print), lambda: open_cluster(theirs, print, source).__enter__()):
        with pytest.raises(PlatformError, match="was created for --stack /a/mine, not for --stack /b/mine") as error:
            use()
        assert error.value.remedy.startswith("delete it: trivet down --stack /a/mine; ")
    assert folder_of(ours).read()


def test_a_composed_cluster_is_found_again_when_a_lock_has_changed() -> None:
    stack = compose(load_stack("2024.11-fixed"), {"tracking": "current"})
    assert folder_of(replace(stack, digest="of another lock")).name == folder_of(stack).name


def test_without_its_trainer_s_own_cluster_nothing_is_deleted() -> None:
    with pytest.raises(UsageError, match="has no cluster of its own: it runs on that of current") as error:
        down(compose(load_stack("current"), {"trainer": "2024.11"}), lambda event: None)
    assert error.value.remedy == "delete that one: trivet down --stack current"


def test_a_plan_refuses_what_the_images_do_not_have(tmp_path: Path) -> None:
    shutil.copytree(stack_folder("2024.11-fixed"), tmp_path / "mine")
    with (tmp_path / "mine" / "runtime.lock").open("a", encoding="utf-8") as lock:
        lock.write("# another\n")
    stack = compose(load_stack("2024.11-fixed"), {"runtime": str(tmp_path / "mine")})
    assert any("MLflow 2.17.2" in line for line in kind_target("build", "").plan(stack))
    with pytest.raises(UsageError, match="of both clusters would be the same"):
        kind_target("pull", "").plan(stack)
    with pytest.raises(UsageError, match="of both clusters would be the same"):
        inputs_of(kind_target("pull", ""), stack)


def test_results_on_a_composed_cluster_are_not_those_of_its_base() -> None:
    base = load_stack("2024.11-fixed")
    made = [
        inputs_of(kind_target("build", ""), stack).options["cluster"]
        for stack in (base, compose(base, {"tracking": "current"}), compose(base, {"tracking": "2024.08"}))
    ]
    assert len(set(made)) == 3


def test_a_cluster_keeps_the_options_that_choose_its_stack() -> None:
    kept = replace(state(), options="--stack 2024.11-fixed --with tracking=current")
    assert kept.command("down") == "trivet down --stack 2024.11-fixed --with tracking=current"
    assert kept.command("up") == "trivet up --stack 2024.11-fixed --with tracking=current --images build"
    pulled = replace(state(), source="pull", mirror="https://mirror.example")
    assert pulled.command("up") == "trivet up --stack STACK --images pull --mirror https://mirror.example"


def test_images_of_other_names_make_another_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(source: str) -> str:
        return content_digest(load_stack("2024.11"), ImageSource(kind=source), ["pipelines"])

    before = {source: digest(source) for source in ("pull", "build")}
    monkeypatch.setattr(Image, "local_name", "an earlier name")
    assert digest("pull") != before["pull"]
    assert digest("build") == before["build"]


@pytest.mark.parametrize("source", ["pull", "build"])
def test_a_cluster_as_it_is_has_the_images_that_it_was_made_with(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    monkeypatch.setattr("trivet.provision.kind.up.node_containers", lambda name: ["node"])
    monkeypatch.setattr("trivet.provision.kind.up.find_kubectl", lambda platform, source: "kubectl")
    monkeypatch.setattr("trivet.provision.kind.up.not_ready", lambda kubectl, workloads: {})
    monkeypatch.setattr("trivet.host.kubectl.Kubectl.raw", lambda self, path: "ok")
    stack = load_stack("2024.11")
    folder, opened = folder_of(stack), ImageSource(kind=source)

    def images() -> Mapping[str, str]:
        with open_cluster(stack, print, opened, as_is=True) as access:
            return access.images

    folder.write(replace(state(), source=source, images={"trainer": "the one in the node"}))
    assert images() == {"trainer": "the one in the node"}
    folder.write(replace(state(), source=source))
    if source == "build":
        assert images()["trainer"] == "docker.io/trivet/trainer:2024.11"
    else:
        with pytest.raises(PlatformError, match="of an earlier trivet, whose images had other names"):
            images()


def test_mlflow_s_server_allows_its_names_in_the_cluster_beside_those_of_the_stack() -> None:
    for name in ("2024.11", "current"):
        allowed = tracking_environment(load_stack(name))["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
        assert {"mlflow.trivet-platform:*", "127.0.0.1:*"} <= set(allowed)
    stack = load_stack("current")
    assert tracking_environment(stack).items() > stack.roles["tracking"].environment.items()
    role = replace(stack.roles["tracking"], environment={"MLFLOW_SERVER_ALLOWED_HOSTS": "mlflow.example"})
    made = tracking_environment(replace(stack, roles={**stack.roles, "tracking": role}))
    assert made["MLFLOW_SERVER_ALLOWED_HOSTS"].startswith("mlflow.example,mlflow.trivet-platform,")
