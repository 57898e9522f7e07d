"""Interrupts and kills at random moments, and what each leaves behind. Run by hand; not part of the test suite.

    python tests/stress/kills.py --local 250 --faults 750 --seed 1 [--stack STACK] [--contract GLOB]

``--local`` real ``trivet run``s and ``--faults`` scenarios on a fake cluster (``fakes.disturbed``) get a signal at a random
moment of their life: SIGINT, SIGTERM or SIGHUP, the first and the last also as a terminal sends them, to the whole process
group, or SIGKILL. Half of those that can be caught get a second signal while they clean up. It is recorded what each leaves
behind, and what is left after the next run, or after what ``trivet doctor --clean`` calls.

The role environments of ``--stack`` must be in the cache (``trivet run --stack STACK`` once). A local run takes 20 to 30
seconds, less with fewer contracts; a fault one second. ``--record FILE`` appends a JSON line per kill, and the table is over all
lines of the file, so that the work can be done in slices. The table, by signal (``group``: to the process group):

* ``n``: signals sent to something that still ran
* ``alive``: runs of which processes outlived the interrupted one
* ``on disk``: run directories, locks or temporary files left, or a cluster that is not as before
* ``slow``: took more than 20 s to end
* ``noisy``: a traceback, or an exit status other than 128 + the signal's number
* ``afterwards``: anything left after the next run or cleaning

The exit status is 1 when a number is not 0 that must be: all but ``alive`` and ``on disk`` of SIGKILL, which nobody can catch.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes.disturbed import DisturbedCluster

from trivet.host.journal import MARK, clean, leftovers, remove_remains
from trivet.host.signals import unwinding_on_signals
from trivet.stacks.environments import cache_directory

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL", "SIGINT group", "SIGHUP group")
PATIENCE = 20.0
"""Seconds within which an interrupted process must have ended."""
MOST = 90.0
"""Seconds after which it is killed."""


@dataclass(kw_only=True)
class Kill:
    """One signal and what it left. ``moment`` is in seconds since the start of the process, of ``whole`` that an undisturbed one takes."""

    what: str
    signal: str
    moment: float
    whole: float
    again: float | None
    """Seconds after the first at which the second signal came, if one did."""
    in_time: bool = True
    """Whether the process still ran when the signal was sent."""
    seconds: float = 0.0
    status: int = 0
    noise: str = ""
    alive: list[str] = field(default_factory=list)
    on_disk: list[str] = field(default_factory=list)
    afterwards: list[str] = field(default_factory=list)


def marked(pid: int) -> list[str]:
    """The living processes of the run of ``pid``."""
    found = []
    for process in psutil.process_iter():
        try:
            if f"-{pid}-" in process.environ().get(MARK, "") and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
        except (psutil.Error, OSError):
            continue
    return found


def family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def living(processes: Sequence[psutil.Process]) -> list[str]:
    found = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
        except psutil.Error:
            continue
    return found


def files(*folders: Path) -> list[str]:
    """What is in folders that should be empty, links not followed."""
    return [str(path) for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]


def kill(kill: Kill, process: subprocess.Popen[bytes] | Forked, began: float, left: Callable[[], list[str]]) -> None:
    """Send the signals at their moments, wait for the end, and write down what is left."""
    time.sleep(max(0.0, kill.moment - (time.monotonic() - began)))
    relatives = family(process.pid)
    name, _, group = kill.signal.partition(" ")
    number = signal.Signals[name]
    send = os.killpg if group else os.kill
    kill.in_time = process.poll() is None
    sent = time.monotonic()
    if kill.in_time:
        send(process.pid, number)
        if kill.again is not None:
            time.sleep(kill.again)
            if process.poll() is None:
                send(process.pid, number)
    while process.poll() is None and time.monotonic() < sent + MOST:
        relatives += [one for one in family(process.pid) if one not in relatives]
        time.sleep(0.02)
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    kill.status = process.wait()
    kill.seconds = round(time.monotonic() - sent, 2)
    kill.alive = sorted({*marked(process.pid), *living(relatives)})
    kill.on_disk = left()


def cleaned(left: Callable[[], list[str]], pid: int) -> list[str]:
    """What is left after a cleaning."""
    errors = [why for leftover in leftovers() if (why := clean(leftover))]
    remove_remains()
    return [*errors, *marked(pid), *left()]


# -- local runs -------------------------------------------------------------------------------------------------------


class Local:
    """Local runs in a cache of their own, with the user's environments."""

    def __init__(self, folder: Path, stack: str, contracts: str) -> None:
        self.cache, self.temporary = folder / "cache", folder / "tmp"
        self.cache.mkdir()
        self.temporary.mkdir()
        (self.cache / "environments").symlink_to(cache_directory() / "environments")
        self._environment = {**os.environ, "TRIVET_CACHE": str(self.cache), "TMPDIR": str(self.temporary)}
        self._command = [
            str(Path(sys.executable).with_name("trivet")),
            "run",
            "--stack",
            stack,
            "--contract",
            contracts,
        ]
        self._log = folder / "log"
        self._whole = 0.0

    def start(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, process_group=0
            )

    def left(self) -> list[str]:
        return files(self.cache / "runs", self.cache / "removed", self.temporary)

    def whole(self) -> float:
        began = time.monotonic()
        status = self.start().wait()
        if status or self.left():
            sys.exit(f"an undisturbed run ended with {status} and left {self.left()}:\n{self._log.read_text()}")
        return time.monotonic() - began

    def kill(self, one: Kill, by_the_next_run: bool) -> None:
        os.environ["TRIVET_CACHE"] = str(self.cache)
        began = time.monotonic()
        process = self.start()
        kill(one, process, began, self.left)
        text = self._log.read_text(errors="replace")
        complaint = "Traceback" in text or "ignored in" in text or "internal error" in text
        if one.in_time and "SIGKILL" not in one.signal:
            # Before Python has read the command line's module nothing has begun, and after the verdict everything has ended: then a signal
            # does what it does to any process.
            number = signal.Signals[one.signal.partition(" ")[0]]
            expected = (128 + number,) if text else (128 + number, -number)
            finished = one.status in (0, -number) and "is conformant" in text
            if (complaint and text.count("\n") > 2 and "trivet: " in text) or not (one.status in expected or finished):
                one.noise = f"status {one.status}: {text[-1500:]}"
        if by_the_next_run and one.signal == "SIGKILL":
            before = set(files(self.cache / "runs"))
            following = self.start()
            while following.poll() is None and not set(files(self.cache / "runs")) - before:
                time.sleep(0.1)
            one.afterwards += [f"with the next run: {each}" for each in marked(process.pid)]
            following.send_signal(signal.SIGINT)
            following.wait(MOST)
            one.afterwards += [f"after the next run: {each}" for each in files(self.cache / "runs")]
        one.afterwards += cleaned(lambda: files(self.cache / "runs", self.cache / "removed"), process.pid)
        for path in self.temporary.iterdir():
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)


# -- faults on a fake cluster ------------------------------------------------------------------------------------------


class Forked:
    """A forked process with the part of Popen that is needed here."""

    def __init__(self, work: Callable[[], int], log: Path) -> None:
        self._status: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        status = 99
        try:
            os.setpgid(0, 0)
            with log.open("wb") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            status = work()
        except KeyboardInterrupt:
            # Before it was handled nothing had begun.
            status = 128 + signal.SIGINT
        except Exception:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def poll(self) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def wait(self) -> int:
        while self.poll() is None:
            time.sleep(0.005)
        assert self._status is not None
        return self._status

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


class Faults:
    """A scenario with faults of every kind on a fake cluster, in a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.temporary = folder / "cache", folder / "tmp"
        self.cache.mkdir()
        self.temporary.mkdir()
        os.environ["FAKE_SECONDS"] = "0.01"
        self._cluster = DisturbedCluster(folder)
        self._log = folder / "log"

    def left(self) -> list[str]:
        return [
            *(f"changed: {name}" for name in self._cluster.changed()),
            *files(self.cache / "runs", self.cache / "removed", self.temporary),
        ]

    def work(self) -> int:
        """What `trivet scenario run` does, on the fake cluster; the exit status that the command line gives."""
        try:
            with unwinding_on_signals():
                print(self._cluster.play())
                return 0
        except KeyboardInterrupt as interrupt:
            return 128 + int(getattr(interrupt, "number", signal.SIGINT))

    def whole(self) -> float:
        os.environ |= {"TRIVET_CACHE": str(self.cache), "TMPDIR": str(self.temporary)}
        began = time.monotonic()
        status = Forked(self.work, self._log).wait()
        if status or self.left() or "VULNERABLE" not in self._log.read_text():
            sys.exit(f"an undisturbed scenario ended with {status} and left {self.left()}:\n{self._log.read_text()}")
        return time.monotonic() - began

    def kill(self, one: Kill, by_the_next_run: bool) -> None:
        os.environ["TRIVET_CACHE"] = str(self.cache)
        began = time.monotonic()
        process = Forked(self.work, self._log)
        kill(one, process, began, self.left)
        text = self._log.read_text(errors="replace")
        if one.in_time and one.signal != "SIGKILL":
            number = signal.Signals[one.signal.partition(" ")[0]]
            if one.status not in (0, 128 + number, -number) or "Traceback" in text or "ignored" in text:
                one.noise = f"status {one.status}: {text[-1500:]}"
        one.afterwards = cleaned(self.left, process.pid)


# -- the table --------------------------------------------------------------------------------------------------------


def table(kills: Sequence[Kill]) -> tuple[str, bool]:
    """The table over ``kills``, and whether every number is what it must be."""
    lines = [f"{'':8}{'signal':15}{'n':>6}{'alive':>8}{'on disk':>9}{'slow':>6}{'noisy':>7}{'afterwards':>12}"]
    sound = True
    for what in ("local", "fault"):
        for name in SIGNALS:
            some = [one for one in kills if (one.what, one.signal) == (what, name) and one.in_time]
            if not some:
                continue
            alive, disk = sum(bool(one.alive) for one in some), sum(bool(one.on_disk) for one in some)
            slow, noisy = sum(one.seconds > PATIENCE for one in some), sum(bool(one.noise) for one in some)
            afterwards = sum(bool(one.afterwards) for one in some)
            sound &= not (slow or noisy or afterwards or (name != "SIGKILL" and (alive or disk)))
            lines.append(f"{what:8}{name:15}{len(some):>6}{alive:>8}{disk:>9}{slow:>6}{noisy:>7}{afterwards:>12}")
    early = sum(not one.in_time for one in kills)
    return "\n".join([*lines, f"{len(kills)} in all; {early} had ended before their signal"]), sound


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--local", type=int, default=0, help="how many local runs")
    parser.add_argument("--faults", type=int, default=0, help="how many faults on the fake cluster")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stack", default="2024.11-fixed", help="the stack of local runs")
    parser.add_argument("--contract", default="*", metavar="GLOB", help="the contracts of local runs")
    parser.add_argument("--record", type=Path, help="a file for one JSON line per kill")
    options = parser.parse_args()
    # Ignored under nohup and in a shell's background, which every child would inherit.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chance = random.Random(options.seed)
    kills: list[Kill] = []
    with tempfile.TemporaryDirectory(prefix="trivet-kills-") as name:
        folder = Path(name)
        for what, number in (("local", options.local), ("fault", options.faults)):
            if not number:
                continue
            (folder / what).mkdir()
            place: Local | Faults = (
                Local(folder / what, options.stack, options.contract) if what == "local" else Faults(folder / what)
            )
            whole = place.whole()
            for _ in range(number):
                which = chance.choice(SIGNALS)
                # As many in the first fifth, where all is started, as would be spread over the whole otherwise.
                moment = whole * chance.choice((chance.random(), chance.random(), 0.2 * chance.random()))
                again = (
                    chance.random() * chance.choice((0.02, 1.0))
                    if which != "SIGKILL" and chance.random() < 0.5
                    else None
                )
                one = Kill(what=what, signal=which, moment=round(moment, 4), whole=round(whole, 2), again=again)
                place.kill(one, by_the_next_run=chance.random() < 0.3)
                kills.append(one)
                # The machine may be less busy than when an undisturbed one was measured.
                whole = whole if one.in_time else min(whole, one.moment)
                if options.record:
                    with options.record.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(one)) + "\n")
                if (
                    one.noise
                    or one.afterwards
                    or (which != "SIGKILL" and (one.alive or one.on_disk))
                    or one.seconds > PATIENCE
                ):
                    print(json.dumps(asdict(one)), flush=True)
    if options.record:
        kills = [Kill(**json.loads(line)) for line in options.record.read_text(encoding="utf-8").splitlines()]
    text, sound = table(kills)
    print(text)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
