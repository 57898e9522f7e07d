"""Serving a fleet: which members are served, and what the report of a check says of one. Serves nothing itself."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from trivet.engine.acceptance import Waivers
from trivet.engine.model_judge import reason_of, reason_of_error
from trivet.engine.results_store import is_kept
from trivet.errors import TrivetError
from trivet.model.contract import Contract
from trivet.model.finding import Location
from trivet.model.fleet import FleetReport, JudgedModel, JudgedService, Measured, Measurement, Member, ModelReason
from trivet.model.outcome import Level, Outcome
from trivet.model.report import ConformanceReport

RUNTIME_CLIENTS = frozenset({"serving", "runtime"})
"""The clients of a check that are the stack's runtime, beside the environment that the model asks for."""


def of_the_runtime(contracts: Iterable[Contract], clients: Collection[str]) -> list[Contract]:
    """The contracts that serving a model judges: those that ask the stack's runtime, with ``clients`` alone. What files show has been
    judged."""
    return [one for one in contracts if not RUNTIME_CLIENTS.isdisjoint(one.clients) and {*one.clients} <= {*clients}]


def sample(members: Sequence[Member], number: int | None, seed: int) -> list[int]:
    """The indexes of ``number`` of the members whose model can be read; of all for None.

    By ``seed``, and independent of the order and of which other members there are: a fleet that grew keeps most of its sample.
    """
    servable = [index for index, member in enumerate(members) if member.servable]
    drawn = sorted(servable, key=lambda index: hashlib.sha256(f"{seed} {members[index].uri}".encode()).digest())
    return sorted(drawn[:number])


def measurement_of(report: ConformanceReport, uri: str, waivers: Waivers) -> Measurement:
    """What the report of a check says of the model ``uri``: the worst that a MUST came to. The object of a waiver is ``uri``.

    What an error of the machine decided, such as a server that had not started in time, shows nothing of the model.
    """
    found: list[tuple[Measured, ModelReason]] = []
    matching: list[str] = []
    for result in report.contracts:
        about = waivers.about(result.id, stack=report.stack.name, target=report.target)
        for finding in result.findings:
            located = replace(finding, location=replace(finding.location or Location(), object=uri), waiver=None)
            names = waivers.matching(about, located)
            matching += names
            if result.level is Level.MUST and finding.outcome.deviates:
                breaks = finding.outcome is Outcome.FAILED and is_kept(result)
                outcome = Measured.BREAKS if breaks else Measured.UNKNOWN
                found.append((outcome, reason_of(waivers.waived(located, names), result)))
    passed = any(one.level is Level.MUST and one.outcome is Outcome.PASSED for one in report.contracts)
    worst = _worst([one for one, _ in found], passed)
    left = [one for one, reason in found if not (reason.waiver and not reason.waiver.expired)]
    not_accepted = _worst(left, True) if len(left) < len(found) else None
    return Measurement(
        outcome=worst,
        reasons=tuple(reason for one, reason in found if one in (worst, not_accepted)),
        not_accepted=not_accepted,
        seconds=report.provenance.seconds if any(one.reused is None for one in report.contracts) else 0.0,
        judged=tuple(one.id for one in report.contracts if one.outcome in (Outcome.PASSED, Outcome.FAILED)),
        waivers=tuple(matching),
    )


def names_of_model(member: Member, uri: str) -> frozenset[str]:
    """What names the model of a member that a check finds at ``uri``: members with one of these in common have the same model."""
    source = member.source if isinstance(member, JudgedModel) else ""
    return frozenset(one.rstrip("/") for one in (uri, source) if one)


def with_members(report: FleetReport, members: Sequence[Member]) -> FleetReport:
    """``report`` with ``members`` in place of its own."""
    return replace(
        report,
        models=tuple(one for one in members if isinstance(one, JudgedModel)),
        services=tuple(one for one in members if isinstance(one, JudgedService)),
    )


def unmeasured(error: TrivetError) -> Measurement:
    """That a check ended without a report."""
    return Measurement(outcome=Measured.UNKNOWN, reasons=(reason_of_error(error),))


def _worst(outcomes: Sequence[Measured], passed: bool) -> Measured:
    for one in (Measured.BREAKS, Measured.UNKNOWN):
        if one in outcomes:
            return one
    return Measured.WORKS if passed else Measured.UNKNOWN
