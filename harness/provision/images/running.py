"""Running the tools that make layers: everything that they write goes to a log, whose end is in the error when they fail."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from trivet.errors import PlatformError
from trivet.stacks.subprocesses import ended

DEADLINE = 3600.0
"""Seconds after which a tool is given up; the longest, Kubernetes from nothing on two cores, takes a quarter of it."""

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
    """Run a tool to its end. ``what`` completes "could not …" in the PlatformError, which ends with the log's last lines and its path.

    Setting ``stop``, or an exception here, ends the tool and everything that it started.
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
                f"could not {what}: there is no {arguments[0]} on this machine",
                remedy=remedy or f"install {arguments[0]}",
            ) from error
    try:
        status = ended(
            process.wait,
            what=what,
            tool=arguments[0],
            stop=stop,
            seconds=DEADLINE,
            remedy="see that the package registries are reachable and quick",
        )
    except BaseException:
        _end(process)
        raise
    if status:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
        words = "\n".join(f"    {line}" for line in lines)
        raise PlatformError(
            f"could not {what}: {arguments[0]} ended with status {status}; its last words:\n{words}\n  the whole log: {log}",
            remedy=remedy or "see its words above",
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Politely first: mmdebstrap has mounts to undo."""
    for number, timeout in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=timeout)
            return
