"""Choosing: which contracts a run will judge, and why some of them will not apply."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from trivet.engine.run import outside_versions
from trivet.errors import UsageError, unknown
from trivet.model.contract import Contract
from trivet.model.stack import Stack

CLUSTER_CLIENTS = ("cluster", "traffic", "metrics", "rollout")
"""Clients that only a cluster has."""

PROFILES: Mapping[str, Callable[[Contract], bool]] = {
    "core": lambda contract: not contract.features and not set(contract.wants) & set(CLUSTER_CLIENTS),
    "cluster": lambda contract: True,
    "static": lambda contract: contract.static,
}
"""``core``: what every live target can show. ``cluster``: everything registered. ``static``: what can be judged from files alone, as
``trivet lint`` does."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The contracts of a run in order, and for those that will be skipped the reason by id."""

    profile: str
    contracts: Sequence[Contract]
    not_applicable: Mapping[str, str]


def make_plan(contracts: Mapping[str, Contract], *, profile: str, stack: Stack, patterns: Sequence[str] = ()) -> Plan:
    """The contracts of ``profile`` whose id matches one of ``patterns`` (shell-style; all when empty).

    Raises UsageError for a profile or a pattern that matches nothing: an empty plan would be judged conformant by nobody.
    """
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    chosen = [contract for contract in contracts.values() if PROFILES[profile](contract)]
    for pattern in patterns:
        if not any(fnmatchcase(contract.id, pattern) for contract in chosen):
            raise unknown("contract", pattern, [contract.id for contract in chosen])
    if patterns:
        chosen = [contract for contract in chosen if any(fnmatchcase(contract.id, pattern) for pattern in patterns)]
    if not chosen:
        raise UsageError(f"the profile {profile!r} holds no contract", remedy="install or name a plugin that has some")
    skipped = {contract.id: reason for contract in chosen if (reason := outside_versions(contract, stack))}
    return Plan(profile=profile, contracts=chosen, not_applicable=skipped)
