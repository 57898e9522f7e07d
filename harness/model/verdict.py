"""The verdict on an upgrade: its steps, the mixes of old and new that were judged, what breaks, and the order in which it is safe.

Data only; ``trivet.engine.verdict`` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from trivet.model.difference import ComponentChange
from trivet.model.finding import Location
from trivet.model.outcome import Outcome
from trivet.model.report import Provenance, StackSummary, verdict_of

VERDICT_VERSION = "trivet.dev/verdict/v1alpha1"
VERDICT_REPORT = "UpgradeVerdict"


class Compatibility(StrEnum):
    """What the results say of a seam or a step: ``UNKNOWN`` when nothing decides it."""

    INCOMPATIBLE = "incompatible"
    UNKNOWN = "unknown"
    COMPATIBLE = "compatible"


@dataclass(frozen=True, kw_only=True)
class UpgradeStep:
    """What is upgraded at once. ``parts`` are those of a composed stack (``trivet.stacks.composed.PARTS``).

    ``no_return`` is why going back needs more than installing the old version; empty if it does not.
    """

    name: str
    parts: tuple[str, ...]
    components: tuple[ComponentChange, ...] = ()
    no_return: str = ""


@dataclass(frozen=True, kw_only=True)
class MixFailure:
    """A contract that makes a mix not conformant, or inconclusive. ``judged`` is when, empty for a result of this call."""

    contract: str
    title: str
    seam: tuple[str, str]
    outcome: Outcome
    reason: str
    remedy: str
    judged: str = ""


@dataclass(frozen=True, kw_only=True)
class Mix:
    """A state on the way: the steps in ``upgraded`` are taken, the others are not. The empty one is the old stack.

    ``failures`` are the MUST that failed; if none did, those that decide that it is inconclusive. ``error`` is why it could not be composed
    or run. ``known_to_fail`` is whether kept results refuse it, so that it was not run. ``judged`` results are of this call, ``reused``
    ones of the results store; ``seconds`` is how long its run took, 0 if the store had everything. ``report`` is the folder of its
    conformance report, relative to that of the verdict; empty without one.
    """

    upgraded: tuple[str, ...]
    exit_code: int
    stack: StackSummary | None = None
    failures: tuple[MixFailure, ...] = ()
    error: str = ""
    impossible: bool = False
    """Whether it cannot exist, because its requirements contradict each other."""
    known_to_fail: bool = False
    passed: int = 0
    judged: int = 0
    reused: int = 0
    seconds: float = 0.0
    report: str = ""

    @property
    def verdict(self) -> str:
        """The verdict that belongs to the exit code."""
        return verdict_of(self.exit_code)

    @property
    def refused(self) -> bool:
        """Whether no order may pass through it: a MUST failed, or it cannot exist."""
        return self.exit_code == 1 or self.impossible


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """Two steps whose components do not work together: ``new`` is taken and ``old`` is not.

    With an empty ``old`` it is the new version of ``new`` by itself, or the whole new stack if both are empty. ``new_component`` and
    ``old_component`` are the components that decide their versions.
    """

    new: str
    old: str
    new_component: str = ""
    new_version: str = ""
    old_component: str = ""
    old_version: str = ""


@dataclass(frozen=True, kw_only=True)
class Incompatibility:
    """A MUST that fails in a mix. ``suspects`` are the pairs that explain all of ``mixes`` and that no other mix refutes.

    ``before`` is whether the old stack fails it too, so that the upgrade does not bring it; ``after`` whether the new stack fails it.
    """

    contract: str
    title: str
    seam: tuple[str, str]
    reason: str
    remedy: str
    suspects: tuple[Suspect, ...]
    mixes: tuple[tuple[str, ...], ...]
    before: bool = False
    after: bool = False


@dataclass(frozen=True, kw_only=True)
class SeamVerdict:
    """A seam with its components in the new versions. ``passed`` and ``contracts`` count its MUST; ``reason`` is empty if compatible."""

    seam: tuple[str, str]
    verdict: Compatibility
    passed: int
    contracts: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class FilePlace:
    """A finding in the files: where, and what."""

    location: Location
    message: str

    def __str__(self) -> str:
        place = str(self.location)
        return f"{place}: {self.message}" if place else self.message


@dataclass(frozen=True, kw_only=True)
class FileBreak:
    """A MUST that the files newly fail, and the step with which they do. ``places`` are the findings with file and line.

    ``lasting`` is whether they fail it in the new stack too, or only on the way.
    """

    contract: str
    title: str
    step: str
    reason: str
    places: tuple[FilePlace, ...] = ()
    lasting: bool = True


@dataclass(frozen=True, kw_only=True)
class FilesVerdict:
    """The user's files on both sides. ``failing_before`` are the MUST that they fail in the old stack already, ``unclear`` is what nobody
    can tell."""

    paths: tuple[str, ...]
    seen: Mapping[str, int]
    breaks: tuple[FileBreak, ...] = ()
    failing_before: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelChange:
    """A registered version whose verdict differs (``trivet.model.fleet.ModelVerdict``); ``step`` is the one with which it breaks."""

    uri: str
    before: str
    after: str
    contract: str = ""
    reason: str = ""
    step: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelsVerdict:
    """The registered models on both sides, by verdict, and those that differ."""

    server: str
    before: Mapping[str, int]
    after: Mapping[str, int]
    changes: tuple[ModelChange, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def alike(self) -> Sequence[tuple[ModelChange, int]]:
        """The first of the changes that differ in the version alone, each with the number of further ones."""
        groups: dict[ModelChange, list[ModelChange]] = {}
        for one in self.changes:
            groups.setdefault(replace(one, uri=""), []).append(one)
        return [(group[0], len(group) - 1) for group in groups.values()]


@dataclass(frozen=True, kw_only=True)
class UpgradeVerdict:
    """The answer to: we run ``old`` and want ``new``; what breaks, and in which order do we upgrade?

    ``order`` is an order of the steps each mix of which is conformant; empty if none was found. ``together`` is then the order that takes
    the fewest steps at once, in groups, through judged mixes that are conformant; empty if there is none either.
    """

    old: StackSummary
    new: StackSummary
    target: str
    contracts: int
    steps: tuple[UpgradeStep, ...]
    mixes: tuple[Mix, ...]
    provenance: Provenance
    order: tuple[str, ...] = ()
    together: tuple[tuple[str, ...], ...] = ()
    blocked: bool = False
    """Whether every order passes through a mix that is refused; one without a safe order may also be inconclusive."""
    incompatibilities: tuple[Incompatibility, ...] = ()
    seams: tuple[SeamVerdict, ...] = ()
    files: FilesVerdict | None = None
    models: ModelsVerdict | None = None
    unclear: tuple[str, ...] = field(default=())
    """What decides that the verdict is inconclusive, a sentence each, with the command that would settle it where there is one."""
    apiVersion: str = VERDICT_VERSION  # noqa: N815 - the Kubernetes API convention for versioned objects
    kind: str = VERDICT_REPORT

    @property
    def exit_code(self) -> int:
        """0 there is a safe order, and no file or model newly fails · 1 there is none, or one does · 2 inconclusive."""
        breaks = bool(self.files and self.files.breaks)
        breaks |= any(one.after == "breaks" for one in self.models.changes) if self.models else False
        if breaks or self.blocked:
            return 1
        return 2 if self.unclear else 0

    def mix(self, upgraded: tuple[str, ...]) -> Mix | None:
        """The mix in which exactly these steps are taken, if it was judged."""
        return next((one for one in self.mixes if set(one.upgraded) == set(upgraded)), None)

    @property
    def judged(self) -> int:
        """The number of results that were judged, in all mixes."""
        return sum(mix.judged for mix in self.mixes)

    @property
    def reused(self) -> int:
        """The number of results that mixes have from the results store."""
        return sum(mix.reused for mix in self.mixes)
