"""How long the alert that an incident is for takes to fire while the incident is played. It reads alerts, and neither makes nor judges
them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from trivet.errors import TrivetError

POLLED = 1.0
"""Seconds between two looks."""


@dataclass(frozen=True, kw_only=True)
class IncidentAlerts:
    """``by_scenario`` maps a scenario to the alerts that its incident is for, and how many seconds each must hold. ``firing`` reads the
    names of those that fire now, for a service or for any. After the symptom the fault stays for ``wait`` seconds, or until one of them
    fires.
    """

    by_scenario: Mapping[str, Mapping[str, float]]
    firing: Callable[[str], Collection[str]]
    wait: float

    def before(self, scenario: str, service: str) -> str:
        """Why an alert would not show the incident of ``scenario``: it must hold for longer than is waited, fires before the fault, or
        cannot be read. Empty if it would."""
        shortest = min(self.by_scenario[scenario].values())
        if shortest >= self.wait:
            return f"not waited for: {' and '.join(self.by_scenario[scenario])} must hold for {shortest:g} s (--alert-wait)"
        try:
            already = self._expected(scenario, service)
        except TrivetError as error:
            return f"unknown: {error.message}"
        return f"{already} fires without the fault" if already else ""

    def measure(self, scenario: str, service: str, *, since: float) -> dict[str, int | float | str]:
        """The alert that fires and after how many seconds ``since`` a time of ``time.monotonic``, as measured values of a variant."""
        end = time.monotonic() + self.wait
        while True:
            try:
                fired = self._expected(scenario, service)
            except TrivetError as error:
                return {"alert": f"unknown: {error.message}"}
            now = time.monotonic()
            if fired:
                return {"alert": fired, "alert_seconds": round(now - since, 1)}
            if now >= end:
                return {"alert": f"none in {now - since:.0f} s"}
            time.sleep(min(POLLED, end - now))

    def _expected(self, scenario: str, service: str) -> str:
        return ", ".join(sorted(set(self.by_scenario[scenario]) & set(self.firing(service))))
