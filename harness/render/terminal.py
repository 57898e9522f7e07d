"""Progress of a run on the terminal, and its summary at the end: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, TextIO

from trivet.host.signals import uninterruptible
from trivet.model.events import (
    ContractEnded,
    ContractStarted,
    Emit,
    Event,
    PhaseEnded,
    PhaseStarted,
    RunEnded,
    RunStarted,
    ScenariosEnded,
    ScenariosStarted,
    VariantEnded,
    VariantStarted,
)
from trivet.model.outcome import Outcome
from trivet.model.report import ConformanceReport
from trivet.render.layout import COLUMNS, STYLES, Line, Span, fit, line, pad, plain, styled
from trivet.render.scenarios import STYLES as VERDICTS
from trivet.render.scenarios import summary
from trivet.render.summary import lines
from trivet.render.wording import wording_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Clock = Callable[[], float]

_OUTCOME = max(len(outcome) for outcome in Outcome)


@contextmanager
@uninterruptible
def watch(stream: TextIO, *, clock: Clock = time.monotonic) -> Iterator[Emit]:
    """The ``emit`` function for the engine, callable from any thread; it prints the summary at RunEnded.

    A ``stream`` that is a terminal with cursor movement gets live progress, any other a line per event. NO_COLOR disables colours.
    ``clock`` returns seconds.
    """
    if not live(stream, os.environ):
        yield _Plain(stream, clock)
        return
    with _Live(_console(stream), clock) as emit:
        yield emit


def live(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether ``stream`` is a terminal on which lines can be overwritten."""
    return stream.isatty() and environment.get("TERM", "") not in ("", "dumb", "unknown")


def write_plain(stream: TextIO, text: Sequence[Line]) -> None:
    """Write lines without control characters, in the encoding of ``stream``."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        plain(text).encode(encoding)
        stream.write(plain(text))
    except UnicodeEncodeError:
        stream.write(plain(text).translate(_ASCII).encode(encoding, "replace").decode(encoding))
    stream.flush()


_ASCII = str.maketrans({"→": "->", "…": "...", "·": "-", "─": "-", "│": "|"})


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def _print_styled(report: ConformanceReport, console: Console) -> None:
    # The last column stays empty: a terminal that wraps at its last column would double the line breaks.
    console.print(styled(list(lines(report, min(COLUMNS, max(40, console.width - 1))))), end="", soft_wrap=True)


class _Progress:
    """The phases and checks in progress, by the events of several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock()
        self.total = 0
        self.done = 0
        self.noun = "contracts"
        self.phases: dict[str, float] = {}
        self.checks: dict[str, float] = {}

    def elapsed(self, since: float | None = None) -> float:
        """Seconds since the start of the run, or since a reading of the clock."""
        return self._clock() - (self._began if since is None else since)

    def note(self, event: Event) -> list[Line]:
        """Update the progress by an event; returns the lines to keep on the terminal."""
        match event:
            case RunStarted():
                self.total = len(event.contracts)
                number = f"{self.total} contract{'' if self.total == 1 else 's'}"
                return [line(f"judging the stack {fit(event.stack, 40)} on {fit(event.target, 20)}: {number}")]
            case PhaseStarted():
                self.phases[event.name] = self._clock()
                return []
            case PhaseEnded():
                self.phases.pop(event.name, None)
                state = Span("failed", STYLES["failed"]) if event.failure else Span("done", STYLES["passed"])
                failure = fit(event.failure, 50) if event.failure else ""
                return [
                    line(
                        fit(event.name, 30), " ", state, f" in {event.seconds:.1f} s", f": {failure}" if failure else ""
                    )
                ]
            case ContractStarted():
                self.checks[event.id] = self._clock()
                return []
            case ContractEnded():
                self.checks.pop(event.result.id, None)
                self.done += 1
                outcome = wording_of(event.result).name
                word = Span(pad(event.result.outcome.value, _OUTCOME), STYLES[outcome])
                aside = f" ({outcome})" if outcome in ("advice", "accepted") else ""
                count = f"{self.done:>{len(str(self.total))}}/{self.total}"
                reused = " (reused)" if event.result.reused else ""
                return [line(count, "  ", word, "  ", fit(event.result.id, 60), aside, reused)]
            case ScenariosStarted():
                self.total, self.noun = len(event.variants), "variants"
                number = f"{self.total} variant{'' if self.total == 1 else 's'}"
                return [
                    line(f"running scenarios on the stack {fit(event.stack, 40)} on {fit(event.target, 20)}: {number}")
                ]
            case VariantStarted():
                self.checks[f"{event.id}[{event.variant}]"] = self._clock()
                return []
            case VariantEnded():
                self.checks.pop(f"{event.id}[{event.result.name}]", None)
                self.done += 1
                verdict = Span(pad(event.result.verdict.value, _OUTCOME), VERDICTS[event.result.verdict])
                count = f"{self.done:>{len(str(self.total))}}/{self.total}"
                return [line(count, "  ", verdict, "  ", fit(f"{event.id}[{event.result.name}]", 76))]
            case _:
                return []


class _Plain:
    """A line per event, with the seconds since the start."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._progress = _Progress(clock)
        self._lock = Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            kept = self._progress.note(event)
            if isinstance(event, PhaseStarted):
                kept = [line(fit(event.name, 60), " …")]
            write_plain(self._stream, [line(f"{self._progress.elapsed():6.1f} s  ", *one) for one in kept])
            if isinstance(event, RunEnded):
                write_plain(self._stream, [line(), *lines(event.report)])
            elif isinstance(event, ScenariosEnded):
                write_plain(self._stream, [line(), *summary(event.report)])


class _Live:
    """Finished phases and contracts that did not pass stay; below them, the work in progress is redrawn several times a second."""

    def __init__(self, console: Console, clock: Clock) -> None:
        from rich.live import Live

        self._console = console
        self._progress = _Progress(clock)
        self._lock = Lock()
        # A second lock, because drawing takes the first one while it holds the console.
        self._printing = Lock()
        self._live = Live(get_renderable=self._now, console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Emit:
        self._live.start()
        return self._emit

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _emit(self, event: Event) -> None:
        with self._printing:
            self._print(event)

    def _print(self, event: Event) -> None:
        with self._lock:
            kept = self._progress.note(event)
        if isinstance(event, ContractEnded) and not event.result.outcome.deviates:
            kept = []
        if kept:
            self._console.print(styled(kept), end="", soft_wrap=True)
        if isinstance(event, RunEnded):
            self._live.stop()
            self._console.print()
            _print_styled(event.report, self._console)
        elif isinstance(event, ScenariosEnded):
            self._live.stop()
            self._console.print()
            self._console.print(styled(summary(event.report)), end="", soft_wrap=True)

    def _now(self) -> Text:
        with self._lock:
            phases, checks = dict(self._progress.phases), dict(self._progress.checks)
            done, total = self._progress.done, self._progress.total
        room = max(20, min(COLUMNS, self._console.width) - 1)
        frame = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"[int(self._progress.elapsed() * 8) % 10]
        running = [
            line(
                Span(f"{frame} ", "cyan"),
                pad(fit(name, room - 14), min(40, room - 14)),
                Span(f"{self._progress.elapsed(began):7.1f} s", "dim"),
            )
            for name, began in phases.items()
        ]
        if not total:
            return styled(running)
        filled = round(24 * done / total)
        names = fit(", ".join(checks), max(1, room - 52)) if room > 60 else ""
        running.append(
            line(
                Span("━" * filled, "green"),
                Span("━" * (24 - filled), "dim"),
                f" {done}/{total} {self._progress.noun}",
                Span(f" {self._progress.elapsed():.0f} s ", "dim"),
                Span(names, "dim"),
            )
        )
        return styled(running)
