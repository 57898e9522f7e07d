"""Choosing: which contracts a run will judge, and why some of them will not apply."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from trivet.engine.outcomes import observed
from trivet.engine.registry import Registry
from trivet.engine.required import required_features
from trivet.engine.run import not_offered, outside_versions
from trivet.errors import UsageError, unknown
from trivet.model.contract import Contract
from trivet.model.outcome import Outcome
from trivet.model.platform_config import platform_of
from trivet.model.redaction import redact
from trivet.model.stack import Stack
from trivet.model.target import Target

PROFILES: Mapping[str, Callable[[Contract, Registry], bool]] = {
    "core": lambda contract, registry: not contract.features and registry.core_clients.issuperset(contract.clients),
    "cluster": lambda contract, registry: True,
    "static": lambda contract, registry: contract.static,
}
"""``core``: what every target that comes with trivet can show, by the clients that they declare. ``cluster``: everything registered.
``static``: what can be judged from files alone, as ``trivet lint`` does. A contract that no target can judge is in all of them, so that
it is an ERROR of the report and not missing."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The contracts of a run in order, and for those that will be skipped the reason by id."""

    profile: str
    contracts: Sequence[Contract]
    not_applicable: Mapping[str, str]


def make_plan(
    registry: Registry,
    *,
    profile: str,
    stack: Stack,
    target: Target | None = None,
    patterns: Sequence[str] = (),
    features: Sequence[str] = (),
) -> Plan:
    """The contracts of ``profile`` whose id matches one of ``patterns`` (shell-style; all when empty), and what ``target`` will skip.

    With ``features`` that are required, the contract that the target has them comes first, whatever the patterns.
    Raises UsageError for a profile or a pattern that matches nothing, since an empty plan proves nothing, and for an unknown feature.
    """
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    chosen = [
        contract
        for contract in registry.contracts.values()
        if contract.unrunnable or PROFILES[profile](contract, registry)
    ]
    for pattern in patterns:
        if not any(fnmatchcase(contract.id, pattern) for contract in chosen):
            raise unknown("contract", pattern, [contract.id for contract in chosen])
    if patterns:
        chosen = [contract for contract in chosen if any(fnmatchcase(contract.id, pattern) for pattern in patterns)]
    if not chosen:
        raise UsageError(f"the profile {profile!r} holds no contract", remedy="install or name a plugin that has some")
    if features:
        chosen = [required_features(features), *chosen]
    skipped = {contract.id: reason for contract in chosen if (reason := _skips(contract, stack, target))}
    return Plan(profile=profile, contracts=chosen, not_applicable=skipped)


def declared_failures(plan: Plan, stack: Stack) -> Mapping[str, str]:
    """Why contracts of ``plan`` that read nothing but what ``stack`` declares fail, by id."""
    given = {"stack": stack, "platform": platform_of(stack)}
    failures: dict[str, str] = {}
    for contract in plan.contracts:
        if contract.declared and not contract.unrunnable and contract.id not in plan.not_applicable:
            found = observed(contract, {name: given[name] for name in contract.wants})
            failed = [one.message for one in found if one.outcome is Outcome.FAILED]
            if failed:
                failures[contract.id] = redact("; ".join(failed))
    return failures


def _skips(contract: Contract, stack: Stack, target: Target | None) -> str:
    if contract.unrunnable:
        return ""
    return outside_versions(contract, stack) or (not_offered(contract.clients, target) if target else "")
