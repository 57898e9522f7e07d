"""Runs the docker command, and turns its failures into errors with a remedy."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from trivet.errors import PlatformError

TIMEOUT = 300.0
"""Seconds that one call may take; importing the largest root file system takes a tenth of it."""
FREE_DISK = "free some disk space: trivet images prune --no-shipped, docker system prune, or trivet down for a cluster not needed any more"


class DockerError(PlatformError):
    """The docker command failed; ``output`` is its standard error."""

    def __init__(self, message: str, *, output: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.output = output


def docker(arguments: Sequence[str], *, what: str, stdin: Path | None = None) -> str:
    """The standard output of docker for ``arguments``. Raises DockerError with Docker's output; ``what`` completes its "cannot …".

    The user's settings (``DOCKER_HOST``, contexts) apply.
    """
    binary = shutil.which("docker")
    if binary is None:
        raise DockerError(
            f"cannot {what}: there is no docker command on this machine",
            remedy="install Docker (https://docs.docker.com/engine/install), or use the target `existing` or `local`",
        )
    try:
        with (stdin or Path("/dev/null")).open("rb") as source:
            done = subprocess.run([binary, *arguments], stdin=source, capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise DockerError(
            f"cannot {what}: timed out after {TIMEOUT:.0f} s waiting for `docker {arguments[0]}` to exit",
            remedy="check that the Docker daemon responds: docker info",
        ) from error
    if done.returncode:
        output = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}, no output"
        raise DockerError(f"cannot {what}; output of docker:\n{output}", output=output, remedy=_remedy(output))
    return done.stdout.decode(errors="replace").strip()


def _remedy(output: str) -> str:
    if "Cannot connect to the Docker daemon" in output or "error during connect" in output:
        return "start the Docker daemon (systemctl start docker, or Docker Desktop), then try again"
    if "permission denied" in output:
        return "give this user access to Docker: add it to the group `docker`, or set DOCKER_HOST"
    if "no space left" in output:
        return FREE_DISK
    return "see the output of docker above"
