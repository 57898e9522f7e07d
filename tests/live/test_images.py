"""Images of a real stack in the real store: nothing is built twice, and their content matches the stack."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest

from trivet.model.stack import Stack
from trivet.provision.images.build import StepEnded, StepNote, StepStarted, build, image_states, node_image
from trivet.provision.images.recipes import NODE, ImageSet, load_images
from trivet.provision.images.store import Store
from trivet.stacks.read import load_stack

pytestmark = pytest.mark.cluster
Inside = Callable[..., str]


@pytest.fixture(scope="module")
def stack() -> Stack:
    return load_stack("2024.11-fixed")


@pytest.fixture(scope="module")
def images(stack: Stack) -> ImageSet:
    return load_images(stack)


@pytest.fixture(scope="module")
def store(images: ImageSet) -> Store:
    """The store with every image of the stack, built when missing."""
    return build(images)


@pytest.fixture
def inside(images: ImageSet, store: Store) -> Inside:
    """A function that runs a command in a container of an image of the set, and returns its output."""

    def run(path: str, *command: str) -> str:
        name = f"127.0.0.1:{store.port}/{images.key}/{path}:{images.image(path).reference.tag}"
        done = subprocess.run(
            ["docker", "run", "--rm", name, *command], capture_output=True, text=True, check=True, timeout=300
        )
        return done.stdout

    return run


def test_a_second_build_does_nothing_within_seconds(images: ImageSet, store: Store) -> None:
    events: list[StepStarted | StepEnded | StepNote] = []
    started = time.monotonic()
    build(images, on_step=events.append)
    assert events == []
    assert time.monotonic() - started < 15
    assert all(state.present and state.size for state in image_states(images))


def test_docker_has_the_node_with_the_binaries_of_its_version(images: ImageSet, store: Store) -> None:
    name = node_image(images, store, images.image(NODE))
    command = ["docker", "run", "--rm", "--entrypoint", "kubelet", name, "--version"]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert output.split()[-1] == images.image(NODE).reference.tag


def test_role_images_hold_the_versions_of_the_stack_s_locks(stack: Stack, inside: Inside) -> None:
    pins = {role: stack.roles[role].pins for role in ("tracking", "runtime")}
    assert pins["tracking"]["mlflow"] in inside("mlflow/mlflow", "mlflow", "--version")
    assert inside("mlflow/mlflow", "python", "-c", "import psycopg2, boto3") == ""
    assert pins["runtime"]["mlserver"] in inside("seldonio/mlserver", "mlserver", "--version")


def test_the_initializer_image_starts_upstream_s_own_script(inside: Inside) -> None:
    assert inside("kserve/storage-initializer").startswith("Usage: initializer-entrypoint")


def test_images_run_as_the_user_that_upstream_s_do(inside: Inside) -> None:
    for path in ("seldonio/mlserver",):
        assert inside(path, "id", "-u").strip() == "1000"
