"""Renders charts and kustomizations with the user's own ``helm``, ``kustomize`` or ``kubectl``. Changes nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from trivet.errors import PlatformError, UsageError

TIMEOUT = 120.0
"""Seconds for one rendering: a chart may fetch nothing, but a kustomization may name a remote base."""


def kustomize_build(directory: Path) -> bytes:
    """The manifests of a kustomization: ``kustomize build``, or ``kubectl kustomize`` where there is no kustomize.

    Raises PlatformError when neither is installed, UsageError when the kustomization cannot be built.
    """
    command = {"kustomize": "build", "kubectl": "kustomize"}
    name = next((one for one in command if shutil.which(one)), "")
    if not name:
        raise PlatformError(
            f"there is neither kustomize nor kubectl on this machine to render {directory}",
            remedy="install kustomize and put it on the PATH, or pipe what you render into `trivet lint -`",
        )
    return _rendered(directory, name, command[name], str(directory))


def helm_template(chart: Path) -> bytes:
    """The manifests of a chart with its default values: ``helm template``. Raises PlatformError without helm, UsageError when it fails."""
    if not shutil.which("helm"):
        raise PlatformError(
            f"there is no helm on this machine to render {chart}",
            remedy="install helm and put it on the PATH, or pipe what you render into `trivet lint -`",
        )
    return _rendered(chart, "helm", "template", str(chart))


def _rendered(path: Path, *command: str) -> bytes:
    words = " ".join(command)
    if not path.exists():
        raise UsageError(f"cannot render {path}: it does not exist", remedy="check the path")
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise PlatformError(
            f"timed out after {TIMEOUT:g} s waiting for `{words}` to exit",
            remedy="render it yourself, and pipe the result into `trivet lint -`",
        ) from error
    except OSError as error:
        raise PlatformError(
            f"cannot start `{words}`: {error}", remedy=f"check the installation of {command[0]}"
        ) from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip() or "no output"
        raise UsageError(f"`{words}` failed: {said}", remedy="correct the source until that command succeeds")
    return done.stdout
