"""Records of scenarios as files, one per scenario: reading, writing, putting reports into them, and finding those that are stale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivet.engine.scenarios.templates import PLAYER, templates
from trivet.errors import UsageError, unknown
from trivet.model.record import Origin, Record, VariantRecord
from trivet.model.scenario import Scenario, ScenarioReport, Timeline, VariantResult, Verdict
from trivet.render.timeline import svg

FOLDER = "scenarios/records"
"""Where records lie, below the root of a repository."""
_PLACE = ("context", "images", "platform")
"""What is kept of a report's place; the rest names what the run itself made."""

Records = Mapping[str, Record]
"""By the ids of their scenarios."""


def write(record: Record) -> str:
    """The record as JSON: sorted keys, one line per field, nothing that is empty."""
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(record)
    for variant in fields["variants"].values():
        variant["origin"] = _without_empty(variant["origin"])
    fields["variants"] = {name: _without_empty(variant) for name, variant in fields["variants"].items()}
    return json.dumps(fields, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read(text: str) -> Record:
    """The record that :func:`write` wrote. Raises UsageError for anything else."""
    import msgspec

    try:
        return msgspec.json.decode(text, type=Record)
    except msgspec.DecodeError as error:
        raise UsageError(
            f"not the record of a scenario: {error}",
            remedy="restore the file, or remove it and play the scenario again",
        ) from error


def read_all(folder: Path) -> Records:
    """The records in ``folder``, none when there is no such folder. Raises UsageError for a file that is none, or has another's name."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            record = read(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read: {error}", remedy="make it readable, or remove it") from error
        except UsageError as error:
            raise UsageError(f"{path}: {error.message}", remedy=error.remedy) from error
        if path.stem != record.scenario:
            raise UsageError(
                f"{path} is the record of {record.scenario}", remedy=f"rename it to {record.scenario}.json"
            )
        found[record.scenario] = record
    return found


def merged(records: Records, report: ScenarioReport, scenarios: Mapping[str, Scenario]) -> Records:
    """``records`` with what ``report`` measured in place of what they had of the same variants.

    A variant that was skipped, or that trivet could not play (ERROR), measured nothing and replaces nothing. Variants that the scenario no
    longer has are dropped from the records that change. Raises UsageError for a scenario or variant that is not among ``scenarios``.
    """
    found = dict(records)
    for result in report.scenarios:
        if result.id not in scenarios:
            raise unknown("scenario", result.id, scenarios)
        names = [variant.name for variant in scenarios[result.id].variants]
        variants = dict(found[result.id].variants) if result.id in found else {}
        for variant in result.variants:
            if variant.name not in names:
                raise unknown(f"variant of {result.id}", variant.name, names)
            if variant.verdict not in (Verdict.SKIPPED, Verdict.ERROR):
                variants[variant.name] = _recorded(result.id, variant, _origin(report))
        found[result.id] = Record(
            scenario=result.id, variants={name: one for name, one in variants.items() if name in names}
        )
    return found


def drawings(report: ScenarioReport) -> Mapping[str, str]:
    """The drawings of what ``report`` measured: file name → SVG."""
    return {
        drawing_name(result.id, variant.name): drawn
        for result in report.scenarios
        for variant in result.variants
        if variant.verdict not in (Verdict.SKIPPED, Verdict.ERROR) and (drawn := _drawn(result.id, variant))
    }


def drawing_name(identifier: str, variant: str) -> str:
    """The file of a variant's drawing."""
    return f"{identifier}.{variant}.svg"


def digest(drawn: str) -> str:
    """What a record keeps of a drawing."""
    return hashlib.sha256(drawn.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Stale:
    """A variant that is to be played again, and why. ``seconds`` is how long it took the last time; 0 when it was never played."""

    scenario: str
    variant: str
    reason: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.scenario}[{self.variant}]"


def stale(scenarios: Sequence[Scenario], records: Records) -> Iterator[Stale]:
    """The variants whose record the code words otherwise today, and those with an expected verdict that have no record."""
    for scenario in scenarios:
        known = templates(scenario.stage.__module__, PLAYER)
        record = records.get(scenario.id)
        for variant in scenario.variants:
            measured = record.variants.get(variant.name) if record else None
            if measured is None:
                if variant.expected is not None:
                    reason = f"expected to be {variant.expected.value}, and not played yet"
                    yield Stale(scenario=scenario.id, variant=variant.name, reason=reason)
                continue
            gone = [template for template in measured.wording if template not in known]
            if gone or not measured.wording:
                reason = (
                    f"the code has this message no longer: {gone[0]!r}"
                    if gone
                    else "its record does not hold the templates of its messages"
                )
                yield Stale(scenario=scenario.id, variant=variant.name, reason=reason, seconds=measured.seconds)


def _recorded(identifier: str, result: VariantResult, origin: Origin) -> VariantRecord:
    drawn = _drawn(identifier, result)
    return VariantRecord(
        verdict=result.verdict,
        reason=result.reason,
        origin=origin,
        steady_state=result.steady_state,
        effect=result.effect,
        symptom="" if result.symptom == result.reason else result.symptom,
        recovery=result.recovery,
        measured=result.measured,
        changed_objects=result.changed_objects,
        seconds=round(sum(phase.seconds for phase in result.phases), 1),
        drawing=digest(drawn) if drawn else "",
        wording=result.wording,
    )


def _origin(report: ScenarioReport) -> Origin:
    return Origin(
        target=report.target,
        stack=report.stack.name,
        digest=report.stack.digest,
        components=report.stack.components,
        trivet=report.provenance.trivet,
        python=report.provenance.python,
        platform=report.provenance.platform,
        started=report.provenance.started,
        place={name: report.place[name] for name in _PLACE if name in report.place},
    )


def _drawn(identifier: str, result: VariantResult) -> str:
    """The variant over time; empty when neither a request nor a sample would be in it."""
    line = result.timeline
    if line is None or not _shows_something(line):
        return ""
    return svg(line, f"{identifier} {result.name}: {result.verdict.value}") + "\n"


def _shows_something(line: Timeline) -> bool:
    return bool(line.seconds) or any(gauge.points for gauge in line.gauges)


def _without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in ("", (), [], {}, 0.0)}
