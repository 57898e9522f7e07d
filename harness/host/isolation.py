"""Starts processes without a network, on Linux where this user may create a network namespace; elsewhere says that it cannot."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from trivet.fixtures.jobs.isolated import pump

_CHECK_SECONDS = 10


@cache
def without_network() -> tuple[str, ...]:
    """What to put in front of a command so that it has no network, not even a loopback interface; empty where that cannot be done.

    Root needs no user namespace. Other users get one if the system allows it (Debian and Ubuntu: ``kernel.unprivileged_userns_clone``,
    ``kernel.apparmor_restrict_unprivileged_userns``).
    """
    program = shutil.which("unshare")
    if not program:
        return ()
    prefix = (program, "--net") if os.geteuid() == 0 else (program, "--map-root-user", "--net")
    try:
        done = subprocess.run([*prefix, "true"], capture_output=True, timeout=_CHECK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return prefix if done.returncode == 0 else ()


def enterable(command: Sequence[str | Path], python: Path, path: Path, port: int) -> list[str | Path]:
    """``command``, a server on ``port`` of 127.0.0.1, in a network of its own that callers enter through the Unix socket ``path``.

    ``python`` is an interpreter that has trivet's jobs on its path. Only where :func:`without_network` is not empty.
    """
    return [*without_network(), python, "-m", "trivet.fixtures.jobs.isolated", path, str(port), *command]


@contextmanager
def entrance(path: Path, port: int) -> Iterator[None]:
    """Pass connections to ``port`` of 127.0.0.1 on to the Unix socket ``path``, which may not exist yet, for the length of the block."""
    ended: list[Callable[[], object]] = []
    begun = threading.Event()

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_unix_connection(path)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async def serve() -> None:
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        ended.append(lambda: loop.call_soon_threadsafe(end.set))
        async with await asyncio.start_server(enter, "127.0.0.1", port):
            begun.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="trivet-entrance", daemon=True)
    thread.start()
    begun.wait(_CHECK_SECONDS)
    try:
        yield
    finally:
        if ended:
            ended[0]()
        thread.join(_CHECK_SECONDS)
