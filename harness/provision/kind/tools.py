"""The kind and kubectl that a cluster is handled with: those on the PATH, or built from the platform's Go modules into the cache."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from trivet.errors import PlatformError
from trivet.provision.go_modules import find_go
from trivet.provision.images.recipes import GoLayer
from trivet.provision.kind import limits
from trivet.stacks.platform import Platform

PACKAGES = {"kind": ("kind", "sigs.k8s.io/kind"), "kubectl": ("kubernetes", "k8s.io/kubernetes/cmd/kubectl")}
"""Tool → the wrapper module in the platform's table ``go`` and the package that is built there."""


def find_kind(platform: Platform, source: str) -> Path:
    """kind: where images are built, at the platform's version from its module; else the one on the PATH.

    Raises PlatformError when there is none, it is too old, or it cannot be built.
    """
    if source == "build":
        return built_tool("kind", platform)
    return kind_on_path()


def kind_on_path() -> Path:
    """The kind on the PATH. Raises PlatformError when there is none or it is too old."""
    if not (found := shutil.which("kind")):
        raise PlatformError(
            "there is no kind command on this machine",
            remedy="install kind (https://kind.sigs.k8s.io), or have everything built: --images build",
        )
    try:
        said = subprocess.run([found, "version"], capture_output=True, text=True, timeout=limits.VERSION).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        raise PlatformError(f"{found} does not run: {error}", remedy="install kind anew") from error
    check_kind(found, said)
    return Path(found)


def check_kind(path: str, said: str) -> None:
    """Raises PlatformError when ``said``, what a kind tells of its version, is older than what is needed."""
    wanted = ".".join(map(str, limits.KIND))
    version = re.search(r"v(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < limits.KIND:
        raise PlatformError(
            f"{path} says {said or 'nothing'!r}, and v{wanted} or newer is needed",
            remedy="install a newer kind (https://kind.sigs.k8s.io), or have everything built: --images build",
        )


def find_kubectl(platform: Platform, source: str) -> Path:
    """The kubectl on the PATH; without one, the platform's own where images are built. Raises PlatformError when there is neither."""
    if found := shutil.which("kubectl"):
        return Path(found)
    if source == "build":
        return built_tool("kubectl", platform)
    raise PlatformError(
        "there is no kubectl command on this machine",
        remedy="install kubectl (https://kubernetes.io/docs/tasks/tools), or have everything built: --images build",
    )


def built_tool(name: str, platform: Platform) -> Path:
    """The tool at exactly the platform's version, built once. Raises PlatformError with the compiler's log."""
    from trivet.provision.images.build import build_program

    find_go()
    return build_program(tool_layer(name, platform))


def tool_layer(name: str, platform: Platform) -> GoLayer:
    """What a tool is built from."""
    wrapper, package = PACKAGES[name]
    table = platform.table["go"][wrapper]
    return GoLayer(
        name=wrapper,
        folder=Path(table["folder"]),
        programs={package: f"/usr/local/bin/{name}"},
        ldflags=table.get("ldflags", ""),
    )
