"""Folders of Go modules. The module proxy is the package registry that has the release manifests of Knative, Contour and KServe.

The wrapper module's go.mod decides the version, and Go verifies the content against its go.sum.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from trivet.errors import PlatformError

TIMEOUT = 600.0
"""Seconds for downloading one module; modules with manifests have up to 60 MB."""


def go_environment() -> dict[str, str]:
    """This process's environment without the variables that would make Go use other modules than the wrapper's."""
    kept = {name: value for name, value in os.environ.items() if name not in ("GOFLAGS", "GOWORK", "GO111MODULE")}
    return kept | {"GOWORK": "off"}


def find_go() -> str:
    """The path of the go command. Raises PlatformError when there is none."""
    if found := shutil.which("go"):
        return found
    raise PlatformError(
        "there is no go command on this machine, and the platform's manifests and tools come from Go modules",
        remedy="install Go 1.24 or newer (https://go.dev/dl) and put it on the PATH",
    )


def module_folder(wrapper: Path, module: str) -> Path:
    """The folder of ``module`` at the version in ``wrapper``'s go.mod, downloaded when it is not in Go's module cache.

    Raises PlatformError with Go's error when the download fails.
    """
    return _downloaded(
        module,
        wrapper,
        f"the Go module {module} required by {wrapper / 'go.mod'}",
        "check that the module proxy responds (go env GOPROXY), and that the module is in that go.mod",
    )


def download_module(module: str, version: str) -> Path:
    """The folder of ``module`` at ``version`` (``v0.20.0``), downloaded when it is not in Go's module cache.

    Raises PlatformError with Go's error when the download fails.
    """
    return _downloaded(
        f"{module}@{version}",
        None,
        f"the Go module {module} {version}",
        "check that the module proxy responds (go env GOPROXY), and that the version exists",
    )


def _downloaded(module: str, wrapper: Path | None, what: str, remedy: str) -> Path:
    command = [find_go(), "mod", "download", "-json", module]
    try:
        done = subprocess.run(
            command, cwd=wrapper, env=go_environment(), capture_output=True, text=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise PlatformError(
            f"timed out after {TIMEOUT:.0f} s waiting for `go mod download` of {module}",
            remedy="check that the module proxy responds: go env GOPROXY",
        ) from error
    try:
        answer = json.loads(done.stdout or "{}")
    except ValueError:
        answer = {}
    if done.returncode or "Dir" not in answer:
        reason = answer.get("Error") or done.stderr.strip() or f"exit status {done.returncode}, no output"
        raise PlatformError(
            f"cannot download {what}: {reason}",
            remedy=remedy,
        )
    return Path(answer["Dir"])
