"""Making a role real: a Python environment built from the role's lock, once, and found again by what is in the lock."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from trivet.errors import PlatformError, UsageError
from trivet.host.signals import ENDING
from trivet.model.stack import Role
from trivet.stacks.uv import TIMEOUT, run_uv

MARKER = "trivet-environment.json"
"""Written last into an environment; one without it is half-made."""


@dataclass(frozen=True, kw_only=True)
class RoleEnvironment:
    """A role's environment: its interpreter, its folder, whether this call built it, and how long this call took."""

    python: Path
    folder: Path
    built: bool
    seconds: float


def cache_directory() -> Path:
    """Where trivet keeps what can be made again: ``TRIVET_CACHE``, or the user's cache directory.

    Raises UsageError for a path that the software under test cannot live in: KFP's local runner writes the interpreter's path
    unquoted into a shell script (kfp 2.17, ``local/subprocess_task_handler.py``), and MLflow and KServe read paths as URIs.
    """
    chosen = os.environ.get("TRIVET_CACHE")
    folder = Path(chosen).expanduser().absolute() if chosen else _user_cache() / "trivet"
    if unfit := sorted(set(re.findall(r"[^\w/.,+@=~-]", str(folder)))):
        raise UsageError(
            f"the cache directory {str(folder)!r} cannot be used: its path holds {' and '.join(map(repr, unfit))}, "
            "which would break shell scripts of KFP and URIs of MLflow and KServe",
            remedy="set TRIVET_CACHE to a directory whose path has letters, digits and -._+@=~, only",
        )
    return folder


def _user_cache() -> Path:
    # As the XDG base directory specification has it, which ignores relative paths; platformdirs would bring a pytest plugin along.
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    usual = "Library/Caches" if sys.platform == "darwin" else ".cache"
    return chosen if chosen.is_absolute() else Path.home() / usual


def build_environment(
    role: Role, *, progress: Callable[[str], None] = lambda _: None, stop: threading.Event | None = None
) -> RoleEnvironment:
    """The environment of ``role``, built now unless one from the same lock and Python is there.

    Safe to call from several threads and processes at once: one builds, the others wait. An environment that was left half-made
    is built anew. ``progress`` gets a sentence when there is something to wait for. Raises PlatformError, with the remedy,
    when it cannot be built: registry, disk, interpreter, or a file that does not have the lock's hash; then nothing of it is left.
    Setting ``stop`` makes it raise soon; without it, a signal that ends the process does.
    """
    started = time.monotonic()
    folder = environment_folder(role)
    built = False
    if not _complete(folder):
        try:
            built = _build_once(role, folder, progress, stop or ENDING)
        except OSError as error:
            raise PlatformError(
                f"could not make the environment of {_name(role)} in {folder}: {error}",
                remedy="free some disk space, or set TRIVET_CACHE to a writable directory on another disk",
            ) from error
    return RoleEnvironment(python=_python(folder), folder=folder, built=built, seconds=time.monotonic() - started)


def environments() -> list[Path]:
    """The folders of all complete environments in the cache."""
    return [folder for folder in _folders() if _complete(folder)]


def half_made() -> list[Path]:
    """The folders of environments that were being built when their builder was killed. One that is being built now is not."""
    return [folder for folder in _folders() if not _complete(folder) and not _being_built(folder)]


def remove(folder: Path) -> None:
    """Delete an environment of the cache, complete or half-made, waiting for its builder if there is one."""
    with FileLock(_lock_file(folder), timeout=TIMEOUT):
        _clear(folder)


def find_python(version: str) -> Path:
    """The interpreter of Python ``version`` that environments would be made with, found on this machine.

    Raises PlatformError when there is none. Building would then have uv fetch one, which not every network allows.
    """
    return Path(run_uv(["python", "find", "--no-project", version], what=f"find Python {version}").strip())


def uv_version() -> str:
    """What uv says of its version. Raises PlatformError when there is no uv."""
    return run_uv(["--version"], what="ask uv for its version").strip()


def _build_once(role: Role, folder: Path, progress: Callable[[str], None], stop: threading.Event) -> bool:
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock_file(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress(f"waiting for another run that is building {_name(role)}")
        _await(lock, role, stop)
    try:
        if _complete(folder):
            return False
        progress(f"building {_name(role)}, {len(role.pins)} packages")
        _clear(folder)
        try:
            _build(role, folder, stop)
        except BaseException:
            _clear(folder)
            raise
        return True
    finally:
        lock.release()


def _await(lock: FileLock, role: Role, stop: threading.Event) -> None:
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            lock.acquire(timeout=0.5)
            return
        except Timeout:
            if stop.is_set():
                raise PlatformError(
                    f"cannot build {_name(role)}: another process is building it, and the run is stopping"
                ) from None
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"another process has been building {_name(role)} for {TIMEOUT:.0f} s",
                    remedy="see what holds " + lock.lock_file,
                ) from None


def _build(role: Role, folder: Path, stop: threading.Event) -> None:
    started = time.monotonic()
    run_uv(
        ["venv", "--quiet", "--no-project", "--python", role.python, str(folder)],
        what=f"make an environment with Python {role.python} for {_name(role)}",
        stop=stop,
    )
    sync = [
        "pip",
        "sync",
        "--quiet",
        "--require-hashes",
        "--compile-bytecode",
        "--python",
        str(_python(folder)),
        str(role.lock),
    ]
    run_uv(sync, what=f"install {_name(role)}", stop=stop)
    content = {"role": role.name, "stack": role.lock.parent.name, "seconds": round(time.monotonic() - started, 1)}
    unfinished = folder / f"{MARKER}.unfinished"
    unfinished.write_text(json.dumps(content), encoding="utf-8")
    unfinished.replace(folder / MARKER)


def _clear(folder: Path) -> None:
    """Delete ``folder``, of which the caller holds the lock. The uv of a killed builder may still be writing into it: end that first."""
    if not folder.exists():
        return
    (folder / MARKER).unlink(missing_ok=True)
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "uv" and any(str(folder) in word for word in process.info["cmdline"] or ()):
            with suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait(timeout=10)
    shutil.rmtree(folder)


def environment_folder(role: Role) -> Path:
    """Named by everything that decides what is in it, so that roles with one lock share one environment."""
    parts = (role.lock.read_bytes(), role.python.encode(), sys.platform.encode(), platform.machine().encode())
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    return _home() / digest[:24]


def _home() -> Path:
    return cache_directory() / "environments"


def _folders() -> list[Path]:
    home = _home()
    return sorted(path for path in home.iterdir() if path.is_dir()) if home.is_dir() else []


def _complete(folder: Path) -> bool:
    return (folder / MARKER).is_file() and _python(folder).exists()


def _being_built(folder: Path) -> bool:
    lock = FileLock(_lock_file(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _lock_file(folder: Path) -> str:
    return f"{folder}.lock"


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _name(role: Role) -> str:
    return role.title or f"the {role.name} of stack {role.lock.parent.name}"
