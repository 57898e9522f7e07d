"""What a contract is written with: the ``@contract`` decorator and one function per outcome that a check may yield."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from trivet.errors import UsageError
from trivet.model.contract import STATIC_SUBJECTS, Check, Contract
from trivet.model.finding import Evidence, Finding, Location
from trivet.model.outcome import Level, Outcome

MUST = Level.MUST
SHOULD = Level.SHOULD


def contract(
    *,
    title: str,
    level: Level,
    seam: tuple[str, str],
    rationale: str,
    remedy: str,
    versions: Mapping[str, str] | None = None,
    features: tuple[str, ...] = (),
    sources: tuple[str, ...] = (),
    since: str = "0.1",
) -> Callable[[Check], Contract]:
    """Make a function that yields findings into a contract.

    The id is ``module.function``. The function's parameters are the clients, or the one static subject, that it observes.
    ``title`` says what holds ("X must Y"), ``rationale`` what breaks otherwise, ``remedy`` what to do.
    """

    def make(check: Check) -> Contract:
        wants = tuple(inspect.signature(check).parameters)
        if sum(name in STATIC_SUBJECTS for name in wants) > 1:
            raise UsageError(
                f"contract {check.__name__} reads more than one of {', '.join(STATIC_SUBJECTS)}",
                remedy="split it: a static check runs once per subject",
            )
        return Contract(
            id=f"{check.__module__.rpartition('.')[2]}.{check.__name__}",
            title=title,
            level=level,
            seam=seam,
            rationale=rationale,
            remedy=remedy,
            check=check,
            wants=wants,
            versions=dict(versions or {}),
            features=features,
            sources=sources,
            since=since,
        )

    return make


def passed(message: str, *, location: Location | None = None, evidence: tuple[Evidence, ...] = ()) -> Finding:
    """A confirmation. Say what was observed, with numbers where there are some."""
    return Finding(outcome=Outcome.PASSED, message=message, location=location, evidence=evidence)


def failed(
    message: str, *, remedy: str = "", location: Location | None = None, evidence: tuple[Evidence, ...] = ()
) -> Finding:
    """A deviation. ``remedy`` where it is more exact than the contract's own."""
    return Finding(outcome=Outcome.FAILED, message=message, remedy=remedy, location=location, evidence=evidence)


def inconclusive(
    message: str, *, location: Location | None = None, evidence: tuple[Evidence, ...] = (), remedy: str = ""
) -> Finding:
    """The observation gives no answer; ``message`` says why."""
    return Finding(outcome=Outcome.INCONCLUSIVE, message=message, location=location, evidence=evidence, remedy=remedy)


def not_applicable(message: str, *, location: Location | None = None) -> Finding:
    """The statement does not concern this subject; ``message`` says why."""
    return Finding(outcome=Outcome.SKIPPED, message=message, location=location)


_SECRETS = (
    re.compile(
        r"(?i)((?:password|passwd|secret|token|api[_-]?key|access[_-]?key)[\w-]*[\"']?[ \t]*[:=][ \t]*[\"']?)([^\s\"',;&]+)"
    ),
    re.compile(r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic)\s+)(\S+)"),
    re.compile(r"(\w+://[^\s/:@]+:)([^\s/@]+)(?=@)"),
)


def redact(text: str) -> str:
    """``text`` with the values of what looks like credentials replaced."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\1[redacted]", text)
    return text


def evidence(name: str, kind: str, content: Any, *, limit: int = 20_000) -> Evidence:
    """Evidence from a text or a JSON-like value: redacted, cut to its last ``limit`` characters, addressed by its content."""
    if not isinstance(content, str):
        import json

        content = json.dumps(content, indent=2, default=str, ensure_ascii=False)
    text = redact(content)
    if len(text) > limit:
        text = f"[… {len(text) - limit} characters left out]\n{text[-limit:]}"
    return Evidence(name=name, kind=kind, text=text, sha256=hashlib.sha256(text.encode("utf-8", "replace")).hexdigest())
