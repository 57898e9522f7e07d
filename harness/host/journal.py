"""The journal of a run on disk, with which the next run cleans up after a killed one.

A run owns ``<cache>/runs/<id>/`` (journal, logs, temporary files) and holds the lock ``<cache>/runs/<id>.lock`` while its process lives;
the kernel releases the lock however the process ends. A run directory whose lock is free is therefore a leftover. Every process of the run,
including children of children, has ``TRIVET_RUN=<id>`` in its environment. For everything that a run creates elsewhere (containers,
namespaces), the journal has the command that removes it, written before the creation.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import psutil
from filelock import FileLock, Timeout

from trivet.errors import PlatformError
from trivet.host import limits
from trivet.host.signals import interruptible, uninterruptible
from trivet.stacks.environments import cache_directory

MARK = "TRIVET_RUN"
"""The environment variable of every process of a run; its value is the run's id."""

ROUNDS = 10
"""Maximum number of searches for processes of a run. Usually three are needed: the first ends them, and the last two find none."""


def runs_directory() -> Path:
    """The folder of the run directories."""
    return cache_directory() / "runs"


class Run:
    """The directory, the lock and the journal of one run. The directory exists in the ``with`` block and is deleted afterwards.

    Entering raises PlatformError when the directory cannot be created (disk full, no permission).
    """

    def __init__(self) -> None:
        self.id = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{uuid4().hex[:8]}"
        self.directory = runs_directory() / self.id
        self._lock = FileLock(f"{self.directory}.lock", thread_local=False)
        self._kept = False
        self._numbers = count(1)
        self._required: set[int] = set()

    @uninterruptible
    def __enter__(self) -> Run:
        try:
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.directory.parent).free
            if free < limits.ROOM:
                raise OSError(f"only {free / 2**20:.1f} MiB are free, and a run needs up to {limits.ROOM // 2**20}")
            # The lock is acquired first, because a run directory with a free lock counts as a leftover.
            self._lock.acquire()
            while not Path(self._lock.lock_file).exists():
                # Another process deleted the new lock file as a leftover before it was acquired.
                self._lock.release()
                self._lock.acquire()
            self.directory.mkdir()
            self.write(event="owner", pid=os.getpid())
        except OSError as error:
            self._discard()
            raise PlatformError(
                f"cannot create the run directory {self.directory}: {error.strerror or error}",
                remedy="free some disk space, make the directory writable, or set TRIVET_CACHE to another disk",
            ) from error
        return self

    @uninterruptible
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._kept or self._required:
            self._lock.release()
        else:
            self._discard()

    def write(self, **entry: Any) -> None:
        """Append a line to the journal; it is on disk when this returns."""
        _append(self.directory, json.dumps({"at": time.time(), **entry}) + "\n")

    @uninterruptible
    def add_cleanup(
        self, what: str, command: Sequence[str], *, required: bool = False, gone_with: Path | None = None
    ) -> int:
        """Record the ``command`` that removes ``what``, before its creation. It runs only when this process cannot clean up itself.

        The command must succeed when there is nothing to remove. Returns the number for ``cleanup_done``. A ``required`` cleanup keeps the
        directory as a leftover until it is done. An object that cannot be reached does not count as removed, unless the file ``gone_with``
        no longer exists.
        """
        number = next(self._numbers)
        if required:
            self._required.add(number)
        optional: dict[str, str] = {}
        if paths := os.environ.get(KUBECONFIG):
            optional["kubeconfig"] = _absolute(paths)
        if gone_with:
            optional["gone_with"] = str(gone_with)
        self.write(event="cleanup", what=what, command=list(command), number=number, required=required, **optional)
        return number

    @uninterruptible
    def cleanup_done(self, number: int) -> None:
        """Record that the cleanup ``number`` is done; its command must not run any more, because it could change newer objects."""
        self.write(event="cleanup_done", number=number)
        self._required.discard(number)

    def keep(self) -> None:
        """Keep the directory as a leftover, because something could not be removed; the next run or `trivet doctor --clean` tries again."""
        self._kept = True

    def _discard(self) -> None:
        # The lock is held until the directory is deleted, so that it does not count as a leftover.
        if _remove_directory(self.directory):
            with contextlib.suppress(OSError):
                Path(self._lock.lock_file).unlink()
        self._lock.release()


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """A run whose process has ended: its directory, its remaining processes (pid → command line), and its pending cleanups."""

    run: str
    directory: Path
    processes: dict[int, str]
    cleanups: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    """The pending cleanups that are faults: they affect others until they are reverted."""

    @property
    def owner(self) -> int:
        """The pid of the process that had the run, as in its id; 0 for a directory that is not named so."""
        parts = self.run.split("-")
        return int(parts[2]) if len(parts) == 4 and parts[2].isdecimal() else 0

    def __str__(self) -> str:
        """One line: the run, the pids of its processes, its pending cleanups, and its directory."""
        processes = (
            f"{len(self.processes)} processes ({', '.join(map(str, self.processes))})"
            if self.processes
            else "no process"
        )
        cleanups = "".join(f", {what}" for what in self.cleanups)
        return f"run {self.run}, which was killed: {processes}{cleanups}, {self.directory}"


def leftovers() -> list[Leftover]:
    """Every run under :func:`runs_directory` whose process has ended."""
    found = []
    for directory in sorted(runs_directory().glob("*/")):
        with _orphaned(directory) as orphaned:
            if orphaned:
                entries = _pending_cleanups(directory)
                found.append(
                    Leftover(
                        run=directory.name,
                        directory=directory,
                        processes={process.pid: _command_line(process) for process in marked_processes(directory.name)},
                        cleanups=tuple(entry["what"] for entry in entries),
                        required=tuple(entry["what"] for entry in entries if entry.get("required")),
                    )
                )
    return found


def run_in_progress() -> bool:
    """Whether any trivet process has a run now."""
    for directory in runs_directory().glob("*/"):
        with _orphaned(directory) as orphaned:
            if not orphaned and directory.is_dir():
                return True
    return False


def clean(leftover: Leftover) -> str:
    """End the processes of a leftover, run its pending cleanups, and delete its directory.

    Returns the errors of what failed, and keeps the directory for the next attempt; returns an empty string on success. Does nothing when
    another trivet process cleans it or has cleaned it.
    """
    with _orphaned(leftover.directory) as orphaned:
        if not orphaned:
            return ""
        end_marked_processes(leftover.run)
        errors = []
        for entry in reversed(_pending_cleanups(leftover.directory)):
            if error := _run_cleanup(entry):
                errors.append(error)
            else:
                _record_done(leftover.directory, entry)
        if not errors and not _remove_directory(leftover.directory):
            errors.append(f"cannot delete {leftover.directory}: check its permissions, and what still writes to it")
        return "; ".join(errors)


def clean_up(run: str) -> None:
    """Clean the leftover of one run, if there is one. Cleanups that fail are tried again at the next attempt."""
    for leftover in leftovers():
        if leftover.run == run:
            clean(leftover)


def marked_processes(run: str) -> list[psutil.Process]:
    """The running processes with the mark of ``run``, without this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == run:
                found.append(process)
    return found


def end_marked_processes(run: str) -> None:
    """End every process with the mark of ``run``, including those that are started meanwhile."""
    # A search may miss a process during exec, when it has no environment for a moment.
    empty = 0
    for _ in range(ROUNDS):
        if processes := marked_processes(run):
            empty = 0
            end_processes(processes)
        else:
            empty += 1
            if empty == 2:
                return
            time.sleep(limits.POLL)


def end_processes(processes: Sequence[psutil.Process], grace: float = limits.GRACE) -> None:
    """Send SIGTERM to all processes, and SIGKILL to those that still run after ``grace`` seconds."""
    for send in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            with contextlib.suppress(psutil.Error):
                send(process)
        deadline = time.monotonic() + grace
        while (processes := [process for process in processes if _is_alive(process)]) and time.monotonic() < deadline:
            time.sleep(limits.POLL)


def _is_alive(process: psutil.Process) -> bool:
    """Whether the process still runs. A zombie does not; its parent may never wait for it."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def _orphaned(directory: Path) -> Iterator[bool]:
    """Whether the owner of ``directory`` has ended. If so, no other process cleans it during the block."""
    lock = FileLock(f"{directory}.lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield directory.is_dir()
    finally:
        if not directory.is_dir():
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def make_below(root: Path, relative: Path | str) -> Path:
    """Create ``root / relative`` and its parents below ``root``, if missing, and return the path.

    Raises FileNotFoundError when ``root`` does not exist: a thread that outlives its session must not create the run's directory again.
    """
    path = root
    for part in Path(relative).parts:
        path /= part
        path.mkdir(exist_ok=True)
    return path


def _remove_directory(directory: Path) -> bool:
    """Delete a run's directory; returns whether it has been deleted.

    It is moved away first, so that a thread that outlives its session and writes to the directory's path cannot fill it again.
    """
    moved = _removal_folder() / directory.name
    with contextlib.suppress(OSError):
        moved.parent.mkdir(exist_ok=True)
        directory.rename(moved)
    deadline = time.monotonic() + limits.GRACE
    while True:
        for path in (directory, moved):
            shutil.rmtree(path, ignore_errors=True)
        if not directory.exists() and not moved.exists():
            return True
        if time.monotonic() > deadline:
            return not directory.exists()
        time.sleep(limits.POLL)


def _removal_folder() -> Path:
    """The folder to which run directories are moved for deletion; no process uses its content."""
    return cache_directory() / "removed"


@interruptible
def clean_leftovers() -> None:
    """Clean what killed runs left behind, as far as it can be."""
    for leftover in leftovers():
        clean(leftover)
    remove_remains()


def remove_remains() -> None:
    """Finish interrupted deletions of run directories, and delete lock files without a run directory."""
    for path in _removal_folder().glob("*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in runs_directory().glob("*.lock"):
        if not path.with_suffix("").exists():
            with _orphaned(path.with_suffix("")):
                pass


_NOTHING_TO_REMOVE = re.compile(
    r"(?i)no such file or directory|context \S+ does not exist|no such (container|network|volume)|not found"
)
"""Errors of a cleanup command when there is nothing to remove, because the object or its cluster, daemon or context no longer exists."""

_NOT_FOUND = "Error from server (NotFound)"
"""kubectl's error when the API server responds that an object or its namespace does not exist."""

KUBECONFIG = "KUBECONFIG"
"""kubectl's variable for the paths of kubeconfigs; the process that cleans up may have another value."""


def _pending_cleanups(directory: Path) -> list[dict[str, Any]]:
    """The journal's cleanup entries that are not done. The last line may be incomplete after a kill.

    An event of another version of trivet is an entry without a command, so that nothing that it stands for is forgotten.
    """
    found: list[dict[str, Any]] = []
    with contextlib.suppress(OSError):
        for line in (directory / "journal.jsonl").read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                match entry.get("event"):
                    case "cleanup":
                        found.append(entry)
                    case "cleanup_done":
                        found = [one for one in found if one.get("number") != entry["number"]]
                    case "owner" | "start" | "started":
                        pass
                    case unknown:
                        found.append({"what": f"the unknown journal event {unknown!r}", "required": True})
    return found


def _append(directory: Path, text: str) -> None:
    with (directory / "journal.jsonl").open("a", encoding="utf-8") as journal:
        journal.write(text)
        journal.flush()
        os.fsync(journal.fileno())


def _record_done(directory: Path, entry: dict[str, Any]) -> None:
    """Record that a cleanup is done, for the case that others fail: a second run of its command could change newer objects."""
    done = {"at": time.time(), "event": "cleanup_done", "number": entry.get("number")}
    with contextlib.suppress(OSError):
        # The last line may be incomplete after a kill, so this one starts with a line break.
        _append(directory, f"\n{json.dumps(done)}\n")


def _run_cleanup(entry: dict[str, Any]) -> str:
    """Run the command of a cleanup; returns the error, or an empty string."""
    if "command" not in entry:
        return f"{entry['what']} is of another version of trivet: run its `trivet doctor --clean`, or remove the directory by hand"
    try:
        done = subprocess.run(
            entry["command"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=limits.CLEANUP,
            env=os.environ | ({KUBECONFIG: entry["kubeconfig"]} if "kubeconfig" in entry else {}),
        )
    except FileNotFoundError:
        return f"{entry['what']}: cannot remove it, because there is no {entry['command'][0]} on this machine"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{entry['what']}: {error}"
    if done.returncode == 0 or _nothing_to_remove(entry, done.stderr):
        return ""
    return f"{entry['what']}: {done.stderr.strip() or f'cleanup failed with status {done.returncode}'}"


def _nothing_to_remove(entry: dict[str, Any], error: str) -> bool:
    """Whether a cleanup command failed because there is nothing to remove."""
    if entry.get("required"):
        return _NOT_FOUND in error or ("gone_with" in entry and not Path(entry["gone_with"]).exists())
    return bool(_NOTHING_TO_REMOVE.search(error))


def _absolute(paths: str) -> str:
    return os.pathsep.join(str(Path(path).absolute()) for path in paths.split(os.pathsep) if path)


def _command_line(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return "?"
