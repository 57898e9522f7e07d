"""Findings: the observations of a check, each with an outcome, and optionally a location, evidence and a remedy."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from trivet.model.outcome import Outcome
from trivet.model.redaction import redact
from trivet.model.waiver import FindingWaiver


@dataclass(frozen=True, kw_only=True)
class Location:
    """A line of a file (1-based) or an object of the platform, such as ``InferenceService/recommendation-classifier``."""

    file: str | None = None
    line: int | None = None
    object: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return " ".join(part for part in (place, self.object) if part)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A redacted, content-addressed text that proves a finding. ``kind`` is one of log, http, manifest, table, text."""

    name: str
    kind: str
    text: str
    sha256: str


@dataclass(frozen=True)
class Replacement:
    """A mechanical remedy: on the line of the finding the word ``old``, which stands there once, becomes ``new``."""

    old: str
    new: str


@dataclass(unsafe_hash=True, kw_only=True)
class Finding:
    """One observation of a check. ``fix`` is what ``trivet lint --fix`` may do about it.

    ``transient`` marks what an error of the machine or of a connection caused, such as a full disk: the next run may observe something
    else. ``stack`` names the stack that the file was judged by; empty for that of the report, which is the only one unless the settings
    of lint have a stack per path. The engine sets ``contract``, the ``waiver`` that matches, and whether the finding is ``in_baseline``.

    Nothing changes one. It is not frozen, since that takes three times as long to make, and lint makes some twenty for each manifest.
    """

    outcome: Outcome
    message: str
    contract: str = ""
    location: Location | None = None
    evidence: tuple[Evidence, ...] = ()
    remedy: str = ""
    fix: Replacement | None = None
    transient: bool = False
    stack: str = ""
    waiver: FindingWaiver | None = None
    in_baseline: bool = False

    @property
    def accepted(self) -> bool:
        """Whether a waiver or the baseline accepts it, so that it does not fail. An expired waiver outranks the baseline."""
        return not self.waiver.expired if self.waiver else self.in_baseline


@dataclass(frozen=True, kw_only=True)
class IgnoredFinding:
    """A deviation that does not count, because a comment in its file or the baseline ignores it. A baseline gives no ``reason``."""

    finding: Finding
    by: Literal["comment", "baseline"]
    reason: str = ""


def passed(message: str, *, location: Location | None = None, evidence: tuple[Evidence, ...] = ()) -> Finding:
    """A confirmation; ``message`` states the observation, with its numbers."""
    return Finding(outcome=Outcome.PASSED, message=message, location=location, evidence=evidence)


def failed(
    message: str,
    *,
    remedy: str = "",
    location: Location | None = None,
    evidence: tuple[Evidence, ...] = (),
    fix: Replacement | None = None,
) -> Finding:
    """A deviation; ``remedy`` replaces the contract's if it is more specific."""
    return Finding(
        outcome=Outcome.FAILED, message=message, remedy=remedy, location=location, evidence=evidence, fix=fix
    )


def inconclusive(
    message: str, *, location: Location | None = None, evidence: tuple[Evidence, ...] = (), remedy: str = ""
) -> Finding:
    """An observation that neither confirms nor deviates; ``message`` is the reason."""
    return Finding(outcome=Outcome.INCONCLUSIVE, message=message, location=location, evidence=evidence, remedy=remedy)


def not_applicable(message: str, *, location: Location | None = None) -> Finding:
    """The contract does not apply to the subject; ``message`` is the reason."""
    return Finding(outcome=Outcome.SKIPPED, message=message, location=location)


def evidence(name: str, kind: str, content: Any, *, limit: int = 20_000) -> Evidence:
    """Evidence from a text or a JSON-like value: redacted, cut to its last ``limit`` characters, addressed by its content."""
    if not isinstance(content, str):
        content = json.dumps(content, indent=2, default=str, ensure_ascii=False)
    text = redact(content)
    if len(text) > limit:
        text = f"[… {len(text) - limit} characters omitted]\n{text[-limit:]}"
    return Evidence(name=name, kind=kind, text=text, sha256=hashlib.sha256(text.encode("utf-8", "replace")).hexdigest())
