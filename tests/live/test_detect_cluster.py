"""Detecting what runs, on a real cluster of trivet's own; nothing on it is changed but what an account with few permissions needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract_examples.live import STACK

from trivet.engine.detect import Sources, detect
from trivet.engine.detected_stack import write_detected
from trivet.stacks.api_schemas import INFERENCE_SERVICE, load_schemas
from trivet.stacks.read import load_stack
from trivet.targets.cluster.session import ClusterSession

pytestmark = pytest.mark.cluster


def test_a_cluster_of_trivets_own_is_detected_as_the_stack_that_it_was_made_from(
    cluster_session: ClusterSession, tmp_path: Path
) -> None:
    live = detect(cluster_session.access.kubectl, Sources())
    stack, declared = write_detected(live, tmp_path / "detected"), load_stack(STACK)
    for component in ("mlflow", "kserve", "runtime"):
        assert stack.components[component] == declared.components[component]
    for component in ("knative", "kubernetes"):
        assert stack.components[component].startswith(f"{declared.components[component]}.")
    for role in ("tracking", "initializer", "runtime"):
        assert stack.roles[role].pins == declared.roles[role].pins
    assert stack.settings["serving"] == declared.settings["serving"]
    detected, released = load_schemas(stack.api_schemas), load_schemas(declared.api_schemas)
    assert detected.kinds[INFERENCE_SERVICE].keys() == released.kinds[INFERENCE_SERVICE].keys()
    for keys in (("spec", "predictor", "model", "storageUri"), ("spec", "predictor", "minReplicas")):
        assert detected.at(INFERENCE_SERVICE, keys) == released.at(INFERENCE_SERVICE, keys)


def test_the_packages_in_a_running_pod_are_those_of_the_lock_that_its_image_was_built_from(
    cluster_session: ClusterSession, tmp_path: Path
) -> None:
    assert cluster_session.client("serving").ready
    sources = Sources(namespaces=(cluster_session.namespaces.serving,), exec_in_runtime=True)
    stack = write_detected(detect(cluster_session.access.kubectl, sources), tmp_path / "detected")
    packages, locked = stack.roles["runtime"].pins, load_stack(STACK).roles["runtime"].pins
    assert {name: packages.get(name) for name in locked} == locked
