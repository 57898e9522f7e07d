"""Scenarios: incidents that can be reproduced, in variants with and without protection; and their results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from trivet.model.declaration import Declaration
from trivet.model.fault import AffectedObject, Fault
from trivet.model.finding import Evidence
from trivet.model.probe import Probed
from trivet.model.report import API_VERSION, Phase, Provenance, StackSummary

KIND = "ScenarioReport"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
IN_CLUSTER = "cluster/"
"""Prefix of the names of evidence from the cluster: objects, conditions, events and logs."""


class Verdict(StrEnum):
    """The verdict of a variant.

    VULNERABLE: the incident happened. PROTECTED: the fault was injected and the incident did not happen. INCONCLUSIVE: neither was shown.
    ERROR: trivet failed, for example because a fault could not be reverted. SKIPPED: the target does not support it.
    """

    VULNERABLE = "VULNERABLE"
    PROTECTED = "PROTECTED"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"
    SKIPPED = "SKIPPED"

    @property
    def conclusive(self) -> bool:
        """Whether it is VULNERABLE or PROTECTED."""
        return self in (Verdict.VULNERABLE, Verdict.PROTECTED)


SEVERITY = (Verdict.ERROR, Verdict.VULNERABLE, Verdict.INCONCLUSIVE, Verdict.PROTECTED, Verdict.SKIPPED)
"""Worst first."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One configuration of the platform under the incident.

    ``remedy`` is false for a platform without protection. ``expected`` is the verdict that was measured before, which this run confirms or
    contradicts; None where there is none. An ``extended`` variant takes long or shows a detail: it is played only when it is named.
    """

    name: str
    text: str
    remedy: bool = False
    expected: Verdict | None = None
    extended: bool = False

    def __post_init__(self) -> None:
        declared = Declaration("Variant")
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            declared.refuse(f"name is {self.name!r}", "write lower-case words with hyphens, such as 'two-replicas'")
        declared.texts(text=self.text)
        if self.expected is not None and not (isinstance(self.expected, Verdict) and self.expected.conclusive):
            declared.refuse(f"expected is {self.expected!r}", "write Verdict.VULNERABLE, Verdict.PROTECTED or None")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published claim about the incident, and the variants whose verdicts show whether it holds. ``found`` is what was observed."""

    text: str
    holds: bool
    found: str
    variants: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        declared = Declaration("Claim")
        declared.texts(text=self.text, found=self.found)
        declared.instance("holds", self.holds, bool)
        declared.sequence("variants", self.variants, str)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Requests to send throughout: ``rate`` per second to ``service``. ``models`` maps a name to the values that only that model answers,
    which attributes an answer to its model. An answer later than ``client_timeout`` seconds counts as lost."""

    service: str
    request: Mapping[str, Any]
    models: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    rate: float = 5.0
    client_timeout: float = 10.0

    def __post_init__(self) -> None:
        declared = Declaration("Workload")
        declared.texts(service=self.service)
        declared.instance("request", self.request, Mapping)
        declared.instance("models", self.models, Mapping)
        for name, values in self.models.items():
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                declared.refuse(f"the values of the model {name!r} are {values!r}", "write a list of what it answers")
        declared.positive(rate=self.rate, client_timeout=self.client_timeout)


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Whether the expected symptom was ``observed``, in a sentence with numbers, and the numbers by their names."""

    observed: bool
    message: str
    measured: Mapping[str, int | float | str] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()

    def __post_init__(self) -> None:
        declared = Declaration("Observation")
        declared.texts(message=self.message)
        declared.sequence("evidence", self.evidence, Evidence)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One variant, set up and ready for its fault.

    ``steady_state`` is a probe (``trivet.model.probe``) of whether the platform works; it is polled before the fault and after its revert.
    ``symptom`` observes under the fault, by the ``trivet.toolkit.watch.Watch`` that it is given. ``afterwards`` gets the watch and that
    observation once the steady state is back, and returns the observation completed with what only shows then, such as what a stopped
    server holds. ``gauges`` are sampled throughout: name → a function that reads a number per series.
    """

    fault: Fault
    steady_state: Callable[[], Probed]
    symptom: Callable[[Any], Observation]
    afterwards: Callable[[Any, Observation], Observation] | None = None
    workload: Workload | None = None
    gauges: Mapping[str, Callable[[], Mapping[str, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        declared = Declaration("Case")
        declared.instance("fault", self.fault, Fault)
        declared.callables(steady_state=self.steady_state, symptom=self.symptom)
        if self.afterwards is not None:
            declared.callables(afterwards=self.afterwards)
        declared.instance("workload", self.workload, Workload, optional=True)
        declared.instance("gauges", self.gauges, Mapping)
        declared.callables(**{f"the gauge {name!r}": read for name, read in self.gauges.items()})


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """Seconds that each part may take: until the steady state, for the symptom, and until the steady state after the revert.

    The symptom's budget limits what waits on the watch; other clients have timeouts of their own.
    """

    steady_state: float = 120.0
    symptom: float = 180.0
    recovery: float = 180.0

    def __post_init__(self) -> None:
        Declaration("Budgets").positive(steady_state=self.steady_state, symptom=self.symptom, recovery=self.recovery)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """An incident that can be reproduced. ``stage`` sets up a variant, yields its Case once, and removes what it set up.

    ``wants`` are the names of its parameters: ``variant`` and clients of the target. ``affected_objects`` is everything that any of its
    faults changes. ``unrunnable`` says why no target can show it: every variant is an ERROR then.
    """

    id: str
    title: str
    happens: str
    recognise: str
    remedy: str
    variants: tuple[Variant, ...]
    affected_objects: tuple[AffectedObject, ...]
    stage: Callable[..., Iterator[Case]]
    wants: tuple[str, ...]
    budgets: Budgets = Budgets()
    claims: tuple[Claim, ...] = ()
    features: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    unrunnable: str = ""

    @property
    def clients(self) -> tuple[str, ...]:
        """The clients that it requests."""
        return tuple(name for name in self.wants if name != "variant")


@dataclass(frozen=True, kw_only=True)
class TrafficBucket:
    """The requests that were due in one second. ``median_seconds`` and ``max_seconds`` are the median and maximum time until they
    were answered or lost; ``answers`` counts the correct ones by model."""

    at: int
    requests: int
    lost: int
    median_seconds: float
    max_seconds: float
    answers: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A named moment, in seconds since the start of the timeline."""

    at: float
    name: str


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """Samples of a quantity: (seconds since the start of the timeline, number per series)."""

    name: str
    points: tuple[tuple[float, Mapping[str, float]], ...]


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A variant over time: requests at ``rate`` per second, marks and gauges."""

    rate: float
    client_timeout: float
    buckets: tuple[TrafficBucket, ...]
    marks: tuple[Mark, ...]
    gauges: tuple[Gauge, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VariantResult:
    """The verdict of one variant, and why. ``cleanup`` is the command that reverts a fault that could not be reverted.

    ``steady_state``, ``effect`` (of the injection), ``symptom`` and ``recovery`` say what was observed at each part that was reached.
    """

    name: str
    text: str
    remedy: bool
    expected: Verdict | None
    verdict: Verdict
    reason: str
    steady_state: str = ""
    effect: str = ""
    symptom: str = ""
    recovery: str = ""
    cleanup: str = ""
    changed_objects: tuple[str, ...] = ()
    measured: Mapping[str, int | float | str] = field(default_factory=dict)
    phases: tuple[Phase, ...] = ()
    message_templates: tuple[str, ...] = ()
    """The templates of the messages above, as the code had them (``engine.scenarios.templates``)."""
    timeline: Timeline | None = None
    evidence: tuple[Evidence, ...] = ()

    @property
    def contradicted(self) -> bool:
        """Whether a conclusive verdict differs from the expected one."""
        return self.verdict.conclusive and self.expected is not None and self.verdict is not self.expected


@dataclass(frozen=True, kw_only=True)
class ScenarioResult:
    """The variants of a scenario. Its verdict is that of the platform without a remedy; each remedy has its own."""

    id: str
    title: str
    happens: str
    recognise: str
    remedy: str
    variants: tuple[VariantResult, ...]
    claims: tuple[Claim, ...] = ()
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """The worst of the variants without a remedy; of all if none of those was run. INCONCLUSIVE if none was run."""
        found = {one.verdict for one in self.variants if not one.remedy} or {one.verdict for one in self.variants}
        return next((verdict for verdict in SEVERITY if verdict in found), Verdict.INCONCLUSIVE)


@dataclass(frozen=True, kw_only=True)
class ScenarioReport:
    """The results of a run of scenarios. ``required`` is the verdict that the user requires of every scenario; empty for none."""

    target: str
    stack: StackSummary
    scenarios: tuple[ScenarioResult, ...]
    provenance: Provenance
    required: str = ""
    features: Mapping[str, str] = field(default_factory=dict)
    cluster: Mapping[str, str] = field(default_factory=dict)
    """The cluster of the run: context, namespaces, versions."""
    errors: tuple[str, ...] = ()
    """What failed after the scenarios were played, such as the release of the lease."""
    apiVersion: str = API_VERSION  # noqa: N815 - the Kubernetes API convention for versioned objects
    kind: str = KIND

    @property
    def exit_code(self) -> int:
        """0 every verdict is as expected and required · 1 one is not · 2 ERROR, INCONCLUSIVE, no verdict at all, or ``errors``."""
        played = [one for result in self.scenarios for one in result.variants]
        verdicts = {one.verdict for one in played}
        if Verdict.ERROR in verdicts or self.errors:
            return 2
        if any(one.contradicted for one in played):
            return 1
        if self.required and any(result.verdict is Verdict.VULNERABLE for result in self.scenarios):
            return 1
        shown = any(verdict.conclusive for verdict in verdicts)
        return 2 if Verdict.INCONCLUSIVE in verdicts or not shown else 0
