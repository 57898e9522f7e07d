"""A contract: a requirement on a seam, with the text that explains its failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from trivet.model.finding import Finding
from trivet.model.outcome import Level

STATIC_SUBJECTS = ("manifest", "resource", "model_directory", "compiled_pipeline")
"""Parameters of a check for one object, file or directory; a check with one of them runs once per subject, also under ``trivet lint``."""
DECLARED = ("stack", "platform")
"""Parameters of a check for what is declared and needs no target: the stack, and what is known of the platform's configuration."""

FEATURES_PARAMETER = "features"
"""Parameter of the check of required features: the features of the target, by name with how each was measured. Not for authors."""

Check = Callable[..., Iterable[Finding]]


@dataclass(frozen=True, kw_only=True)
class Contract:
    """A requirement on a seam and the check that judges it.

    ``wants`` are the names of the check's parameters: at most one of :data:`STATIC_SUBJECTS`, those of :data:`DECLARED`, and names of
    clients that a target offers. ``versions`` maps a component to the PEP 440 specifier of the versions that the contract applies to;
    ``features`` are the features that it needs of a target. ``unrunnable`` is why no target can judge it, which makes it an ERROR.
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
        """The static subject of the check, or None."""
        return next((name for name in self.wants if name in STATIC_SUBJECTS), None)

    @property
    def clients(self) -> tuple[str, ...]:
        """The clients that the check requests; what is declared is not a client, because it needs no target."""
        return tuple(name for name in self.wants if name not in (*STATIC_SUBJECTS, *DECLARED, FEATURES_PARAMETER))

    @property
    def static(self) -> bool:
        """Whether ``trivet lint`` can judge it: it requests a static subject and otherwise only what is declared."""
        return self.subject is not None and not self.clients and not self.features

    @property
    def declared(self) -> bool:
        """Whether what the stack declares is all that it reads, so that ``trivet plan`` can judge it without starting anything."""
        return bool(self.wants) and set(self.wants) <= set(DECLARED) and not self.features
