"""The catalogue as pages in Markdown: one per scenario, an index, and the ledger of published claims. Generated; the tests compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from trivet.errors import UsageError
from trivet.model.scenario import Scenario, ScenarioReport, VariantResult
from trivet.render.timeline import svg
from trivet.render.wording import printable

MEASURED = "scenarios/measured.json"
"""The report that the pages show, beside them: what was seen last."""


def pages(scenarios: Sequence[Scenario], measured: ScenarioReport | None) -> Mapping[str, str]:
    """Path below ``docs`` → text, the drawings included. Without a report the pages say what is expected, and nothing of what was seen."""
    seen = {
        (result.id, one.name): one for result in (measured.scenarios if measured else ()) for one in result.variants
    }
    where = _where(measured)
    found = {"scenarios/README.md": _index(scenarios), "claims.md": _ledger(scenarios, seen, where)}
    for scenario in scenarios:
        found[f"scenarios/{scenario.id}.md"] = _page(scenario, seen, where)
        for variant in scenario.variants:
            result = seen.get((scenario.id, variant.name))
            if result and result.timeline:
                title = f"{scenario.id} {variant.name}: {result.verdict.value}"
                found[f"scenarios/{scenario.id}.{variant.name}.svg"] = svg(result.timeline, title) + "\n"
    return found


def kept(report: ScenarioReport, scenarios: Sequence[Scenario]) -> ScenarioReport:
    """What of ``report`` is kept beside the pages: not the evidence, which they do not show, nor variants that there are no more."""
    known = {(scenario.id, variant.name) for scenario in scenarios for variant in scenario.variants}
    results = (
        replace(
            result,
            variants=tuple(replace(one, evidence=()) for one in result.variants if (result.id, one.name) in known),
        )
        for result in report.scenarios
    )
    return replace(report, scenarios=tuple(result for result in results if result.variants))


def merged(reports: Sequence[ScenarioReport]) -> ScenarioReport:
    """One report of all: of a variant that was played more than once, what came last. Raises UsageError when the stacks differ."""
    *_, last = reports
    strangers = sorted({one.stack.name for one in reports if one.stack.digest != last.stack.digest})
    if strangers:
        raise UsageError(
            f"reports on different stacks do not make one: {', '.join(strangers)} beside {last.stack.name}, or an earlier state of it",
            remedy=f"remove the earlier {MEASURED}, or name reports on one stack",
        )
    variants: dict[str, dict[str, VariantResult]] = {}
    heads = {}
    for result in (result for report in reports for result in report.scenarios):
        variants.setdefault(result.id, {}).update({one.name: one for one in result.variants})
        heads[result.id] = result
    return replace(
        last,
        scenarios=tuple(replace(head, variants=tuple(variants[name].values())) for name, head in heads.items()),
    )


_Seen = Mapping[tuple[str, str], VariantResult]


def _index(scenarios: Sequence[Scenario]) -> str:
    rows = [f"| [{_cell(one.title)}]({one.id}.md) | `{one.id}` | {len(one.variants)} |" for one in scenarios]
    return _text(
        "# Scenarios",
        "Incidents made executable. `trivet scenario run ID --target kind` plays one on a cluster of trivet's own, `trivet scenario plan` "
        "shows what it would touch. Which published claims about them hold is in [the ledger](../claims.md).",
        "\n".join(["| incident | id | variants |", "|---|---|---|", *rows]),
    )


def _page(scenario: Scenario, seen: _Seen, where: str) -> str:
    rows = []
    drawings = []
    for variant in scenario.variants:
        result = seen.get((scenario.id, variant.name))
        expected = variant.expected.value.lower() if variant.expected else "depends"
        said = f"{result.verdict.value.lower()}: {result.reason}" if result else "not yet"
        kind = "remedy" if variant.remedy else ""
        rows.append(f"| `{variant.name}` | {_cell(variant.text)} | {kind} | {expected} | {_cell(said)} |")
        if result and result.timeline and result.timeline.seconds:
            drawings.append(
                f"![{variant.name} over time]({scenario.id}.{variant.name}.svg)\n\n`{variant.name}`: {_cell(result.reason)}"
            )
    table = "\n".join(["| variant | what | | known | seen |", "|---|---|---|---|---|", *rows])
    claims = "\n".join(f"* “{claim.text}” {_verdict(claim.holds)}: {claim.found}." for claim in scenario.claims)
    return _text(
        f"# {scenario.title}",
        f"`{scenario.id}`",
        f"**What happens.** {scenario.happens}",
        f"**How to recognise it.** {scenario.recognise}",
        f"**What fixes it.** {scenario.remedy}",
        "## Variants",
        *([where] if where else []),
        table,
        *drawings,
        *(["## Published claims", claims] if claims else []),
        "## What it touches",
        "\n".join(f"* {touch}" for touch in scenario.touches) or "No object of the cluster.",
        "## Sources",
        "\n".join(f"* {source}" for source in scenario.sources),
    )


def _ledger(scenarios: Sequence[Scenario], seen: _Seen, where: str) -> str:
    parts = []
    for scenario in scenarios:
        for claim in scenario.claims:
            observed = [
                f"* `{scenario.id}[{name}]` {result.verdict.value.lower()}: {_cell(result.reason)}"
                for name in claim.variants
                if (result := seen.get((scenario.id, name)))
            ]
            parts += [
                f"## “{claim.text}”",
                f"{_verdict(claim.holds).capitalize()}: {claim.found}. See [{scenario.title}](scenarios/{scenario.id}.md).",
                "\n".join(observed) or "No run has shown it yet.",
            ]
    return _text(
        "# Published claims, and what was seen",
        "What is said about incidents, and the runs that show whether it is so.",
        *([where] if where else []),
        *parts,
    )


def _where(measured: ScenarioReport | None) -> str:
    if measured is None:
        return ""
    parts = ", ".join(f"{name} {version}" for name, version in measured.stack.components.items())
    return (
        f"Seen on {measured.provenance.started[:10]}, target {measured.target}, stack {measured.stack.name}: {parts}."
    )


def _verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold"


def _cell(text: str) -> str:
    return " ".join(printable(text).replace("|", "\\|").replace("<", "&lt;").split())


def _text(*paragraphs: str) -> str:
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"
