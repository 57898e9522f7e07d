"""The report on a fleet: what a stack makes of every registered version of an MLflow server and every InferenceService of a cluster.

A verdict is what files predict; what serving a model showed stands beside it."""

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
    """A finding that decided a verdict. ``place`` is the file in the model's directory, with the line where there is one, or ``manifest``
    and the field of a service; ``waiver`` the waiver that matches it, which accepts it unless it has expired."""

    contract: str
    level: Level
    outcome: Outcome
    message: str
    remedy: str = ""
    place: str = ""
    waiver: FindingWaiver | None = None


def worst(*verdicts: ModelVerdict | None) -> ModelVerdict:
    """The worst of some verdicts; None is none. Raises ValueError without any."""
    return min((one for one in verdicts if one), key=list(ModelVerdict).index)


class Measured(StrEnum):
    """What a model did when it was served in the stack's runtime, worst first.

    ``BREAKS``: it did not load, or failed, or answered otherwise than in the environment that it asks for. ``UNKNOWN``: that could not be
    observed. ``WORKS``: it answered as there.
    """

    BREAKS = "breaks"
    UNKNOWN = "unknown"
    WORKS = "works"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What serving a model showed. ``reasons`` are the findings that decided it, none for one that works.

    ``not_accepted`` is the outcome without what waivers accept; None if they accept nothing. ``seconds`` is how long it took; 0 if
    all results were kept ones. ``report`` is the folder of its conformance report, relative to the report on the fleet; empty without one.

    ``judged`` are the contracts that passed or failed, and ``waivers`` the names of the waivers that match their findings.
    """

    outcome: Measured
    reasons: tuple[ModelReason, ...] = ()
    not_accepted: Measured | None = None
    seconds: float = 0.0
    report: str = ""
    judged: tuple[str, ...] = ()
    waivers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FleetMember:
    """A registered version or a service, and what its files predict.

    ``flavors`` are the names in its MLmodel, and ``writer`` is the MLflow that wrote it; both empty if that could not be read. ``advice``
    are the contracts that failed or could not be judged without deciding the verdict.

    ``not_accepted`` is the verdict without the findings that waivers accept; None if they accept none. ``measured`` is what serving it
    showed; None if it was not served.
    """

    verdict: ModelVerdict
    flavors: tuple[str, ...] = ()
    writer: str = ""
    reasons: tuple[ModelReason, ...] = ()
    advice: tuple[str, ...] = ()
    not_accepted: ModelVerdict | None = None
    waivers: tuple[str, ...] = ()
    """The names of the waivers that match its findings."""
    measured: Measurement | None = None

    @property
    def uri(self) -> str:
        """What names it in reports, and in the ``object`` of a waiver."""
        raise NotImplementedError

    @property
    def servable(self) -> bool:
        """Whether its model can be served: whether its files could be read."""
        return bool(self.flavors)

    @property
    def blocks(self) -> ModelVerdict:
        """The verdict that the exit code follows from.

        What was measured settles what files left open. A model that works although its files say that it breaks keeps that verdict, as in
        ``trivet check``: the image may have another Python or other packages than the environment in which it was served.
        """
        return _settled(self.not_accepted or self.verdict, self.measured)


_SETTLED = {
    Measured.BREAKS: ModelVerdict.BREAKS,
    Measured.UNKNOWN: ModelVerdict.UNKNOWN,
    Measured.WORKS: ModelVerdict.FINE,
}


def _settled(predicted: ModelVerdict, measured: Measurement | None) -> ModelVerdict:
    """What a model's files predict, together with what was measured."""
    if measured is None or predicted is ModelVerdict.BREAKS:
        return predicted
    return _SETTLED[measured.not_accepted or measured.outcome]


@dataclass(frozen=True, kw_only=True)
class JudgedModel(FleetMember):
    """One registered version.

    ``breaks_clients`` is what of its signature breaks clients of ``predecessor``, the judged version of the model before it
    (``trivet.integration.check_successor``); both are empty if nothing does, or if one of the two has no signature.

    ``source`` is where the registry has its files, of a copy where it has those of the version that was copied: equal sources are the
    same model.
    """

    name: str
    version: str
    aliases: tuple[str, ...] = ()
    stage: str = ""
    source: str = ""
    predecessor: str = ""
    breaks_clients: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        """``models:/NAME/VERSION``."""
        return f"models:/{self.name}/{self.version}"

    @property
    def servable(self) -> bool:
        """Whether its model can be served, whatever could be read of it here: a check says why it cannot."""
        return True


@dataclass(frozen=True, kw_only=True)
class JudgedService(FleetMember):
    """One InferenceService of a cluster: the worst of what its manifest and its model come to.

    ``manifest`` and ``model`` are the verdicts on either, None where none of the chosen contracts judges it; ``manifest_not_accepted`` and
    ``model_not_accepted`` are these without the findings that waivers accept, None if they accept none. ``storage_uri`` is where its
    predictor has the model from, redacted, and empty if it says none.
    """

    namespace: str
    name: str
    manifest: ModelVerdict | None
    model: ModelVerdict | None
    manifest_not_accepted: ModelVerdict | None = None
    model_not_accepted: ModelVerdict | None = None
    storage_uri: str = ""

    @property
    def uri(self) -> str:
        """``InferenceService/NAMESPACE/NAME``."""
        return f"InferenceService/{self.namespace}/{self.name}"

    @property
    def blocks(self) -> ModelVerdict:
        """As for every member; but what serving the model showed settles nothing about the manifest."""
        model = self.model_not_accepted or self.model
        return worst(self.manifest_not_accepted or self.manifest, _settled(model, self.measured) if model else None)


Member = JudgedModel | JudgedService
"""One of a fleet."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Which members were served: the ``chosen`` of ``of`` that could be, by ``seed``."""

    chosen: int
    of: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class FleetReport:
    """Every chosen version, by name and version, and every InferenceService, by namespace and name.

    ``errors`` say what could not be read. ``server`` is the tracking server and ``total`` how many versions it has; ``context`` is the
    kubeconfig context of the cluster. One of the two is empty if it was not asked for. ``served`` is what was served; None if nothing was
    to be.
    """

    server: str
    stack: StackSummary
    models: tuple[JudgedModel, ...]
    provenance: Provenance
    total: int = 0
    context: str = ""
    services: tuple[JudgedService, ...] = ()
    served: Sample | None = None
    errors: tuple[InputError, ...] = ()
    waivers: tuple[WaiverUse, ...] = ()
    """Every waiver of the settings, with what it did here."""
    apiVersion: str = API_VERSION  # noqa: N815 - the Kubernetes API convention for versioned objects
    kind: str = KIND

    @property
    def members(self) -> tuple[Member, ...]:
        """Versions and services."""
        return (*self.models, *self.services)

    @property
    def verdicts(self) -> Mapping[ModelVerdict, int]:
        """The number of versions and services by verdict, worst first, zeros included."""
        found = Counter(member.verdict for member in self.members)
        return {verdict: found[verdict] for verdict in ModelVerdict}

    @property
    def exit_code(self) -> int:
        """0 nothing breaks · 1 something breaks, whatever else happened · 2 unknown for some, or nothing at all · 3 wrong usage.

        What waivers accept does not count.
        """
        blocking = {member.blocks for member in self.members}
        if ModelVerdict.BREAKS in blocking:
            return 1
        if self.errors:
            return max(error.exit_code for error in self.errors)
        return 2 if ModelVerdict.UNKNOWN in blocking or not self.members else 0
