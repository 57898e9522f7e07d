"""Playing variants one at a time, for callers such as pytest that decide the order themselves."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cached_property

from trivet.engine.incremental import IncrementalRun
from trivet.engine.scenarios import guards
from trivet.engine.scenarios.play import collected, not_played, not_reverted, play, reported
from trivet.errors import NotOffered
from trivet.model.clients import FaultClient
from trivet.model.scenario import Scenario, ScenarioReport, Variant, VariantResult


class IncrementalScenarioRun:
    """Plays on the session of an open run, holding the cluster's lease for one variant at a time.

    Workers of one test run take turns on a cluster: each waits up to ``wait`` seconds for the lease.
    """

    def __init__(
        self, run: IncrementalRun, *, allow_faults: bool = False, context: str = "", wait: float = 0.0
    ) -> None:
        self._run = run
        self._allow_faults = allow_faults
        self._context = context
        self._lease_timeout = wait
        self._began, self._started = time.monotonic(), datetime.now(UTC)
        self._blocked = ""
        self._results: dict[str, tuple[Scenario, list[VariantResult], float]] = {}

    @cached_property
    def _faults(self) -> FaultClient:
        guards.check_target(self._run.target, allow_faults=self._allow_faults, context=self._context)
        faults: FaultClient = self._run.session.client("faults")
        return faults

    def play(self, scenario: Scenario, variant: Variant) -> VariantResult:
        """Play one variant. Raises UsageError when a guard refuses, before anything is changed."""
        began = time.monotonic()
        try:
            faults = self._faults
        except NotOffered as error:
            return self._kept(scenario, not_played(scenario, variant, error), began)
        guards.check_cluster([scenario], faults, allow_faults=self._allow_faults)
        with faults.lease(self._lease_timeout) as lease:
            result = play(
                scenario,
                variant,
                self._run.session,
                faults,
                lambda event: None,
                lease=lease,
                blocked=self._blocked,
            )
            # Before the lease is released, which fails too when the cluster is unreachable.
            return self._kept(scenario, result, began)

    def _kept(self, scenario: Scenario, result: VariantResult, began: float) -> VariantResult:
        self._blocked = self._blocked or not_reverted(scenario, result)
        _, before, seconds = self._results.get(scenario.id, (scenario, [], 0.0))
        self._results[scenario.id] = (scenario, [*before, result], seconds + time.monotonic() - began)
        return result

    @property
    def played(self) -> bool:
        """Whether any variant was played."""
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
