"""Contracts as text: the list, the plan, and the explanation of one. At most 100 columns wide, without control characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from trivet.engine.plan import Plan
from trivet.model.contract import Contract
from trivet.model.stack import Stack
from trivet.render.layout import COLUMNS, Line, Span, entry, fit, line, pad, plain, wrap
from trivet.render.wording import NAMES, seam_name

_LEVEL = 6


def explain(contract: Contract) -> str:
    """The declaration of a contract in full."""
    applies = ", ".join(f"{NAMES.get(name, name)} {given}" for name, given in contract.versions.items())
    observes = ", ".join(name.replace("_", " ") for name in contract.wants)
    rows = [
        line(Span(fit(contract.id, COLUMNS), "bold")),
        *(line(text) for text in wrap(contract.title, COLUMNS)),
        line(),
        *entry("level", contract.level.value),
        *entry("seam", seam_name(contract.seam)),
        *entry("applies", applies or "to every version"),
        *entry("observes", observes),
        *(entry("needs", ", ".join(contract.features)) if contract.features else []),
        *entry("lint", _lint(contract)),
        *entry("since", contract.since),
        *entry("error", contract.unrunnable),
    ]
    for label, text in (("why", contract.rationale), ("remedy", contract.remedy)):
        rows += [line(), *entry(label, text)]
    rows += [line()] if contract.sources else []
    for number, source in enumerate(contract.sources):
        rows += entry("" if number else "sources", source)
    return plain(rows)


def _lint(contract: Contract) -> str:
    if contract.static:
        return "yes: judges files, without starting anything"
    if contract.declared:
        return "no: judges what the stack declares, without starting anything; trivet plan shows it"
    return "no: needs a running stack"


def listing(contracts: Sequence[Contract]) -> str:
    """The contracts by seam: level, id, title, and a mark on those that ``trivet lint`` can judge."""
    return plain(
        [*_table(contracts, {}), line(), line(f"{_number(contracts)}; * also judged by trivet lint, from files")]
    )


def planned(
    plan: Plan, stack: Stack, starts: Sequence[str] = (), failing: Mapping[str, str] = MappingProxyType({})
) -> str:
    """What a run would start and judge: as :func:`listing`, with the reason for each contract that will be skipped, or is known to fail by
    what the stack declares (``failing``).
    """
    components = " · ".join(f"{NAMES.get(name, name)} {version}" for name, version in stack.components.items())
    name = fit(stack.name, COLUMNS // 2)
    head = [line(Span(name, "bold"), "  ", fit(stack.title, COLUMNS // 2 - 2))]
    head += [line(text) for text in wrap(f"{components}\nprofile {plan.profile}", COLUMNS)]
    head += (
        [line(), *entry("starts", starts[0]), *(one for start in starts[1:] for one in entry("", start))]
        if starts
        else []
    )
    broken = sum(bool(contract.unrunnable) for contract in plan.contracts)
    judged = len(plan.contracts) - len(plan.not_applicable) - broken
    foot = f"{_number(plan.contracts)}: {judged} to judge, {len(plan.not_applicable)} to skip"
    foot += f", {broken} that cannot run" if broken else ""
    foot += f", {len(failing)} that fail by what the stack declares" if failing else ""
    return plain([*head, line(), *_table(plan.contracts, plan.not_applicable, failing), line(), line(foot)])


def _number(contracts: Sequence[Contract]) -> str:
    return f"{len(contracts)} contract{'' if len(contracts) == 1 else 's'}"


def _table(
    contracts: Sequence[Contract], skipped: Mapping[str, str], failing: Mapping[str, str] = MappingProxyType({})
) -> list[Line]:
    groups: dict[tuple[str, str], list[Contract]] = {}
    for contract in contracts:
        groups.setdefault(contract.seam, []).append(contract)
    rows: list[Line] = []
    for seam, members in groups.items():
        rows += [line()] if rows else []
        rows.append(line(Span(fit(seam_name(seam), COLUMNS), "bold")))
        for contract in members:
            mark = "*" if contract.static else " "
            rows.append(line(f"{mark} {pad(contract.level.value, _LEVEL)}  ", fit(contract.id, COLUMNS - _LEVEL - 4)))
            if contract.unrunnable:
                text = f"cannot run: {contract.unrunnable}"
            elif contract.id in failing:
                text = f"fails: {failing[contract.id]}"
            else:
                text = f"skipped: {skipped[contract.id]}" if contract.id in skipped else contract.title
            rows += [line(" " * (_LEVEL + 4), Span(one, "dim")) for one in wrap(text, COLUMNS - _LEVEL - 4)]
    return rows
