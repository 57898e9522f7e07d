"""Wording shared by every report format: names, order, the verdict sentence, and text that is safe to print."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trivet.model.finding import Finding
from trivet.model.fleet import FleetReport
from trivet.model.outcome import SEVERITY, Level, Outcome, blocks
from trivet.model.report import STATIC, VERDICTS, ConformanceReport, ContractResult
from trivet.model.waiver import FindingWaiver, WaiverStatus, WaiverUse

NAMES: Mapping[str, str] = {
    "kfp": "KFP",
    "kfp_backend": "KFP backend",
    "mlflow": "MLflow",
    "mlflow_client": "MLflow client",
    "storage_initializer": "storage initializer",
    "kserve": "KServe",
    "runtime": "Runtime",
    "knative": "Knative",
    "kubernetes": "Kubernetes",
    "store": "Store",
    "prometheus": "Prometheus",
}
"""Display names of components; others keep the stack's spelling."""

EXIT_MEANING = ("conformant", "a MUST failed", "inconclusive", "usage error, or refused by a guard")
"""The meaning of each exit code."""


@dataclass(frozen=True, kw_only=True)
class OutcomeWording:
    """How a report displays an outcome. ``symbol`` distinguishes it without colour; ``word`` follows a number."""

    name: str
    symbol: str
    word: str


_SYMBOLS = {
    Outcome.FAILED: "✕",
    Outcome.ERROR: "!",
    Outcome.INCONCLUSIVE: "?",
    Outcome.PASSED: "✓",
    Outcome.SKIPPED: "–",
}
_WORDINGS = {
    outcome: OutcomeWording(name=outcome.lower(), symbol=_SYMBOLS[outcome], word=outcome.lower())
    for outcome in SEVERITY
}
_ADVICE = OutcomeWording(name="advice", symbol="△", word="advice")
_ACCEPTED = OutcomeWording(name="accepted", symbol="◇", word="accepted")

OUTCOME_WORDINGS: tuple[OutcomeWording, ...] = (
    *(_WORDINGS[outcome] for outcome in SEVERITY if outcome.deviates),
    _ADVICE,
    _ACCEPTED,
    *(_WORDINGS[outcome] for outcome in SEVERITY if not outcome.deviates),
)
"""The five outcomes, worst first, with FAILED split: of a MUST it decides the verdict, of a SHOULD it is advice. A deviation that a waiver
or the baseline accepts is neither."""


def wording(outcome: Outcome, level: Level, *, accepted: bool = False) -> OutcomeWording:
    """The wording of an outcome at a level, and of a deviation that is accepted."""
    if accepted and outcome.deviates:
        return _ACCEPTED
    return _ADVICE if outcome is Outcome.FAILED and not blocks(outcome, level) else _WORDINGS[outcome]


def wording_of(result: ContractResult) -> OutcomeWording:
    """The wording of the outcome of one contract."""
    return wording(result.outcome, result.level, accepted=result.accepted)


def qualified(outcome: Outcome, shown: OutcomeWording) -> str:
    """An outcome, and what it is beside that: ``FAILED · advice``, ``FAILED · accepted``."""
    return f"{outcome.value} · {shown.name}" if shown in (_ADVICE, _ACCEPTED) else outcome.value


def acceptance(finding: Finding) -> str:
    """Why a finding does not fail, or since when a waiver no longer accepts it; empty for a finding without either."""
    if finding.waiver:
        return waiver_sentence(finding.waiver)
    return "in the baseline" if finding.in_baseline else ""


def waiver_sentence(waiver: FindingWaiver) -> str:
    """Until when a waiver accepts a finding, or since when it does not, and why."""
    reason = f"{f'{waiver.owner}: ' if waiver.owner else ''}{waiver.reason}"
    if waiver.expired:
        return f"the waiver {waiver.name} expired on {waiver.expires} ({reason})"
    return f"waived until {waiver.expires} by {waiver.name} ({reason})"


def acceptances(result: ContractResult) -> list[str]:
    """Why deviations of a contract do not fail, and which waivers have expired, each once."""
    return list(dict.fromkeys(text for finding in result.findings if (text := acceptance(finding))))


def waiver_warning(use: WaiverUse) -> str:
    """What is wrong with a waiver, for a person to act on; empty for one that accepts a failure, or may do so elsewhere."""
    if use.status is WaiverStatus.UNUSED:
        return f"the waiver {use.name} accepts nothing: no failure of {use.waiver.contract} matches it; remove it"
    if use.status is WaiverStatus.EXPIRED:
        number = f"{use.findings} failure{'' if use.findings == 1 else 's'}"
        return f"the waiver {use.name} expired on {use.waiver.expires}: {number} of {use.waiver.contract} no longer accepted"
    return ""


def waiver_warnings(report: ConformanceReport | FleetReport) -> list[str]:
    """What is wrong with the waivers of a report."""
    return [text for use in report.waivers if (text := waiver_warning(use))]


def baseline_sentence(report: ConformanceReport) -> str:
    """What the baseline of a run accepts, and what it has that is gone; empty without one."""
    if not (use := report.baseline):
        return ""
    gone = f"; {use.gone:,} × finding that this run no longer has; write it anew" if use.gone else ""
    return f"baseline {use.file}: {use.accepted:,} × finding accepted{gone}"


def worst(results: Iterable[ContractResult]) -> OutcomeWording:
    """The worst outcome among ``results``, of which there is at least one."""
    return min((wording_of(result) for result in results), key=OUTCOME_WORDINGS.index)


def tally(results: Iterable[ContractResult]) -> dict[OutcomeWording, int]:
    """The number of ``results`` by outcome, worst first, without zeros."""
    found = [wording_of(result) for result in results]
    return {one: found.count(one) for one in OUTCOME_WORDINGS if one in found}


def by_seam(report: ConformanceReport) -> dict[tuple[str, str], list[ContractResult]]:
    """The contracts by seam, in the order of the report; within a seam the worst first."""
    groups: dict[tuple[str, str], list[ContractResult]] = {}
    for result in report.contracts:
        groups.setdefault(result.seam, []).append(result)
    return {
        seam: sorted(results, key=lambda result: OUTCOME_WORDINGS.index(wording_of(result)))
        for seam, results in groups.items()
    }


def seam_name(seam: tuple[str, str]) -> str:
    """``MLflow → KServe``; a single name for a seam within one component."""
    first, second = (NAMES.get(component, component) for component in seam)
    return first if first == second else f"{first} → {second}"


def counts(report: ConformanceReport) -> str:
    """``35 contracts: 2 failed, 1 advice, 30 passed, 2 skipped``."""
    total = len(report.contracts)
    parts = ", ".join(f"{number} {one.word}" for one, number in tally(report.contracts).items())
    return f"{total} contract{'' if total == 1 else 's'}{': ' if parts else ''}{parts}"


def judged_text(result: ContractResult) -> str:
    """When and where a reused result was judged; empty for a result of this run."""
    if not (judged := result.reused):
        return ""
    return f"{judged.at}, on {judged.stack}, by trivet {judged.trivet} on {judged.machine}"


def reuse_sentence(report: ConformanceReport) -> str:
    """How many results were not judged in this run, and when they were; empty if all were."""
    days = sorted(result.reused.at[:10] for result in report.contracts if result.reused)
    if not days:
        return ""
    when = f"on {days[0]}" if days[0] == days[-1] else f"from {days[0]} to {days[-1]}"
    return f"{len(days)} of {len(report.contracts)} results reused, judged {when}"


def verdict_sentence(report: ConformanceReport) -> str:
    """The verdict and its causes: ``2024.11 is not conformant: 3 MUST failed, 1 advice``; for files, whether they fit the stacks."""
    must = {outcome: report.count(outcome, Level.MUST, accepted=False) for outcome in Outcome}
    errors, advice = report.count(Outcome.ERROR), report.count(Outcome.FAILED, Level.SHOULD, accepted=False)
    accepted = sum(result.accepted for result in report.contracts)
    unread = len(report.errors)
    causes = [
        f"{must[Outcome.PASSED]} MUST passed" if report.exit_code == 0 and must[Outcome.PASSED] else "",
        f"{must[Outcome.FAILED]} MUST failed" if must[Outcome.FAILED] else "",
        f"{must[Outcome.INCONCLUSIVE]} MUST inconclusive" if must[Outcome.INCONCLUSIVE] else "",
        f"{errors} error{'s' if errors > 1 else ''}" if errors else "",
        f"{unread} error{'s' if unread > 1 else ''} while reading" if unread else "",
        "no contract was judged" if not report.contracts else "",
        "no MUST passed" if report.contracts and not must[Outcome.PASSED] and report.exit_code == 2 else "",
        f"{advice} advice" if advice else "",
        f"{accepted} accepted" if accepted else "",
    ]
    name = printable(" and ".join(one.name for one in report.stacks) or report.stack.name)
    but = " with accepted failures" if any(one.accepted and one.level is Level.MUST for one in report.contracts) else ""
    if report.target == STATIC:
        opening = (
            f"the files fit {name}{but}",
            f"the files do not fit {name}",
            f"it is inconclusive whether the files fit {name}",
        )
    else:
        opening = (f"{name} is conformant{but}", f"{name} is not conformant", f"{name} is inconclusive")
    return f"{opening[VERDICTS.index(report.verdict)]}: {', '.join(cause for cause in causes if cause)}"


def exit_sentence(report: ConformanceReport) -> str:
    """``exit code 1: a MUST failed``."""
    meaning = "a file could not be read" if report.exit_code == 3 else EXIT_MEANING[report.exit_code]
    return f"exit code {report.exit_code}: {meaning}"


_TERMINAL_SEQUENCES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline
    "\u202a-\u202e\u2066-\u2069"  # bidirectional overrides, which disguise text
    "\ud800-\udfff\ufffe\uffff]"  # lone surrogates, and characters that XML forbids
)


def printable(text: str) -> str:
    """``text`` without terminal sequences, and with U+FFFD for characters that XML, a terminal or UTF-8 does not allow."""
    text = _TERMINAL_SEQUENCES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def code_span(name: str) -> str:
    """``name`` as code in Markdown, also in a table."""
    return f"`{printable(name).replace('`', '').replace('|', '')}`"


_BRIEF = 300
"""Characters of a reason in a summary, which holds 1 MiB."""


def brief(text: str) -> str:
    """``prose`` of the beginning, for a table or a list in the summary of a job."""
    from trivet.render.layout import fit  # loads rich

    return prose(fit(text, _BRIEF))


def prose(text: str) -> str:
    """``text`` for Markdown on one line, in which nothing is markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|@])", r"\\\1", " ".join(printable(text).split()))
