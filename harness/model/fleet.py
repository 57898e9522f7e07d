"""The report on a fleet: what a stack's runtime makes of every registered version of an MLflow server, as far as its files show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from trivet.model.outcome import Level, Outcome
from trivet.model.report import API_VERSION, InputError, Provenance, StackSummary
from trivet.model.waiver import FindingWaiver, WaiverUse

KIND = "FleetReport"


class ModelVerdict(StrEnum):
    """What the stack's runtime makes of a model, worst first.

    ``BREAKS``: a MUST failed, so that it does not load, or fails or answers wrongly when it is asked. ``UNKNOWN``: a MUST could not be
    judged, such as for a file that was not downloaded. ``UNSUPPORTED``: a library does not support loading it there, but nothing is seen
    that breaks. ``FINE``: none of these.
    """

    BREAKS = "breaks"
    UNKNOWN = "unknown"
    UNSUPPORTED = "unsupported"
    FINE = "fine"


@dataclass(frozen=True, kw_only=True)
class ModelReason:
    """A finding that decided a verdict. ``place`` is the file in the model's directory, with the line where there is one; ``waiver`` the
    waiver that matches it, which accepts it unless it has expired."""

    contract: str
    level: Level
    outcome: Outcome
    message: str
    remedy: str = ""
    place: str = ""
    waiver: FindingWaiver | None = None


@dataclass(frozen=True, kw_only=True)
class JudgedModel:
    """One registered version. ``flavors`` are the names in its MLmodel, and ``writer`` is the MLflow that wrote it; both empty if that
    could not be read. ``advice`` are the contracts that failed or could not be judged without deciding the verdict.

    ``not_accepted`` is the verdict without the findings that waivers accept; None if they accept none.
    ``breaks_clients`` is what of its signature breaks clients of ``predecessor``, the judged version of the model before it
    (``trivet.integration.check_successor``); both are empty if nothing does, or if one of the two has no signature.
    """

    name: str
    version: str
    verdict: ModelVerdict
    aliases: tuple[str, ...] = ()
    stage: str = ""
    flavors: tuple[str, ...] = ()
    writer: str = ""
    reasons: tuple[ModelReason, ...] = ()
    advice: tuple[str, ...] = ()
    not_accepted: ModelVerdict | None = None
    waivers: tuple[str, ...] = ()
    """The names of the waivers that match its findings."""
    predecessor: str = ""
    breaks_clients: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        """``models:/NAME/VERSION``."""
        return f"models:/{self.name}/{self.version}"

    @property
    def blocks(self) -> ModelVerdict:
        """The verdict that the exit code follows from."""
        return self.not_accepted or self.verdict


@dataclass(frozen=True, kw_only=True)
class FleetReport:
    """Every chosen version, by name and version. ``errors`` say what could not be read; ``total`` is how many versions the server has."""

    server: str
    stack: StackSummary
    models: tuple[JudgedModel, ...]
    provenance: Provenance
    total: int = 0
    errors: tuple[InputError, ...] = ()
    waivers: tuple[WaiverUse, ...] = ()
    """Every waiver of the settings, with what it did here."""
    apiVersion: str = API_VERSION  # noqa: N815 - the Kubernetes API convention for versioned objects
    kind: str = KIND

    @property
    def verdicts(self) -> Mapping[ModelVerdict, int]:
        """The number of models by verdict, worst first, zeros included."""
        found = Counter(model.verdict for model in self.models)
        return {verdict: found[verdict] for verdict in ModelVerdict}

    @property
    def exit_code(self) -> int:
        """0 nothing breaks · 1 a model breaks, whatever else happened · 2 unknown for some, or no model at all · 3 wrong usage.

        What waivers accept does not count.
        """
        blocking = {model.blocks for model in self.models}
        if ModelVerdict.BREAKS in blocking:
            return 1
        if self.errors:
            return max(error.exit_code for error in self.errors)
        return 2 if ModelVerdict.UNKNOWN in blocking or not self.models else 0
