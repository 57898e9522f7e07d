"""Scenarios as text: the list, the plan, and the results. At most 100 columns wide, without control characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trivet.engine.run import not_offered
from trivet.engine.scenarios.choose import Chosen
from trivet.model.scenario import SEVERITY, Scenario, ScenarioReport, ScenarioResult, VariantResult, Verdict
from trivet.model.target import Target
from trivet.render.layout import COLUMNS, Line, Span, entry, fit, line, pad, plain, wrap

STYLES: Mapping[Verdict, str] = {
    Verdict.VULNERABLE: "bold red",
    Verdict.PROTECTED: "green",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.ERROR: "bold magenta",
    Verdict.SKIPPED: "dim",
}
_WIDTH = max(len(verdict) for verdict in Verdict)


def listing(scenarios: Sequence[Scenario], target: Target | None = None) -> str:
    """Every scenario and its variants; variants with a remedy are marked. With a ``target``, also why it cannot play a scenario."""
    rows: list[Line] = []
    for scenario in scenarios:
        rows += [line(Span(fit(scenario.id, COLUMNS), "bold")), *entry("", scenario.title, width=0)]
        for variant in scenario.variants:
            mark = "+" if variant.remedy else " "
            text = f"{variant.text} (extended)" if variant.extended else variant.text
            rows += entry(f"{mark} {variant.name}", text, indent=2, width=30)
        rows += [*_skipped(scenario, target), line()]
    variants = [variant for scenario in scenarios for variant in scenario.variants]
    remedies = sum(variant.remedy for variant in variants)
    count = f"{len(scenarios)} scenario{'' if len(scenarios) == 1 else 's'}"
    return plain([*rows, line(f"{count}, {len(variants)} variants, {remedies} of them with a remedy (+)")])


def planned(
    chosen: Chosen, namespaces: Mapping[str, str], words: Sequence[str] = (), target: Target | None = None
) -> str:
    """The variants to run, and every affected object by verb, kind and name. ``namespaces`` are shown if known.

    With a ``target``, also why it cannot play a scenario.
    """
    rows: list[Line] = [line(text) for word in words for text in wrap(word, COLUMNS)]
    for scenario, variants in chosen:
        budgets = scenario.budgets
        rows += [line(), line(Span(fit(scenario.id, COLUMNS), "bold")), *entry("", scenario.title, width=0)]
        for number, variant in enumerate(variants):
            rows += entry("" if number else "variants", f"{variant.name}: {variant.text}", width=12)
        for number, affected in enumerate(scenario.affected_objects):
            named = f" ({namespaces[affected.namespace]})" if affected.namespace in namespaces else ""
            rows += entry("" if number else "affects", f"{affected}{named}", width=12)
        if not scenario.affected_objects:
            rows += entry("affects", "no object of the cluster", width=12)
        rows += entry(
            "budgets",
            f"per variant {budgets.steady_state:g} s for the steady state, {budgets.symptom:g} s for the symptom, "
            f"{budgets.recovery:g} s for the recovery",
            width=12,
        )
        if scenario.features:
            rows += entry("needs", ", ".join(scenario.features), width=12)
        rows += _skipped(scenario, target)
    return plain(rows)


def _skipped(scenario: Scenario, target: Target | None) -> list[Line]:
    reason = not_offered(dict.fromkeys(("faults", *scenario.clients)), target) if target else ""
    if scenario.unrunnable:
        return entry("ERROR", scenario.unrunnable, width=12)
    return entry("SKIPPED", reason, width=12) if reason else []


def summary(report: ScenarioReport) -> list[Line]:
    """The verdict of every variant with its reason, and the total."""
    rows: list[Line] = []
    for result in report.scenarios:
        head = Span(pad(result.verdict.value, _WIDTH), STYLES[result.verdict])
        rows += [line(head, "  ", Span(fit(result.id, 60), "bold"), f"  {result.seconds:.0f} s")]
        rows += entry("", result.title, width=0)
        for variant in result.variants:
            rows += _variant(variant)
        rows.append(line())
    for error in report.errors:
        rows += entry("error", error, width=8)
    return [*rows, line(sentence(report)), line(f"exit code {report.exit_code}")]


def _variant(variant: VariantResult) -> list[Line]:
    mark = "+" if variant.remedy else " "
    rows = [
        line(
            f"  {mark} ",
            Span(pad(variant.verdict.value, _WIDTH), STYLES[variant.verdict]),
            f"  {fit(variant.name, 60)}",
        )
    ]
    rows += entry("", variant.reason, indent=18, width=0, most=5)
    if variant.contradicted:
        expected = variant.expected.value if variant.expected else ""
        rows += entry("", f"expected: {expected}", indent=18, width=0)
    if alert := alert_of(variant.measured):
        rows += entry("", f"alert: {alert}", indent=18, width=0)
    if variant.cleanup:
        rows += entry("clean up", variant.cleanup, indent=18, width=10)
    return rows


def alert_of(measured: Mapping[str, int | float | str]) -> str:
    """Which alert fired, and when, of what was measured of a variant; empty if nobody looked."""
    seconds = f" after {measured['alert_seconds']:.0f} s" if "alert_seconds" in measured else ""
    return f"{measured['alert']}{seconds}" if "alert" in measured else ""


def sentence(report: ScenarioReport) -> str:
    """``3 scenarios: 2 vulnerable, 1 protected; 5 of 6 remedies protect``."""
    verdicts = [result.verdict for result in report.scenarios]
    parts = [f"{verdicts.count(one)} {one.value.lower()}" for one in Verdict if one in verdicts]
    remedies = [variant for result in report.scenarios for variant in result.variants if variant.remedy]
    good = sum(variant.verdict is Verdict.PROTECTED for variant in remedies)
    count = f"{len(verdicts)} scenario{'' if len(verdicts) == 1 else 's'}"
    tail = f"; {good} of {len(remedies)} remedies protect" if remedies else ""
    return f"{count}: {', '.join(parts) or 'none was run'}{tail}"


def mood(verdict: Verdict) -> str:
    """The CSS class of a verdict."""
    return {
        Verdict.VULNERABLE: "failed",
        Verdict.PROTECTED: "passed",
        Verdict.INCONCLUSIVE: "inconclusive",
        Verdict.ERROR: "error",
        Verdict.SKIPPED: "skipped",
    }[verdict]


def symbol(verdict: Verdict) -> str:
    """A symbol that distinguishes verdicts without colour."""
    return {
        Verdict.VULNERABLE: "✕",
        Verdict.PROTECTED: "✓",
        Verdict.INCONCLUSIVE: "?",
        Verdict.ERROR: "!",
        Verdict.SKIPPED: "–",
    }[verdict]


def worst_first(results: Sequence[ScenarioResult]) -> list[ScenarioResult]:
    """The results, worst first."""
    return sorted(results, key=lambda result: SEVERITY.index(result.verdict))
