"""A contract: a normative statement about a seam, with everything that a reader of its failure needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from trivet.model.finding import Finding
from trivet.model.outcome import Level

STATIC_SUBJECTS = ("manifest", "model_directory", "compiled_pipeline")
"""Parameters of a check that stand for one file under ``trivet lint``; a check with one of them runs once per such subject."""

Check = Callable[..., Iterable[Finding]]


@dataclass(frozen=True, kw_only=True)
class Contract:
    """One statement about a seam and the check that observes whether it holds.

    ``wants`` are the names of the check's parameters: at most one of :data:`STATIC_SUBJECTS`, ``stack``, and names of clients that a
    target offers. ``versions`` maps a component to a PEP 440 specifier outside of which the statement does not apply, and ``features``
    are those without which a target cannot show it. ``unrunnable`` says why no target can judge it: it is an ERROR wherever it is
    judged.
    """

    id: str
    title: str
    level: Level
    seam: tuple[str, str]
    rationale: str
    remedy: str
    check: Check
    wants: tuple[str, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    since: str = "0.1"
    unrunnable: str = ""

    @property
    def subject(self) -> str | None:
        """The static subject that the check reads one at a time, if any."""
        return next((name for name in self.wants if name in STATIC_SUBJECTS), None)

    @property
    def clients(self) -> tuple[str, ...]:
        """The clients that the check asks for; the stack, which is there without any target, is none."""
        return tuple(name for name in self.wants if name not in (*STATIC_SUBJECTS, "stack"))

    @property
    def static(self) -> bool:
        """Whether ``trivet lint`` can run it: it wants a static subject and, beside that, only the stack."""
        return self.subject is not None and not self.clients and not self.features
