"""Calling Docker's command, and turning what it says when it fails into an error with a remedy."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from trivet.errors import PlatformError

DEADLINE = 300.0
"""Seconds after which a call is given up; importing the largest root file system takes a tenth of it."""


class DockerError(PlatformError):
    """Docker refused; ``words`` is what it wrote."""

    def __init__(self, message: str, *, words: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.words = words


def docker(arguments: Sequence[str], *, what: str, stdin: Path | None = None) -> str:
    """Docker's standard output for ``arguments``. ``what`` completes "could not …" in the DockerError with Docker's own words.

    The user's own settings (``DOCKER_HOST``, contexts) apply.
    """
    binary = shutil.which("docker")
    if binary is None:
        raise DockerError(
            f"could not {what}: there is no docker command on this machine",
            remedy="install Docker (https://docs.docker.com/engine/install), or take the target `existing` or `local`",
        )
    try:
        with (stdin or Path("/dev/null")).open("rb") as source:
            done = subprocess.run(
                [binary, *arguments], stdin=source, capture_output=True, timeout=DEADLINE, check=False
            )
    except subprocess.TimeoutExpired as error:
        raise DockerError(
            f"could not {what}: `docker {arguments[0]}` was still at it after {DEADLINE:.0f} s",
            remedy="see that Docker's daemon answers: docker info",
        ) from error
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}, without a word"
        raise DockerError(f"could not {what}; docker says:\n{words}", words=words, remedy=_remedy(words))
    return done.stdout.decode(errors="replace").strip()


def _remedy(words: str) -> str:
    if "Cannot connect to the Docker daemon" in words or "error during connect" in words:
        return "start Docker's daemon (systemctl start docker, or Docker Desktop), then try again"
    if "permission denied" in words:
        return "let this user talk to Docker: add it to the group `docker`, or set DOCKER_HOST"
    if "no space left" in words:
        return "free some disk space: trivet images prune, docker system prune, or trivet down for clusters that are not needed"
    return "see Docker's words above"
