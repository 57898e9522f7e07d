"""What a session started, on disk, so that a killed trivet leaves nothing that the next one does not find and clean.

A session owns ``<cache>/runs/<id>/`` (journal, logs, scratch) and holds the lock ``<cache>/runs/<id>.lock`` for as long as its
process lives; the kernel lets go of the lock however the process ends. A run directory whose lock can be had is therefore a
leftover. Every process of the run carries ``TRIVET_RUN=<id>`` in its environment, children of children included. What a run made
elsewhere (containers, namespaces) is in the journal as the command that removes it, written before it is made.
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
from trivet.host.signals import uninterruptible
from trivet.stacks.environments import cache_directory

MARK = "TRIVET_RUN"
"""The environment variable that every process of a run carries."""

ROUNDS = 10
"""Looks at what still lives. What starts others is gone after the first, and the last two see nothing, so that three are the rule."""


def runs_directory() -> Path:
    """Where run directories live."""
    return cache_directory() / "runs"


class Run:
    """The directory, the lock and the journal of one session. Use it in a ``with`` block; leaving it removes the directory.

    Raises PlatformError when the directory cannot be made (no disk, no permission).
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
                raise OSError(f"only {free / 2**20:.1f} MiB are free, and a run takes up to {limits.ROOM // 2**20}")
            # The lock comes first: a run directory without a held lock is taken for a leftover.
            self._lock.acquire()
            while not Path(self._lock.lock_file).exists():
                # Removed by who took it for a lock that was left, in the moment between its making and its taking.
                self._lock.release()
                self._lock.acquire()
            self.directory.mkdir()
            self.write(event="owner", pid=os.getpid())
        except OSError as error:
            self._discard()
            raise PlatformError(
                f"the run directory {self.directory} cannot be made: {error.strerror or error}",
                remedy="free some disk space or make the directory writable; TRIVET_CACHE names another place",
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
        """Append one line to the journal, on disk before this returns."""
        _append(self.directory, json.dumps({"at": time.time(), **entry}) + "\n")

    @uninterruptible
    def add_cleanup(
        self, what: str, command: Sequence[str], *, required: bool = False, gone_with: Path | None = None
    ) -> int:
        """Note the ``command`` that removes ``what``, before it is made. It runs only when this process cannot clean up itself.

        The command must succeed when there is nothing to remove. Returns the number that ``cleanup_done`` takes. A ``required`` cleanup
        keeps the directory as a leftover until it is done, on every way out; that its object cannot be reached does not count as
        done, unless the file ``gone_with`` does not exist any more.
        """
        number = next(self._numbers)
        if required:
            self._required.add(number)
        place = {"kubeconfig": _absolute(found)} if (found := os.environ.get(KUBECONFIG)) else {}
        within = {"gone_with": str(gone_with)} if gone_with else {}
        self.write(
            event="cleanup", what=what, command=list(command), number=number, required=required, **place, **within
        )
        return number

    @uninterruptible
    def cleanup_done(self, number: int) -> None:
        """Note that there is nothing left to undo of ``number``: its command would now change what others made since."""
        self.write(event="cleanup_done", number=number)
        self._required.discard(number)

    def keep(self) -> None:
        """Leave the directory as a leftover, since something could not be removed: the next run, or doctor, tries again."""
        self._kept = True

    def _discard(self) -> None:
        # Locked until the directory is gone, so that nobody takes it for a leftover meanwhile.
        if _remove(self.directory):
            with contextlib.suppress(OSError):
                Path(self._lock.lock_file).unlink()
        self._lock.release()


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """A run whose owner is gone: its directory, the processes of it that still live, as pid → command line, and what it made elsewhere."""

    run: str
    directory: Path
    processes: dict[int, str]
    cleanups: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    """What of it is in force for others until it is undone: faults."""

    def __str__(self) -> str:
        """One line: the run, where it lies, the pids that still live, and what it may have left elsewhere."""
        living = (
            f"{len(self.processes)} processes ({', '.join(map(str, self.processes))})"
            if self.processes
            else "no process"
        )
        made = "".join(f", {what}" for what in self.cleanups)
        return f"run {self.run}, whose trivet is gone: {living}{made}, {self.directory}"


def leftovers() -> list[Leftover]:
    """Every run under :func:`runs_directory` whose owner is gone."""
    found = []
    for directory in sorted(runs_directory().glob("*/")):
        with _orphaned(directory) as orphaned:
            if orphaned:
                entries = _undone(directory)
                found.append(
                    Leftover(
                        run=directory.name,
                        directory=directory,
                        processes={process.pid: _command(process) for process in marked(directory.name)},
                        cleanups=tuple(entry["what"] for entry in entries),
                        required=tuple(entry["what"] for entry in entries if entry.get("required")),
                    )
                )
    return found


def under_way() -> bool:
    """Whether some trivet has a run at the moment."""
    for directory in runs_directory().glob("*/"):
        with _orphaned(directory) as orphaned:
            if not orphaned and directory.is_dir():
                return True
    return False


def clean(leftover: Leftover) -> str:
    """End the processes of a leftover, remove what it made elsewhere and its directory.

    Returns why something could not be removed, and keeps the directory then, for the next attempt; an empty string otherwise. Does nothing
    when another trivet cleans it, or has.
    """
    with _orphaned(leftover.directory) as orphaned:
        if not orphaned:
            return ""
        end_all(leftover.run)
        trouble = []
        for entry in reversed(_undone(leftover.directory)):
            if failure := _undo(entry):
                trouble.append(failure)
            else:
                _note_done(leftover.directory, entry)
        if not trouble:
            _remove(leftover.directory)
        return "; ".join(trouble)


def clean_up(run: str) -> None:
    """Clean the leftover of one run, if there is one. What cannot be removed now stays for the next attempt."""
    for leftover in leftovers():
        if leftover.run == run:
            clean(leftover)


def marked(run: str) -> list[psutil.Process]:
    """The living processes that carry the mark of ``run``, this one excepted."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == run:
                found.append(process)
    return found


def end_all(run: str) -> None:
    """End every process that carries the mark of ``run``, those included that one of them started while it was being ended."""
    # One look may miss a process that is just being replaced by the program that it starts: it has no environment for a moment.
    empty = 0
    for _ in range(ROUNDS):
        if processes := marked(run):
            empty = 0
            end(processes)
        else:
            empty += 1
            if empty == 2:
                return
            time.sleep(limits.POLL)


def end(processes: Sequence[psutil.Process], grace: float = limits.GRACE) -> None:
    """Ask all of them to end at once; kill those that live on after ``grace`` seconds."""
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            with contextlib.suppress(psutil.Error):
                ask(process)
        deadline = time.monotonic() + grace
        while (processes := [process for process in processes if _lives(process)]) and time.monotonic() < deadline:
            time.sleep(limits.POLL)


def _lives(process: psutil.Process) -> bool:
    """Whether it still runs. A zombie does not; it only waits for its parent, which may never look."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def _orphaned(directory: Path) -> Iterator[bool]:
    """Whether the owner of ``directory`` is gone; when it is, nobody else cleans it during the block."""
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
    """Make ``root / relative`` with the directories in between, but not ``root``, and return it. It may be there.

    Raises FileNotFoundError when ``root`` is gone: a thread that outlives its session must not make the run's directory anew.
    """
    path = root
    for part in Path(relative).parts:
        path /= part
        path.mkdir(exist_ok=True)
    return path


def _remove(directory: Path) -> bool:
    """Remove a run's directory; whether it is gone.

    It is moved away first. A thread that outlives its session, and writes by the directory's path, would fill it as fast as it is emptied.
    """
    gone = _removed() / directory.name
    with contextlib.suppress(OSError):
        gone.parent.mkdir(exist_ok=True)
        directory.rename(gone)
    deadline = time.monotonic() + limits.GRACE
    while True:
        for path in (directory, gone):
            shutil.rmtree(path, ignore_errors=True)
        if not directory.exists() and not gone.exists():
            return True
        if time.monotonic() > deadline:
            return not directory.exists()
        time.sleep(limits.POLL)


def _removed() -> Path:
    """Where directories of runs are moved to be removed. What is there belongs to nobody."""
    return cache_directory() / "removed"


def remove_remains() -> None:
    """Finish what was killed while it removed a run's directory, and remove lock files of runs that have none."""
    for path in _removed().glob("*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in runs_directory().glob("*.lock"):
        if not path.with_suffix("").exists():
            with _orphaned(path.with_suffix("")):
                pass


_GONE = re.compile(
    r"(?i)no such file or directory|context \S+ does not exist|no such (container|network|volume)|not found"
)
"""What a removing command says when there is nothing to remove any more, not even the place where it was."""

_NOT_FOUND = "Error from server (NotFound)"
"""What kubectl says when the API server itself knows nothing of an object or of its namespace."""

KUBECONFIG = "KUBECONFIG"
"""A kubectl that names no kubeconfig reads these files: who cleans up may have others."""


def _undone(directory: Path) -> list[dict[str, Any]]:
    """The journal's undo entries that were not taken back. The last line of a killed writer may be half a line."""
    found: list[dict[str, Any]] = []
    with contextlib.suppress(OSError):
        for line in (directory / "journal.jsonl").read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if entry.get("event") == "cleanup":
                    found.append(entry)
                elif entry.get("event") == "cleanup_done":
                    found = [one for one in found if one.get("number") != entry["number"]]
    return found


def _append(directory: Path, text: str) -> None:
    with (directory / "journal.jsonl").open("a", encoding="utf-8") as journal:
        journal.write(text)
        journal.flush()
        os.fsync(journal.fileno())


def _note_done(directory: Path, entry: dict[str, Any]) -> None:
    """Note that a command need not run again, when others fail: it would then change what others made since."""
    done = {"at": time.time(), "event": "cleanup_done", "number": entry.get("number")}
    with contextlib.suppress(OSError):
        # The last line of a killed writer may be half a line.
        _append(directory, f"\n{json.dumps(done)}\n")


def _undo(entry: dict[str, Any]) -> str:
    """Run one removing command; why it failed, or an empty string."""
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
        return f"{entry['what']}: there is no {entry['command'][0]} any more to remove it with"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{entry['what']}: {error}"
    if done.returncode == 0 or _gone(entry, done.stderr):
        return ""
    return f"{entry['what']}: {done.stderr.strip() or 'could not be removed'}"


def _gone(entry: dict[str, Any], said: str) -> bool:
    """Whether a removing command failed for want of anything to remove."""
    if entry.get("required"):
        return _NOT_FOUND in said or ("gone_with" in entry and not Path(entry["gone_with"]).exists())
    return bool(_GONE.search(said))


def _absolute(paths: str) -> str:
    return os.pathsep.join(str(Path(path).absolute()) for path in paths.split(os.pathsep) if path)


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return "?"
