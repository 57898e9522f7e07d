"""Records of scenarios: the last measured verdict of each variant, its origin and its message templates. Kept in the repository."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trivet.model.scenario import Verdict


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where and when a variant was measured. Unknown fields are empty; ``started`` is an RFC 3339 time in UTC."""

    target: str
    stack: str
    digest: str = ""
    components: Mapping[str, str] = field(default_factory=dict)
    trivet: str = ""
    python: str = ""
    platform: str = ""
    started: str = ""
    cluster: Mapping[str, str] = field(default_factory=dict)
    """Context of the cluster and origin of its images."""


@dataclass(frozen=True, kw_only=True)
class VariantRecord:
    """The last measurement of one variant, with the texts of its VariantResult.

    ``symptom`` is empty if it equals the reason. ``seconds`` is its duration. ``drawing`` is the SHA-256 of its chart in hexadecimal,
    empty without a chart. ``message_templates`` are the templates of its messages.
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
    message_templates: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Record:
    """The record of a scenario: its variants by name."""

    scenario: str
    variants: Mapping[str, VariantRecord]
