"""Calling the uv that trivet depends on, and turning what it says when it fails into an error with a remedy."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from trivet.errors import PlatformError
from trivet.stacks.subprocesses import ENDING, ended

DEADLINE = 1800.0
"""Seconds after which a call of uv is given up: a cold download of the largest role over a slow line takes a fraction of it."""

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
        "the registry serves other files than the lock was made from: restore the lock, or make a new one with `trivet stack lock`",
    ),
    (
        ("No solution found", "unsatisfiable"),
        "change `requires` or `constraints` of that role in stack.toml, or take a later cut-off date",
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
        "see that the package registry is reachable; a mirror is named by UV_DEFAULT_INDEX or in uv.toml",
    ),
)


_FINDING = threading.Lock()


def uv_binary() -> str:
    """The path of uv's executable, from the `uv` distribution."""
    from uv import find_uv_bin

    try:
        # It asks sysconfig, whose first use by two threads at once gives one of them half of the answer (CPython 3.11).
        with _FINDING:
            return find_uv_bin()
    except FileNotFoundError as error:
        raise PlatformError(
            f"uv is not installed: {error}", remedy="install trivet anew; uv is one of its dependencies"
        ) from error


def run_uv(arguments: Sequence[str], *, what: str, cwd: Path | None = None, stop: threading.Event | None = None) -> str:
    """uv's standard output for ``arguments``. ``what`` completes "could not …" in the PlatformError with uv's own words.

    The user's own settings of uv (index, proxy, cache) apply, by environment and by user-level ``uv.toml``. Setting ``stop`` ends uv;
    without it, a signal that ends the process does.
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
        try:
            output, complaint = ended(
                uv.communicate,
                what=what,
                tool="uv",
                stop=stop or ENDING,
                seconds=DEADLINE,
                remedy="see that the package registry is reachable and quick",
            )
        except BaseException:
            uv.kill()
            raise
    if uv.returncode:
        words = complaint.strip() or output.strip() or f"uv ended with status {uv.returncode} and said nothing"
        raise PlatformError(f"could not {what}; uv says:\n{words}", remedy=_remedy(words))
    return output


def _remedy(words: str) -> str:
    fitting = (remedy for signs, remedy in _REMEDIES if any(sign in words for sign in signs))
    return next(fitting, "see uv's words above")
