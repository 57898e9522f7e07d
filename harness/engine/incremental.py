"""A run that judges contracts one at a time, for callers such as pytest that decide the order themselves."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property

from trivet.engine.acceptance import Acceptance
from trivet.engine.run import NOTHING_ACCEPTED, Recorder, judge
from trivet.errors import TrivetError
from trivet.host.signals import uninterruptible, unwinding_on_signals
from trivet.model.contract import Contract
from trivet.model.events import Emit
from trivet.model.report import ConformanceReport, ContractResult
from trivet.model.stack import Stack
from trivet.model.target import Session, Target
from trivet.model.waiver import WaiverUse


class IncrementalRun:
    """Starts the stack when a session is first asked for, and stops it on ``close``. Use as a context manager."""

    def __init__(
        self,
        *,
        target: Target,
        stack: Stack,
        profile: str,
        emit: Emit,
        command: str = "",
        acceptance: Acceptance = NOTHING_ACCEPTED,
    ) -> None:
        self.target = target
        self.stack = stack
        self._profile = profile
        self._command = command
        self._acceptance = acceptance
        self._recorder = Recorder(emit)
        self._exit = ExitStack()
        self._results: dict[str, ContractResult] = {}
        self._failure: TrivetError | None = None

    @cached_property
    def session(self) -> Session:
        """The running stack. While it runs, SIGTERM and SIGHUP unwind the process as Ctrl-C does, so that it is stopped.

        Like a pytest fixture, it is started once: when that fails, the target's TrivetError is raised again by later calls.
        """
        if self._failure:
            raise self._failure
        self._exit.enter_context(unwinding_on_signals())
        try:
            return self._exit.enter_context(self.target.start(self.stack, self._recorder))
        except TrivetError as error:
            self._failure = error
            raise

    def judge(self, contract: Contract) -> ContractResult:
        """The result for ``contract``, observed once per run."""
        if contract.id not in self._results:
            self._results[contract.id] = judge(
                contract, self.session, self.stack, self.target, self._recorder, acceptance=self._acceptance
            )
        return self._results[contract.id]

    def report(self) -> ConformanceReport:
        """The report over what was judged so far. Needs a session that is still open."""
        results = tuple(self._results.values())
        return self._recorder.report(
            results,
            self.session,
            target=self.target.name,
            stack=self.stack,
            profile=self._profile,
            command=self._command,
            waivers=self._acceptance.waiver_uses(results),
            baseline=self._acceptance.baseline_use(results),
        )

    @property
    def waiver_uses(self) -> tuple[WaiverUse, ...]:
        """What each waiver did in what was judged so far."""
        return self._acceptance.waiver_uses(tuple(self._results.values()))

    @property
    def judged(self) -> bool:
        """Whether any contract was judged."""
        return bool(self._results)

    @uninterruptible
    def close(self) -> None:
        """Stop everything that was started."""
        self._exit.close()

    def __enter__(self) -> IncrementalRun:
        return self

    @uninterruptible
    def __exit__(self, *_: object) -> None:
        self.close()
