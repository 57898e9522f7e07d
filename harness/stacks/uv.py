"""Runs the uv that trivet depends on, and turns its failures into errors with a remedy."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from trivet.errors import PlatformError
from trivet.host.signals import TERMINATING
from trivet.stacks.subprocesses import StopFlag, wait_for_exit

TIMEOUT = 1800.0
"""Seconds that one call of uv may take. A download of the largest role's packages over a slow line takes a fraction of it."""

_REMEDIES = (
    (
        ("No space left on device", "Disk quota exceeded"),
        "free some disk space, or set TRIVET_CACHE (and UV_CACHE_DIR) to another disk",
    ),
    (
        ("No interpreter found", "No download found", "python-downloads"),
        "install that Python: uv python install VERSION, or from your system's packages",
    ),
    (
        ("Hash mismatch", "hash mismatch"),
        "the registry serves other files than those the lock was made from: restore the lock, or write a new one with `trivet stack lock`",
    ),
    (
        ("No solution found", "unsatisfiable"),
        "change `requires` or `constraints` of that role in stack.toml, or set a later cut-off date",
    ),
    (
        (
            "Failed to fetch",
            "error sending request",
            "client error",
            "dns error",
            "Connection refused",
            "timed out",
            "Request failed",
        ),
        "check that the package registry is reachable; set a mirror with UV_DEFAULT_INDEX or in uv.toml",
    ),
)


_FIND_LOCK = threading.Lock()


def uv_binary() -> str:
    """The path of the uv executable of the `uv` distribution. Raises PlatformError when it is not installed."""
    from uv import find_uv_bin

    try:
        # It calls sysconfig, which is not thread-safe on its first use (CPython 3.11): one thread gets half of the variables.
        with _FIND_LOCK:
            return find_uv_bin()
    except FileNotFoundError as error:
        raise PlatformError(
            f"uv is not installed: {error}", remedy="reinstall trivet; uv is one of its dependencies"
        ) from error


def run_uv(arguments: Sequence[str], *, what: str, cwd: Path | None = None, stop: StopFlag | None = None) -> str:
    """The standard output of uv for ``arguments``. Raises PlatformError with uv's output; ``what`` completes its "cannot …".

    The user's settings of uv (index, proxy, cache) apply, from the environment and the user-level ``uv.toml``. Setting ``stop`` ends uv;
    without it, a signal that ends this process ends uv too.
    """
    environment = {
        name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")
    }
    with subprocess.Popen(
        [uv_binary(), *arguments],
        cwd=cwd,
        env={**environment, "NO_COLOR": "1", "UV_NO_PROGRESS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as uv:
        output, errors = wait_for_exit(
            uv,
            what=what,
            stop=stop or TERMINATING,
            timeout=TIMEOUT,
            remedy="check that the package registry is reachable and fast enough",
            end=uv.kill,
        )
    if uv.returncode:
        text = errors.strip() or output.strip() or f"uv exited with status {uv.returncode} and no output"
        raise PlatformError(f"cannot {what}; output of uv:\n{text}", remedy=_remedy(text))
    return output


def _remedy(output: str) -> str:
    matching = (remedy for patterns, remedy in _REMEDIES if any(pattern in output for pattern in patterns))
    return next(matching, "see the output of uv above")
