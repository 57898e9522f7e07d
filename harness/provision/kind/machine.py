"""Checks the Docker engine of this machine: whether it responds, and whether it has memory and disk space for a cluster."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trivet.errors import PlatformError
from trivet.provision.docker import FREE_DISK, docker
from trivet.provision.kind import limits


def docker_info() -> Mapping[str, Any]:
    """The output of ``docker info``. Raises PlatformError when there is no docker command, no daemon or no permission."""
    info = json.loads(docker(["info", "--format", "{{json .}}"], what="get the state of the Docker daemon"))
    # Without a daemon, the client exits with status 0 and reports the reason in this field.
    if errors := info.get("ServerErrors"):
        raise PlatformError(
            f"the Docker daemon does not respond: {' '.join(errors)}",
            remedy="start the Docker daemon (systemctl start docker, or Docker Desktop), then try again",
        )
    return dict(info)


def capacity(info: Mapping[str, Any]) -> tuple[int, int | None]:
    """Bytes of memory of Docker, and bytes free on the disk of its data directory; None when that is not on this machine."""
    folder = Path(str(info.get("DockerRootDir", "")))
    free = None
    with suppress(OSError):
        if folder.is_dir():
            free = shutil.disk_usage(folder).free
    return int(info.get("MemTotal", 0)), free


def shortages(memory: int, disk: int | None) -> Sequence[tuple[str, str]]:
    """What Docker has too little of for a cluster: message and remedy of each. Arguments as from :func:`capacity`."""
    found = []
    if memory < limits.MEMORY:
        found.append(
            (
                f"Docker has {memory / 2**30:.1f} GiB of memory, and a cluster needs {limits.MEMORY / 2**30:.0f}",
                "give Docker more memory (Docker Desktop: Settings, Resources), or use a larger machine",
            )
        )
    if disk is not None and disk < limits.DISK:
        found.append(
            (
                f"{disk / 2**30:.1f} GiB are free on the disk of Docker's data, and a cluster needs {limits.DISK / 2**30:.0f}",
                f"{FREE_DISK}; or move Docker's data-root to a larger disk",
            )
        )
    return found
