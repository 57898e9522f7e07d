"""Kept results: the result of one contract with everything that it rests on. ``trivet.engine.results_store`` keeps them in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trivet.model.report import ContractResult, Judged

RESULTS_VERSION = "trivet.dev/results/v1alpha1"
KEPT_RESULT, RESULTS_STORE = "KeptResult", "ResultsStore"


@dataclass(frozen=True, kw_only=True)
class ResultInputs:
    """What the results of a target's contracts rest on, besides the contracts' own code.

    ``parts`` maps each client and static subject that the target offers, and ``features``, to the parts of the stack behind it, by the
    names of ``trivet.stacks.parts``, such as ``roles.trainer``. ``options`` are the target's settings that change what is judged, and
    ``code`` the packages and modules with which it makes its clients. ``momentary`` are clients whose answers are those of a moment, such
    as measurements under traffic: the results of contracts that request one are not kept.
    """

    parts: Mapping[str, tuple[str, ...]]
    options: Mapping[str, str] = field(default_factory=dict)
    code: tuple[str, ...] = ()
    momentary: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class KeptResult:
    """One result of a contract, as it is kept.

    ``inputs`` names everything that was known before the check ran, and ``read`` the parts of the stack that the check itself read, each
    with its SHA-256 or its value: with equal ones the check would give the same result. ``components`` are those of the stack in which it
    was judged.
    """

    contract: str
    inputs: Mapping[str, str]
    read: Mapping[str, str]
    components: Mapping[str, str]
    judged: Judged
    result: ContractResult
    apiVersion: str = RESULTS_VERSION  # noqa: N815 - the Kubernetes API convention for versioned objects
    kind: str = KEPT_RESULT
