"""Records of scenarios as files, one per scenario: reads and writes them, merges reports into them, and finds stale ones."""

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
"""The folder of the records, below the root of a repository."""
_CLUSTER = ("context", "images", "platform")
"""The fields of a report's ``cluster`` that a record keeps; the others name objects of the run."""

Records = Mapping[str, Record]
"""By the ids of their scenarios."""


def write(record: Record) -> str:
    """The record as JSON: sorted keys, one line per field, without empty fields."""
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
            remedy="restore the file, or remove it and run the scenario again",
        ) from error


def read_all(folder: Path) -> Records:
    """The records in ``folder``; empty without such a folder. Raises UsageError for an invalid file and for a wrong file name."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            record = read(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {path}: {error}", remedy="make it readable, or remove it") from error
        except UsageError as error:
            raise UsageError(f"{path}: {error.message}", remedy=error.remedy) from error
        if path.stem != record.scenario:
            raise UsageError(
                f"{path} is the record of {record.scenario}", remedy=f"rename it to {record.scenario}.json"
            )
        found[record.scenario] = record
    return found


def merged(records: Records, report: ScenarioReport, scenarios: Mapping[str, Scenario]) -> Records:
    """``records`` with the variants of ``report`` added or replaced.

    A SKIPPED or ERROR variant has no measurement and replaces nothing. Changed records lose variants that their scenario no longer has.
    Raises UsageError for a scenario or variant that is not in ``scenarios``.
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
    """The charts of the variants of ``report``: file name → SVG."""
    return {
        drawing_name(result.id, variant.name): drawn
        for result in report.scenarios
        for variant in result.variants
        if variant.verdict not in (Verdict.SKIPPED, Verdict.ERROR) and (drawn := _drawn(result.id, variant))
    }


def drawing_name(identifier: str, variant: str) -> str:
    """The file name of a variant's chart."""
    return f"{identifier}.{variant}.svg"


def digest(drawn: str) -> str:
    """The SHA-256 of a chart, which the record keeps."""
    return hashlib.sha256(drawn.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Stale:
    """A variant to run again, and the reason. ``seconds`` is its last duration; 0 without a record."""

    scenario: str
    variant: str
    reason: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.scenario}[{self.variant}]"


def stale(scenarios: Sequence[Scenario], records: Records) -> Iterator[Stale]:
    """The variants whose record has messages that the code no longer has, and those with an expected verdict but without a record."""
    for scenario in scenarios:
        known = templates(scenario.stage.__module__, PLAYER)
        record = records.get(scenario.id)
        for variant in scenario.variants:
            measured = record.variants.get(variant.name) if record else None
            if measured is None:
                if variant.expected is not None:
                    reason = f"expected to be {variant.expected.value}, without a record"
                    yield Stale(scenario=scenario.id, variant=variant.name, reason=reason)
                continue
            gone = [template for template in measured.message_templates if template not in known]
            if gone or not measured.message_templates:
                reason = (
                    f"the code no longer has the message {gone[0]!r}" if gone else "its record has no message templates"
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
        message_templates=result.message_templates,
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
        cluster={name: report.cluster[name] for name in _CLUSTER if name in report.cluster},
    )


def _drawn(identifier: str, result: VariantResult) -> str:
    """The chart of a variant; empty without requests and samples."""
    line = result.timeline
    if line is None or not _shows_something(line):
        return ""
    return svg(line, f"{identifier} {result.name}: {result.verdict.value}") + "\n"


def _shows_something(line: Timeline) -> bool:
    return bool(line.buckets) or any(gauge.points for gauge in line.gauges)


def _without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in ("", (), [], {}, 0.0)}
