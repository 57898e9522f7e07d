"""Runs the tools that build layers. Their output goes to a log file; when one fails, the error has the tail of the log."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from trivet.errors import PlatformError
from trivet.stacks.subprocesses import wait_for_exit

TIMEOUT = 3600.0
"""Seconds that one tool may take. The longest build, Kubernetes without a build cache on two cores, takes a quarter of it."""

TERMINATION_GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""

_TAIL = 15


def run_logged(
    arguments: Sequence[str],
    *,
    what: str,
    log: Path,
    stop: threading.Event,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    remedy: str = "",
) -> None:
    """Run a tool until it exits. Raises PlatformError with the log's tail and its path; ``what`` completes its "cannot …".

    Setting ``stop``, or an exception here, ends the tool and all processes that it started.
    """
    with log.open("ab") as output:
        output.write(f"$ {' '.join(arguments)}\n".encode())
        output.flush()
        try:
            process = subprocess.Popen(
                arguments,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise PlatformError(
                f"cannot {what}: there is no {arguments[0]} on this machine",
                remedy=remedy or f"install {arguments[0]}",
            ) from error
    wait_for_exit(
        process,
        what=what,
        stop=stop,
        timeout=TIMEOUT,
        remedy="check that the package registries are reachable and fast enough",
        end=lambda: _end_group(process),
    )
    if process.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
        tail = "\n".join(f"    {line}" for line in lines)
        raise PlatformError(
            f"cannot {what}: {arguments[0]} exited with status {process.returncode}; tail of its log:\n{tail}\n  full log: {log}",
            remedy=remedy or "see the log above",
        )


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM first: mmdebstrap has to unmount file systems. After the tool has been waited for, its pid can be that of another process."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=TERMINATION_GRACE)
            return
