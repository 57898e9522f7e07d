"""What a run says that it did to a cluster of trivet's own before it judged, and judging it as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from trivet.engine.results_store import inputs_of
from trivet.errors import PlatformError, UsageError
from trivet.provision.kind.state import CREATED, READY, ClusterState
from trivet.provision.kind.up import ImageSource, open_cluster, preparation_of
from trivet.stacks.composed import compose
from trivet.stacks.read import load_stack
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


def test_a_cluster_keeps_the_options_that_choose_its_stack() -> None:
    kept = replace(state(), options="--stack 2024.11-fixed --with tracking=current")
    assert kept.command("down") == "trivet down --stack 2024.11-fixed --with tracking=current"
    assert kept.command("up") == "trivet up --stack 2024.11-fixed --with tracking=current --images build"
    assert replace(state(), source="").command("up") == "trivet up"
