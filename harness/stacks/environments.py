"""Builds the Python environments of roles, each once from the role's lock; the content of the lock decides the folder in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from trivet.errors import PlatformError, UsageError
from trivet.host.signals import TERMINATING
from trivet.model.stack import Role
from trivet.stacks.subprocesses import StopFlag
from trivet.stacks.uv import TIMEOUT, run_uv

MARKER = "trivet-environment.json"
"""The file that is written last; an environment without it is incomplete."""


@dataclass(frozen=True, kw_only=True)
class RoleEnvironment:
    """A role's environment: its interpreter, its folder, whether this call built it, and how many seconds this call took."""

    python: Path
    folder: Path
    built: bool
    seconds: float


def cache_directory() -> Path:
    """The folder for files that can be created again: ``TRIVET_CACHE``, or ``trivet`` in the user's cache directory.

    Raises UsageError for a path with characters that the software under test cannot handle: KFP's local runner writes the interpreter's
    path unquoted into a shell script (kfp 2.17, ``local/subprocess_task_handler.py``), and MLflow and KServe read paths as URIs.
    """
    configured = os.environ.get("TRIVET_CACHE")
    folder = Path(configured).expanduser().absolute() if configured else _user_cache() / "trivet"
    if invalid := sorted(set(re.findall(r"[^\w/.,+@=~-]", str(folder)))):
        raise UsageError(
            f"cannot use the cache directory {str(folder)!r}: its path contains {' and '.join(map(repr, invalid))}, "
            "which breaks shell scripts of KFP and URIs of MLflow and KServe",
            remedy="set TRIVET_CACHE to a directory whose path has only letters, digits and -._+@=~,",
        )
    return folder


def _user_cache() -> Path:
    # The XDG base directory specification ignores relative paths. The package platformdirs is not used, because it has a pytest plugin.
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    default = "Library/Caches" if sys.platform == "darwin" else ".cache"
    return configured if configured.is_absolute() else Path.home() / default


def build_environment(
    role: Role, *, progress: Callable[[str], None] = lambda _: None, stop: StopFlag | None = None
) -> RoleEnvironment:
    """The environment of ``role``, built now unless the cache has one from the same lock and Python version.

    Safe to call from several threads and processes at once: one builds, the others wait. An incomplete environment is built again.
    ``progress`` gets a sentence before a long wait. Raises PlatformError with a remedy when the build fails (registry, disk, interpreter,
    or a file whose hash is not in the lock); the incomplete environment is then deleted. Setting ``stop`` stops the build, which then
    raises PlatformError; without it, a signal that ends this process does.
    """
    started = time.monotonic()
    folder = environment_folder(role)
    built = False
    if not _complete(folder):
        try:
            built = _build_once(role, folder, progress, stop or TERMINATING)
        except OSError as error:
            raise PlatformError(
                f"cannot build the environment of {_name(role)} in {folder}: {error}",
                remedy="free some disk space, or set TRIVET_CACHE to a writable directory on another disk",
            ) from error
    return RoleEnvironment(python=_python(folder), folder=folder, built=built, seconds=time.monotonic() - started)


def environments() -> list[Path]:
    """The folders of all complete environments in the cache."""
    return [folder for folder in _folders() if _complete(folder)]


def incomplete_environments() -> list[Path]:
    """The folders of environments whose build was interrupted. Environments that are being built now are not included."""
    return [folder for folder in _folders() if not _complete(folder) and not _being_built(folder)]


def remove_environment(folder: Path) -> None:
    """Delete an environment, complete or incomplete, from the cache; waits while another process builds it."""
    with FileLock(_lock_file(folder), timeout=TIMEOUT):
        _clear(folder)


def find_python(version: str) -> Path:
    """The interpreter of Python ``version`` on this machine that environments are built with.

    Raises PlatformError when there is none; a build would then let uv download one, which not every network allows.
    """
    return Path(run_uv(["python", "find", "--no-project", version], what=f"find Python {version}").strip())


def uv_version() -> str:
    """The output of ``uv --version``. Raises PlatformError when uv is not installed."""
    return run_uv(["--version"], what="get the version of uv").strip()


def _build_once(role: Role, folder: Path, progress: Callable[[str], None], stop: StopFlag) -> bool:
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock_file(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress(f"waiting for another run that builds {_name(role)}")
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


def _await(lock: FileLock, role: Role, stop: StopFlag) -> None:
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
                    f"timed out after {TIMEOUT:.0f} s waiting for another process to build {_name(role)}",
                    remedy=f"find the process that holds {lock.lock_file}",
                ) from None


def _build(role: Role, folder: Path, stop: StopFlag) -> None:
    started = time.monotonic()
    run_uv(
        ["venv", "--quiet", "--no-project", "--python", role.python, str(folder)],
        what=f"create an environment with Python {role.python} for {_name(role)}",
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
    """Delete ``folder``; the caller holds its lock. Processes of uv that still write to it, left by a killed run, are ended first."""
    if not folder.exists():
        return
    (folder / MARKER).unlink(missing_ok=True)
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "uv" and any(str(folder) in part for part in process.info["cmdline"] or ()):
            with suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait(timeout=10)
    shutil.rmtree(folder)


def environment_folder(role: Role) -> Path:
    """The folder of a role's environment. Its name is a digest of everything that decides the content: equal locks share an environment."""
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
