"""Finds kind and kubectl: on the PATH, or built from the platform's Go modules into the cache."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from trivet.errors import PlatformError
from trivet.host.kubectl import missing_kubectl
from trivet.provision.images.recipes import GoLayer
from trivet.provision.kind import limits
from trivet.stacks.go_modules import find_go
from trivet.stacks.platform import Platform

PACKAGES = {"kind": ("kind", "sigs.k8s.io/kind"), "kubectl": ("kubernetes", "k8s.io/kubernetes/cmd/kubectl")}
"""Tool → its wrapper module in the platform's table ``go``, and the Go package to build."""


def find_kind(platform: Platform, source: str) -> Path:
    """The path of kind: for the source ``build`` built at the platform's version, otherwise the one on the PATH.

    Raises PlatformError when there is none, it is too old, or the build fails.
    """
    if source == "build":
        return built_tool("kind", platform)
    return kind_on_path()


def kind_on_path() -> Path:
    """The path of the kind on the PATH. Raises PlatformError when there is none or it is too old."""
    if not (found := shutil.which("kind")):
        raise PlatformError(
            "there is no kind command on this machine",
            remedy="install kind (https://kind.sigs.k8s.io), or build everything: --images build",
        )
    try:
        output = subprocess.run([found, "version"], capture_output=True, text=True, timeout=limits.VERSION).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise PlatformError(f"{found} does not run: {error}", remedy="reinstall kind") from error
    check_kind_version(found, output.strip())
    return Path(found)


def check_kind_version(path: str, output: str) -> None:
    """Raises PlatformError unless ``output``, the output of ``kind version``, has the minimum version or a newer one."""
    minimum = ".".join(map(str, limits.KIND))
    version = re.search(r"v(\d+)\.(\d+)", output)
    if version is None or (int(version[1]), int(version[2])) < limits.KIND:
        raise PlatformError(
            f"{path} reports version {output or '(no output)'!r}, and v{minimum} or newer is needed",
            remedy="install a newer kind (https://kind.sigs.k8s.io), or build everything: --images build",
        )


def find_kubectl(platform: Platform, source: str) -> Path:
    """The path of kubectl: on the PATH, otherwise, for the source ``build``, built at the platform's version.

    Raises PlatformError when there is neither.
    """
    if found := shutil.which("kubectl"):
        return Path(found)
    if source == "build":
        return built_tool("kubectl", platform)
    raise missing_kubectl(otherwise=", or build everything: --images build")


def built_tool(name: str, platform: Platform) -> Path:
    """The path of the tool at exactly the platform's version, built once. Raises PlatformError with the tail of the build log."""
    from trivet.provision.images.build import build_program

    find_go()
    return build_program(tool_layer(name, platform))


def tool_layer(name: str, platform: Platform) -> GoLayer:
    """The Go layer that a tool is built from."""
    wrapper, package = PACKAGES[name]
    table = platform.table["go"][wrapper]
    return GoLayer(
        name=wrapper,
        folder=Path(table["folder"]),
        programs={package: f"/usr/local/bin/{name}"},
        ldflags=table.get("ldflags", ""),
    )
