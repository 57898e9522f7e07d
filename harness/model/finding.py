"""What a check observed: one confirmation or deviation, with where it was seen, what proves it and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from trivet.model.outcome import Outcome


@dataclass(frozen=True, kw_only=True)
class Location:
    """A place in a file (1-based line) or an object of the platform, such as ``InferenceService/recommendation-classifier``."""

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


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One confirmation or deviation of one contract. The engine fills in ``contract``."""

    outcome: Outcome
    message: str
    contract: str = ""
    location: Location | None = None
    evidence: tuple[Evidence, ...] = ()
    remedy: str = ""
