"""Scenarios on the terminal: the list, the plan, and what became of them. At most 100 columns wide, without control characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trivet.engine.scenarios.choose import Chosen
from trivet.model.scenario import SEVERITY, Scenario, ScenarioReport, ScenarioResult, VariantResult, Verdict
from trivet.render.layout import COLUMNS, Line, Span, entry, fit, line, pad, plain, wrap

STYLES: Mapping[Verdict, str] = {
    Verdict.VULNERABLE: "bold red",
    Verdict.PROTECTED: "green",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.ERROR: "bold magenta",
    Verdict.SKIPPED: "dim",
}
_WIDTH = max(len(verdict) for verdict in Verdict)


def listing(scenarios: Sequence[Scenario]) -> str:
    """Every scenario with its variants; those with a remedy are marked."""
    said: list[Line] = []
    for scenario in scenarios:
        said += [line(Span(fit(scenario.id, COLUMNS), "bold")), *entry("", scenario.title, width=0)]
        for variant in scenario.variants:
            mark = "+" if variant.remedy else " "
            text = f"{variant.text} (further)" if variant.extended else variant.text
            said += entry(f"{mark} {variant.name}", text, indent=2, width=30)
        said.append(line())
    variants = [variant for scenario in scenarios for variant in scenario.variants]
    remedies = sum(variant.remedy for variant in variants)
    count = f"{len(scenarios)} scenario{'' if len(scenarios) == 1 else 's'}"
    return plain([*said, line(f"{count}, {len(variants)} variants, {remedies} of them with a remedy (+)")])


def planned(chosen: Chosen, namespaces: Mapping[str, str], words: Sequence[str] = ()) -> str:
    """What would be played and touched: every object by verb, kind and name. ``namespaces`` are shown where they are known."""
    said: list[Line] = [line(text) for word in words for text in wrap(word, COLUMNS)]
    for scenario, variants in chosen:
        budgets = scenario.budgets
        said += [line(), line(Span(fit(scenario.id, COLUMNS), "bold")), *entry("", scenario.title, width=0)]
        for number, variant in enumerate(variants):
            said += entry("" if number else "variants", f"{variant.name}: {variant.text}", width=12)
        for number, touch in enumerate(scenario.affected_objects):
            named = f" ({namespaces[touch.namespace]})" if touch.namespace in namespaces else ""
            said += entry("" if number else "touches", f"{touch}{named}", width=12)
        if not scenario.affected_objects:
            said += entry("touches", "no object of the cluster", width=12)
        said += entry(
            "budgets",
            f"for each variant {budgets.steady_state:g} s until its steady state, {budgets.symptom:g} s for the symptom, "
            f"{budgets.recovery:g} s for the recovery",
            width=12,
        )
        if scenario.features:
            said += entry("needs", ", ".join(scenario.features), width=12)
    return plain(said)


def summary(report: ScenarioReport) -> list[Line]:
    """What became of every variant, why, and what that says."""
    said: list[Line] = []
    for result in report.scenarios:
        head = Span(pad(result.verdict.value, _WIDTH), STYLES[result.verdict])
        said += [line(head, "  ", Span(fit(result.id, 60), "bold"), f"  {result.seconds:.0f} s")]
        said += entry("", result.title, width=0)
        for variant in result.variants:
            said += _variant(variant)
        said.append(line())
    return [*said, line(sentence(report)), line(f"exit code {report.exit_code}")]


def _variant(variant: VariantResult) -> list[Line]:
    mark = "+" if variant.remedy else " "
    said = [
        line(
            f"  {mark} ",
            Span(pad(variant.verdict.value, _WIDTH), STYLES[variant.verdict]),
            f"  {fit(variant.name, 60)}",
        )
    ]
    said += entry("", variant.reason, indent=18, width=0, most=5)
    if variant.contradicted:
        expected = variant.expected.value if variant.expected else ""
        said += entry("", f"the catalogue says {expected}", indent=18, width=0)
    if variant.cleanup:
        said += entry("clean up", variant.cleanup, indent=18, width=10)
    return said


def sentence(report: ScenarioReport) -> str:
    """``3 scenarios: 2 vulnerable, 1 protected; 5 of 6 remedies protect``."""
    verdicts = [result.verdict for result in report.scenarios]
    parts = [f"{verdicts.count(one)} {one.value.lower()}" for one in Verdict if one in verdicts]
    remedies = [variant for result in report.scenarios for variant in result.variants if variant.remedy]
    good = sum(variant.verdict is Verdict.PROTECTED for variant in remedies)
    count = f"{len(verdicts)} scenario{'' if len(verdicts) == 1 else 's'}"
    tail = f"; {good} of {len(remedies)} remedies protect" if remedies else ""
    return f"{count}: {', '.join(parts) or 'nothing was played'}{tail}"


def mood(verdict: Verdict) -> str:
    """A verdict as the class of its colours."""
    return {
        Verdict.VULNERABLE: "failed",
        Verdict.PROTECTED: "passed",
        Verdict.INCONCLUSIVE: "inconclusive",
        Verdict.ERROR: "error",
        Verdict.SKIPPED: "skipped",
    }[verdict]


def symbol(verdict: Verdict) -> str:
    """A sign that tells verdicts apart without colour."""
    return {
        Verdict.VULNERABLE: "✕",
        Verdict.PROTECTED: "✓",
        Verdict.INCONCLUSIVE: "?",
        Verdict.ERROR: "!",
        Verdict.SKIPPED: "–",
    }[verdict]


def worst_first(results: Sequence[ScenarioResult]) -> list[ScenarioResult]:
    """The results in the order in which somebody should look at them."""
    return sorted(results, key=lambda result: SEVERITY.index(result.verdict))
