"""Playing variants one at a time, for callers such as pytest that decide the order themselves."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property

from trivet.engine.openrun import OpenRun
from trivet.engine.scenarios import guards
from trivet.engine.scenarios.play import collected, play, reported, skipped
from trivet.errors import NotOffered
from trivet.model.scenario import Scenario, ScenarioReport, Variant, VariantResult
from trivet.targets.base import FaultClient


class OpenPlay:
    """Plays on the session of an open run, holding the cluster's lease from the first variant until ``close``. Use as a context manager."""

    def __init__(self, run: OpenRun, *, allow_faults: bool = False, context: str = "") -> None:
        self._run = run
        self._allow_faults = allow_faults
        self._context = context
        self._exit = ExitStack()
        self._began, self._started = time.monotonic(), datetime.now(UTC)
        self._results: dict[str, tuple[Scenario, list[VariantResult], float]] = {}

    @cached_property
    def _faults(self) -> FaultClient:
        guards.check_target(self._run.target.name, allow_faults=self._allow_faults, context=self._context)
        faults: FaultClient = self._run.session.client("faults")
        self._exit.enter_context(faults.lease())
        return faults

    def play(self, scenario: Scenario, variant: Variant) -> VariantResult:
        """Play one variant. Raises UsageError when a guard refuses, before anything is touched."""
        began = time.monotonic()
        try:
            faults = self._faults
        except NotOffered as error:
            result = skipped(variant, error.message)
        else:
            guards.check_cluster([scenario], faults, allow_faults=self._allow_faults)
            result = play(scenario, variant, self._run.session, faults, lambda event: None)
        _, before, seconds = self._results.get(scenario.id, (scenario, [], 0.0))
        self._results[scenario.id] = (scenario, [*before, result], seconds + time.monotonic() - began)
        return result

    @property
    def played(self) -> bool:
        """Whether anything was played."""
        return bool(self._results)

    def report(self) -> ScenarioReport:
        """The report over what was played so far. Needs a session that is still open."""
        return reported(
            [collected(*one) for one in self._results.values()],
            self._run.session,
            target=self._run.target,
            stack=self._run.stack,
            began=self._began,
            started=self._started,
            command="pytest",
        )

    def close(self) -> None:
        """Give the lease back."""
        self._exit.close()

    def __enter__(self) -> OpenPlay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
