"""The verdict on one model by the static contracts over its directory, for registered versions and for what services serve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from trivet.engine.acceptance import Waivers
from trivet.engine.outcomes import observed
from trivet.engine.run import outside_versions
from trivet.errors import TrivetError, UsageError
from trivet.model.contract import Contract
from trivet.model.finding import Finding, Location
from trivet.model.fleet import FleetMember, ModelReason, ModelVerdict
from trivet.model.outcome import Level, Outcome
from trivet.model.platform_config import platform_of
from trivet.model.redaction import redact
from trivet.model.report import STATIC, ContractResult
from trivet.model.stack import Stack
from trivet.model.subjects import ModelDirectory
from trivet.toolkit.remembered import remembering

SUPPORTED = "environment.loading_is_supported"
"""The contract whose failure means that a library does not support loading the model, though nothing is seen that breaks."""

Described = TypeVar("Described", bound=FleetMember)


class ModelJudge:
    """Those of ``contracts`` that judge a model directory on ``stack``, and the waivers about them. Raises UsageError when none does."""

    def __init__(self, contracts: Iterable[Contract], stack: Stack, waivers: Waivers) -> None:
        self._contracts = judging("model_directory", contracts, stack)
        if not self._contracts:
            raise UsageError(
                "none of the chosen contracts judges a model directory on this stack",
                remedy="`trivet list` has all; --contract chooses among them",
            )
        self._declared = {"stack": stack, "platform": platform_of(stack)}
        self._waivers = waivers
        self._about = {one.id: waivers.about(one.id, stack=stack.name, target=STATIC) for one in self._contracts}

    def judged(self, described: Described, model: ModelDirectory | TrivetError) -> Described:
        """``described`` with the verdict on its model; unknown for the error because of which the model could not be read.

        The object of a waiver is the URI of ``described``.
        """
        if isinstance(model, TrivetError):
            return replace(described, verdict=ModelVerdict.UNKNOWN, reasons=(reason_of_error(model),))
        matching: list[str] = []
        findings = []
        with remembering():
            for contract in self._contracts:
                given = {name: self._declared.get(name, model) for name in contract.wants}
                for finding in observed(contract, given, model.at):
                    names = self._matching(contract, finding, described.uri)
                    matching += names
                    findings.append((contract, self._waivers.waived(finding, names)))
        verdict = _verdict(findings)
        left = [pair for pair in findings if not pair[1].accepted]
        deciding = [pair for pair in findings if _decides(verdict, *pair)]
        others = {contract.id: None for contract, finding in findings if finding.outcome.deviates}
        return replace(
            described,
            verdict=verdict,
            flavors=tuple(map(str, model.mlmodel["flavors"])),
            writer=str(model.mlmodel.get("mlflow_version") or ""),
            reasons=tuple(_reason(*pair, model) for pair in deciding),
            not_accepted=_verdict(left) if len(left) < len(findings) else None,
            waivers=tuple(matching),
            advice=tuple(name for name in others if name not in {contract.id for contract, _ in deciding}),
        )

    def _matching(self, contract: Contract, finding: Finding, uri: str) -> list[str]:
        """The names of the waivers that match a finding on the model ``uri``."""
        if not (about := self._about[contract.id]):
            return []
        location = replace(finding.location or Location(), object=uri)
        return self._waivers.matching(about, replace(finding, location=location))


def judging(subject: str, contracts: Iterable[Contract], stack: Stack) -> list[Contract]:
    """Those of ``contracts`` that judge files of the kind ``subject`` on ``stack``."""
    return [one for one in contracts if one.static and one.subject == subject and not outside_versions(one, stack)]


def reason_of_error(error: TrivetError) -> ModelReason:
    """Why something could not be judged."""
    return ModelReason(
        contract="",
        level=Level.MUST,
        outcome=Outcome.ERROR,
        message=redact(error.message),
        remedy=redact(error.remedy),
    )


def _verdict(findings: Sequence[tuple[Contract, Finding]]) -> ModelVerdict:
    """The worst verdict that a finding decides; without a MUST that passed it is unknown."""
    for verdict in (ModelVerdict.BREAKS, ModelVerdict.UNKNOWN, ModelVerdict.UNSUPPORTED):
        if any(_decides(verdict, contract, finding) for contract, finding in findings):
            return verdict
    passed = any(contract.level is Level.MUST and finding.outcome is Outcome.PASSED for contract, finding in findings)
    return ModelVerdict.FINE if passed else ModelVerdict.UNKNOWN


def _decides(verdict: ModelVerdict, contract: Contract, finding: Finding) -> bool:
    """Whether a finding alone makes a model's verdict at least as bad as ``verdict``, and is of that kind."""
    match verdict:
        case ModelVerdict.BREAKS:
            return contract.level is Level.MUST and finding.outcome is Outcome.FAILED
        case ModelVerdict.UNKNOWN:
            binding = contract.level is Level.MUST or contract.id == SUPPORTED
            return finding.outcome is Outcome.ERROR or (binding and finding.outcome is Outcome.INCONCLUSIVE)
        case ModelVerdict.UNSUPPORTED:
            return contract.id == SUPPORTED and finding.outcome is Outcome.FAILED
    return False


def reason_of(finding: Finding, contract: Contract | ContractResult, place: str = "") -> ModelReason:
    """A finding of ``contract``, or of its result in a report, as a reason."""
    return ModelReason(
        contract=contract.id,
        level=contract.level,
        outcome=finding.outcome,
        message=redact(finding.message),
        remedy=redact(finding.remedy or contract.remedy),
        place=place,
        waiver=finding.waiver,
    )


def _reason(contract: Contract, finding: Finding, model: ModelDirectory) -> ModelReason:
    prefix = f"{model.path}/"
    place = str(finding.location) if finding.location else ""
    bare = replace(finding, message=finding.message.replace(prefix, ""), remedy=finding.remedy.replace(prefix, ""))
    return reason_of(bare, contract, place.removeprefix(prefix))
