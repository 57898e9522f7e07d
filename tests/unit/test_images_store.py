"""The image store's container is reused, started, replaced or created, depending on the state it was left in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fakes.image_registry import registry

from trivet.provision.docker import DockerError
from trivet.provision.images import build, pulled, store
from trivet.provision.images.layers import BuildContext
from trivet.provision.images.recipes import Layer, load_images
from trivet.stacks.read import load_stack


class Docker:
    """A fake of the docker command for the store: one container, whose port is that of a registry in this process."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.containers: dict[str, tuple[bool, str]] = {}
        self.images: set[str] = set()
        self.labels: dict[str, str] = {}
        self.networks: set[str] = set()
        self.asked: list[str] = []
        self.startable = True

    def __call__(self, arguments: Sequence[str], *, what: str, stdin: Path | None = None) -> str:
        self.asked.append(" ".join(arguments))
        match list(arguments):
            case ["container", "inspect", "--format", form, name]:
                if name not in self.containers:
                    raise DockerError(what, output=f"Error: No such container: {name}")
                running, inputs = self.containers[name]
                return inputs if "Labels" in form else str(running).lower()
            case ["start", name]:
                if not self.startable:
                    raise DockerError(what, output="network gone")
                self.containers[name] = (True, self.containers[name][1])
            case ["port", _, _]:
                return f"127.0.0.1:{self.port}"
            case ["rm", "--force", name]:
                self.containers.pop(name, None)
            case ["image", "inspect", "--format", _, name]:
                if name not in self.labels:
                    raise DockerError(what, output=f"Error: No such image: {name}")
                return self.labels[name]
            case ["create", _]:
                return "id"
            case ["commit", *words, name]:
                self.labels[name] = next(word for word in words if word.startswith("LABEL")).rpartition("=")[2]
            case ["image", "inspect", name]:
                if name not in self.images:
                    raise DockerError(what, output=f"Error: No such image: {name}")
            case ["pull", "--quiet", name]:
                self.images.add(name)
            case ["network", "ls", *_]:
                return "id" if self.networks else ""
            case ["network", "create", *_, name]:
                self.networks.add(name)
            case ["run", *words]:
                inputs = next(word for word in words if word.startswith("trivet.inputs=")).partition("=")[2]
                self.containers[words[words.index("--name") + 1]] = (True, inputs)
        return ""

    def count(self, verb: str) -> int:
        return sum(asked.startswith(verb) for asked in self.asked)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Docker]:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))
    with registry() as (client, _):
        engine = Docker(urlsplit(client.url).port or 0)
        for module in (store, pulled):
            monkeypatch.setattr(module, "docker", engine)
        yield engine


def opened(engine: Docker, inputs: str = "abc") -> store.Store:
    return store.open_store(inputs, engine.images.add)


def test_a_store_is_created_once(engine: Docker) -> None:
    assert store.running_store() is None
    made = opened(engine)
    assert made.inside == f"{store.container_name()}:5000"
    assert engine.networks == {"kind"}
    assert opened(engine).port == made.port
    assert engine.count("run") == 1


def test_a_stopped_store_is_started(engine: Docker) -> None:
    opened(engine)
    engine.containers[store.container_name()] = (False, "abc")
    assert store.running_store() is not None
    assert (engine.count("run"), engine.count("start")) == (1, 1)


def test_a_store_that_cannot_be_started_is_created_again(engine: Docker) -> None:
    opened(engine)
    engine.containers[store.container_name()] = (False, "abc")
    engine.startable = False
    opened(engine)
    assert engine.count("run") == 2


def test_a_store_of_another_image_is_replaced(engine: Docker) -> None:
    opened(engine)
    opened(engine, "other")
    assert engine.containers[store.container_name()] == (True, "other")
    assert engine.count("run") == 2


def test_each_cache_directory_has_its_own_store(
    engine: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.container_name()
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "other"))
    assert store.container_name() != first


def test_the_node_of_the_pull_source_is_pulled_once_and_through_the_mirror(engine: Docker) -> None:
    images = load_images(load_stack("2024.11"))
    name = pulled.node_image(images, "https://mirror.example/docker")
    assert (
        name
        == "mirror.example/docker/kindest/node:v1.30.13@sha256:397209b3d947d154f6641f2d0ce8d473732bd91c87d9575ade99049aa33cd648"
    )
    assert pulled.node_image(images, "https://mirror.example/docker") == name
    assert pulled.node_image(images).startswith("docker.io/kindest/node:v1.30.13@sha256:")
    assert engine.count("pull") == 2


def test_roles_without_an_upstream_image_are_built_on_a_base_image_once(
    engine: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_layer(layer: Layer, context: BuildContext) -> tuple[Path, dict[str, str]]:
        archive = context.folder / "layer.tar"
        archive.write_bytes(b"content")
        return archive, {}

    monkeypatch.setattr(build, "make_layer", make_layer)
    images = load_images(load_stack("2024.11"))
    names = pulled.local_images(images, "https://mirror.example")
    assert [name.rpartition("-lock-")[0] for name in names] == [
        "docker.io/trivet/trainer:2024.11",
        "ghcr.io/mlflow/mlflow:v2.17.2",
    ]
    assert all(
        name.endswith(image.inputs[:12])
        for name, image in zip(names, (one for one in images.images if one.onto), strict=True)
    )
    assert "create mirror.example/library/python:3.11-slim-bookworm" in engine.asked
    # For each of the two images: the files that upstream's Python image lacks, and the role.
    assert engine.count("cp -") == 4
    (trainer, _) = [asked for asked in engine.asked if asked.startswith("commit")]
    assert "ENV PATH=/opt/role/bin:" in trainer
    assert "USER 1000:1000" in trainer
    assert engine.count("rm --force id") == 2
    assert pulled.local_images(images, "https://mirror.example") == names
    assert engine.count("commit") == 2
