"""Sentences on an upgrade that every format shares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trivet.model.difference import ComponentChange
from trivet.model.verdict import FileBreak, Incompatibility, Mix, Suspect, UpgradeStep, UpgradeVerdict
from trivet.render.wording import NAMES

STEP_NAMES = {
    "tracking": "MLflow server",
    "kserve": "KServe",
    "runtime": "serving runtime",
    "trainer": "trainer",
    "sdk": "KFP SDK",
}
"""Display names of the steps."""

COMPONENT_NAMES = {**NAMES, "mlserver": "MLServer"}
"""Display names of what a step changes; packages keep their own."""


def step_name(step: str) -> str:
    """``MLflow server``."""
    return STEP_NAMES.get(step, step)


def newly_fails(one: FileBreak) -> str:
    """``newly fails with the step MLflow server``."""
    return f"newly fails {f'with the step {step_name(one.step)}' if one.step else 'in the new stack'}"


def further_ones(number: int) -> str:
    """`` and 639 more``; empty for none."""
    return f" and {number:,} more" if number else ""


def listed(names: Sequence[str]) -> str:
    """``MLflow server, trainer and KFP SDK``."""
    *rest, last = map(step_name, names)
    return f"{', '.join(rest)} and {last}" if rest else last


def change(component: ComponentChange) -> str:
    """``MLflow 2.17.2 → 3.17.2``."""
    name = COMPONENT_NAMES.get(component.name, component.name)
    return f"{name} {component.before or 'none'} → {component.after or 'none'}"


def changes(step: UpgradeStep) -> str:
    """The versions that a step changes."""
    return ", ".join(map(change, step.components)) or "other packages"


def mix_name(mix: Mix | Sequence[str]) -> str:
    """What is new in a mix."""
    upgraded = mix.upgraded if isinstance(mix, Mix) else mix
    return f"{listed(upgraded)} upgraded" if upgraded else "nothing upgraded"


def suspect(pair: Suspect) -> str:
    """``the new trainer (MLflow client 3.17.2) with the old MLflow server (MLflow 2.17.2)``."""
    if not pair.new:
        return "the new stack itself"
    new = f"the new {step_name(pair.new)}{_version(pair.new_component, pair.new_version)}"
    if not pair.old:
        return f"{new} itself"
    return f"{new} with the old {step_name(pair.old)}{_version(pair.old_component, pair.old_version)}"


def _version(component: str, version: str) -> str:
    return f" ({COMPONENT_NAMES.get(component, component)} {version})" if version else ""


def suspects(one: Incompatibility) -> str:
    """The pairs that explain a failure; those that cannot be told apart are joined by ``or``."""
    return " or ".join(map(suspect, one.suspects)) or "no single pair of components explains it"


def judged(report: UpgradeVerdict, contract: str) -> str:
    """When kept results show that a contract fails: ``kept results of 2026-11-29 and 2026-11-30``; empty if all are of this call."""
    days = sorted(
        {one.judged[:10] for mix in report.mixes for one in mix.failures if one.contract == contract and one.judged}
    )
    return f"kept results of {' and '.join(dict.fromkeys((days[0], days[-1])))}" if days else ""


def outcome(mix: Mix) -> str:
    """What was found in a mix, and how: ``conformant, 49 MUST passed; 12 judged, 51 reused, 38 s``."""
    if mix.impossible:
        return f"cannot be composed: {mix.error}"
    if mix.error:
        return f"not judged: {mix.error}"
    if mix.known_to_fail:
        return f"not conformant, known from {mix.reused} kept results, so that it was not run"
    failed = f"{len(mix.failures)} MUST failed" if mix.exit_code == 1 else f"{mix.passed} MUST passed"
    seconds = f", {mix.seconds:.0f} s" if mix.judged else ""
    return f"{mix.verdict}, {failed}; {mix.judged} judged, {mix.reused} reused{seconds}"


def sentence(report: UpgradeVerdict) -> str:
    """The verdict and its cause."""
    names = f"{report.old.name} → {report.new.name}"
    broken = _broken(report)
    if report.exit_code == 0:
        return f"{names}: nothing breaks in this order: {', then '.join(map(step_name, report.order))}"
    if broken:
        safe = "; the stacks themselves have a safe order" if report.order else ""
        return f"{names}: {broken} newly break{safe}"
    if report.exit_code == 1:
        whole = report.mix(tuple(step.name for step in report.steps))
        if whole and whole.refused:
            return f"{names}: the new stack itself is not conformant"
        return f"{names}: no order of single steps is safe"
    return f"{names}: inconclusive"


def _broken(report: UpgradeVerdict) -> str:
    models = sum(one.after == "breaks" for one in report.models.changes) if report.models else 0
    files = len(report.files.breaks) if report.files else 0
    parts = [
        f"{files} contract{'' if files == 1 else 's'} over the files" if files else "",
        f"{models} models" if models else "",
    ]
    return " and ".join(part for part in parts if part)


def remedies(report: UpgradeVerdict) -> Iterator[str]:
    """What opens an order, where none is safe: components to upgrade together, and what the failing contracts advise."""
    if report.order or report.exit_code == 0:
        return
    for group in report.together:
        if len(group) > 1:
            yield f"upgrade {listed(group)} together, in one maintenance window: no mix in between is known to be conformant"
    for one in report.incompatibilities:
        if not one.before:
            yield f"{one.contract}: {one.remedy}"


def cost(report: UpgradeVerdict) -> str:
    """What was run, what was reused, and how long it took."""
    seconds = report.provenance.seconds
    took = f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
    run = sum(bool(mix.judged) for mix in report.mixes)
    return f"{len(report.mixes)} mixes, {run} of them run; {report.judged} results judged, {report.reused} reused, in {took}"


def order_rows(report: UpgradeVerdict) -> Iterator[tuple[tuple[str, ...], Mix | None]]:
    """The groups of steps of the order that is shown, a step each where it is safe, with the mix after each."""
    taken: tuple[str, ...] = ()
    for group in [(step,) for step in report.order] or report.together:
        taken = (*taken, *group)
        yield group, report.mix(taken)
