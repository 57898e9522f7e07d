"""Files out of Go modules, which is where the release manifests of Knative, Contour and KServe can be had from a package registry.

The version is the one that the wrapper module's go.mod resolves to and the content is what its go.sum says; Go checks both.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from trivet.errors import PlatformError, UsageError

DOWNLOAD = 600.0
"""Seconds for fetching one module; those with manifests have up to 60 MB."""


def go_environment() -> dict[str, str]:
    """This process's environment without what would make Go read other modules than the wrapper's."""
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
    """The folder with the files of ``module`` at the version that ``wrapper``'s go.mod resolves, fetched when it is not there.

    Raises PlatformError, with Go's own words, when it cannot be had.
    """
    command = [find_go(), "mod", "download", "-json", module]
    try:
        done = subprocess.run(
            command, cwd=wrapper, env=go_environment(), capture_output=True, text=True, timeout=DOWNLOAD
        )
    except subprocess.TimeoutExpired as error:
        raise PlatformError(
            f"go gave up no module {module} within {DOWNLOAD:.0f} s",
            remedy="see whether the module proxy answers: go env GOPROXY",
        ) from error
    try:
        answer = json.loads(done.stdout or "{}")
    except ValueError:
        answer = {}
    if done.returncode or "Dir" not in answer:
        words = answer.get("Error") or done.stderr.strip() or "no words"
        raise PlatformError(
            f"the Go module {module} that {wrapper / 'go.mod'} asks for cannot be had: {words}",
            remedy="see whether the module proxy answers (go env GOPROXY), and whether the module is in that go.mod",
        )
    return Path(answer["Dir"])


def read_files(folder: Path, patterns: Iterable[str]) -> str:
    """The YAML files below ``folder`` that the glob patterns name, as one stream, in the patterns' order.

    Raises UsageError for a pattern that names no file: module archives leave symbolic links out.
    """
    texts = []
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if not found:
            raise UsageError(
                f"the module in {folder} has no file {pattern!r}",
                remedy="module archives hold no symbolic links; name the file that the link leads to",
            )
        texts += [path.read_text(encoding="utf-8") for path in found]
    return "\n---\n".join(texts)
