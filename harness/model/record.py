"""Records of scenarios: what each variant came to when it was played last, on what, and worded by which messages. Kept in a repository."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trivet.model.scenario import Verdict


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a variant was measured on. What is not known is empty; ``started`` is an RFC 3339 time in UTC."""

    target: str
    stack: str
    digest: str = ""
    components: Mapping[str, str] = field(default_factory=dict)
    trivet: str = ""
    python: str = ""
    platform: str = ""
    started: str = ""
    place: Mapping[str, str] = field(default_factory=dict)
    """The cluster: its context, and where its images came from."""


@dataclass(frozen=True, kw_only=True)
class VariantRecord:
    """One variant, as it was measured last; the texts are those of its VariantResult.

    ``symptom`` is empty where it is the reason. ``seconds`` is how long it took to play. ``drawing`` is the SHA-256 of its drawing, in
    hexadecimal, and empty when there was nothing to draw. ``wording`` holds the templates of its messages.
    """

    verdict: Verdict
    reason: str
    origin: Origin
    steady_state: str = ""
    effect: str = ""
    symptom: str = ""
    recovery: str = ""
    measured: Mapping[str, int | float | str] = field(default_factory=dict)
    changed_objects: tuple[str, ...] = ()
    seconds: float = 0.0
    drawing: str = ""
    wording: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a scenario: its variants, by their names."""

    scenario: str
    variants: Mapping[str, VariantRecord]
