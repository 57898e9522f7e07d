"""The image of trivet's operations: of no stack, with the layers that stacks have where it can, and trivet inside. Nothing is built."""

from __future__ import annotations

import tarfile
import threading
from pathlib import Path

import pytest

from trivet.provision.images.layers import BuildContext, make_layer
from trivet.provision.images.operations import OPERATIONS, USER, operations_image
from trivet.provision.images.recipes import (
    ROLE_PATH,
    SITE_PACKAGES,
    FilesLayer,
    PackageLayer,
    RoleLayer,
    inputs_digest,
    load_images,
)
from trivet.stacks.read import load_stack, shipped_stacks


@pytest.mark.parametrize("name", [name for name in shipped_stacks() if load_stack(name).platform])
def test_it_is_of_no_stack_and_shares_the_root_file_system_of_python_roles(name: str) -> None:
    images = load_images(load_stack(name))
    assert OPERATIONS not in [image.reference.path for image in images.images]
    of_stack = {inputs_digest(layer) for image in images.images for layer in image.layers}
    shared = [layer.name for layer in operations_image().layers if inputs_digest(layer) in of_stack]
    assert shared == ["python"]


def test_it_runs_trivet_as_a_user_that_is_not_root() -> None:
    config = operations_image().config
    assert config["Entrypoint"] == ["trivet"]
    assert config["User"] == USER == "1000"
    assert any(one.startswith(f"PATH={ROLE_PATH}/bin:") for one in config["Env"])


def test_its_lock_has_what_the_extra_asks_for_with_hashes() -> None:
    (role,) = [layer.role for layer in operations_image().layers if isinstance(layer, RoleLayer)]
    lock = role.lock.read_text(encoding="utf-8")
    for package in ("click", "kubernetes", "msgspec", "prometheus-client", "pyyaml", "requests"):
        assert f"\n{package}==" in lock
    assert lock.count("==") <= lock.count("--hash=")


def test_its_layers_hold_the_package_and_the_program(tmp_path: Path) -> None:
    members: dict[str, tarfile.TarInfo] = {}
    for number, layer in enumerate(operations_image().layers):
        if isinstance(layer, PackageLayer | FilesLayer):
            folder = tmp_path / str(number)
            folder.mkdir()
            context = BuildContext(
                folder=folder, log=folder / "log", progress=lambda text: None, stop=threading.Event()
            )
            archive, _ = make_layer(layer, context)
            with tarfile.open(archive) as tar:
                members |= {f"/{member.name}": member for member in tar}
    assert members[f"{ROLE_PATH}/bin/trivet"].mode == 0o755
    for name in ("cli.py", "operations/canary_run.py", "integration/canary.py", "py.typed"):
        assert f"{SITE_PACKAGES}/trivet/{name}" in members
    assert not any("__pycache__" in name for name in members)


def test_its_digest_changes_with_a_file_of_the_package(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    (tmp_path / "__pycache__").mkdir()
    layer = PackageLayer(name="p", folder=tmp_path, target="/p")
    before = inputs_digest(layer)
    (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"1")
    assert inputs_digest(layer) == before
    (tmp_path / "a.py").write_text("x = 2\n", encoding="utf-8")
    assert inputs_digest(layer) != before
