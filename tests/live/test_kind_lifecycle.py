"""The lifecycle of a real cluster: its creation survives a kill at every stage, it is reused at once, and its deletion leaves nothing.

Of a stack of its own, so that nobody else's cluster is changed. Needs Docker and the images of `trivet images build`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trivet.errors import PlatformError
from trivet.provision.access import ClusterAccess
from trivet.provision.kind.nodes import node_containers
from trivet.provision.kind.state import CREATED, CREATING, DELETING, READY, folder_of
from trivet.provision.kind.up import ImageSource, down, open_cluster, up
from trivet.stacks.read import load_stack, stack_folder

pytestmark = pytest.mark.cluster

BUILD = ImageSource(kind="build")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("stacks") / f"life-{os.getpid()}"
    shutil.copytree(stack_folder("2024.11-fixed"), folder)
    yield str(folder)
    down(load_stack(str(folder)), lambda event: None)


def trivet(*arguments: str, until: str = "") -> str:
    """The output of trivet, which is killed with SIGKILL once a line matches ``until``."""
    command = [str(Path(sys.executable).with_name("trivet")), *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    output = ""
    assert process.stdout
    for line in process.stdout:
        output += line
        if until and re.search(until, line):
            # Into the work that the line announces.
            time.sleep(2)
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    if not until:
        assert process.returncode == 0, output
    return output


def stage(stack: str) -> str:
    state = folder_of(load_stack(stack)).read()
    return state.stage if state else ""


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def test_a_cluster_killed_at_every_stage_comes_up_all_the_same(stack: str) -> None:
    trivet("up", "--stack", stack, "--images", "build", until=r"\d s  cluster …")
    assert stage(stack) == CREATING
    trivet("up", "--stack", stack, "--images", "build", until=r"install kserve …")
    assert stage(stack) == CREATED
    output = trivet("up", "--stack", stack, "--images", "build")
    assert stage(stack) == READY
    assert re.search(r"\d s  total", output)


def test_a_complete_cluster_is_found_again_without_installing_anything(stack: str) -> None:
    output = trivet("up", "--stack", stack, "--images", "build")
    assert "install" not in output


def test_what_is_installed_answers(stack: str) -> None:
    access = up(load_stack(stack), lambda event: None, BUILD)
    assert get(f"{access.tracking_url}/api/2.0/mlflow/experiments/search?max_results=1")["experiments"]
    down_targets = [
        (one["labels"]["job"], one["lastError"])
        for one in get(f"{access.prometheus_url}/api/v1/targets?state=active")["data"]["activeTargets"]
        if one["health"] == "down"
    ]
    assert down_targets == []
    runtimes = access.kubectl.objects("clusterservingruntimes")
    assert [one["metadata"]["name"] for one in runtimes] == ["kserve-mlserver"]


def test_a_node_that_was_stopped_is_started_again(stack: str) -> None:
    (node,) = node_containers(folder_of(load_stack(stack)).name)
    subprocess.run(["docker", "kill", node.name], check=True, capture_output=True)
    access = up(load_stack(stack), lambda event: None, BUILD)
    assert answers(access)


def answers(access: ClusterAccess) -> bool:
    """Whether MLflow responds; a restarted pod may need some seconds."""
    for _ in range(60):
        try:
            return bool(get(f"{access.tracking_url}/api/2.0/mlflow/experiments/search?max_results=1"))
        except OSError:
            time.sleep(1)
    return False


def test_a_cluster_is_not_deleted_while_it_is_in_use(stack: str) -> None:
    with open_cluster(load_stack(stack), lambda event: None, BUILD), pytest.raises(PlatformError, match="in use"):
        down(load_stack(stack), lambda event: None)


def test_a_deletion_that_was_killed_is_finished_by_the_next_one(stack: str) -> None:
    trivet("down", "--stack", stack, until="deletion")
    assert stage(stack) in (DELETING, "")
    down(load_stack(stack), lambda event: None)
    folder = folder_of(load_stack(stack))
    assert node_containers(folder.name) == []
    assert not folder.path.exists()
