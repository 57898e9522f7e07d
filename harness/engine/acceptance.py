"""Accepts known failures: matches findings with the waivers of the settings, and with a baseline. Judges and reads nothing.

Only a FAILED finding can be waived: what was not observed was not accepted by anybody. A baseline also accepts what was INCONCLUSIVE
before. Nothing accepts an ERROR.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path

from trivet.engine.registry import Registry
from trivet.engine.required import REQUIRED
from trivet.errors import UsageError, unknown
from trivet.model.finding import Finding, Location
from trivet.model.fingerprint import fingerprint
from trivet.model.outcome import Outcome
from trivet.model.report import ONE_MODEL, STATIC, BaselineUse, ContractResult
from trivet.model.settings import Settings
from trivet.model.waiver import FindingWaiver, Waiver, WaiverStatus, WaiverUse
from trivet.toolkit.walking import PathPatterns

Findings = Counter[tuple[str, str]]
"""The number of deviations by contract and fingerprint (:mod:`trivet.model.fingerprint`)."""


def today() -> date:
    """The day in UTC, by which waivers expire."""
    return datetime.now(UTC).date()


def check_waivers(waivers: Mapping[str, Waiver], registry: Registry) -> None:
    """Raise UsageError for a waiver that names no contract of ``registry``, or no target of it."""
    for name, waiver in waivers.items():
        try:
            _known("contract", waiver.contract, [*registry.listed, REQUIRED.id])
            if waiver.target:
                _known("target", waiver.target, [*registry.targets, STATIC, ONE_MODEL])
        except UsageError as error:
            raise UsageError(f"the waiver {name!r} names an {error.message}", remedy=error.remedy) from error


def acceptance_of(
    settings: Settings, registry: Registry, folder: Path, *, stack: str, baseline: Baseline | None = None
) -> Acceptance:
    """What ``settings``, with paths relative to ``folder``, and a baseline accept in a run. Raises UsageError as :func:`check_waivers`."""
    check_waivers(settings.waivers, registry)
    waivers = Waivers(settings.waivers, folder)
    return Acceptance(stack=stack, target=settings.target, waivers=waivers, baseline=baseline)


def _known(kind: str, pattern: str, names: Collection[str]) -> None:
    if not any(fnmatchcase(one, pattern) for one in names):
        raise unknown(kind, pattern, names)


class Waivers:
    """The waivers of the settings by name, ready to match findings on any stack and target.

    ``folder`` is what their paths are relative to, ``day`` the day by which they have expired or not. Raises UsageError for an invalid
    pattern of a path.
    """

    def __init__(self, waivers: Mapping[str, Waiver], folder: Path, day: date | None = None) -> None:
        self._waivers = dict(waivers)
        self._day = day or today()
        self._paths = {name: PathPatterns([one.path], folder) for name, one in waivers.items() if one.path}
        # Many contracts ask in turn for one file.
        self._has_file = lru_cache(maxsize=1024)(lambda name, file: bool(self._paths[name].match(Path(file))))

    def about(self, contract: str, *, stack: str, target: str) -> Mapping[str, Waiver]:
        """The waivers of one contract on a stack and a target, those that have not expired first."""
        found = {
            name: one
            for name, one in self._waivers.items()
            if fnmatchcase(contract, one.contract)
            and fnmatchcase(stack, one.stack or "*")
            and fnmatchcase(target, one.target or "*")
        }
        return dict(sorted(found.items(), key=lambda item: self.expired(item[1])))

    def covers(self, name: str, waiver: Waiver, place: Location | None) -> bool:
        """Whether a place is one that the waiver is about."""
        file, thing = (place.file or "", place.object or "") if place else ("", "")
        if name in self._paths and not (file and self._has_file(name, file)):
            return False
        return fnmatchcase(thing, waiver.object or "*")

    def matching(self, about: Mapping[str, Waiver], finding: Finding) -> list[str]:
        """The names of those of the waivers ``about`` the finding's contract that match it."""
        if finding.outcome is not Outcome.FAILED:
            return []
        return [
            name
            for name, one in about.items()
            if one.message in finding.message and self.covers(name, one, finding.location)
        ]

    def waived(self, finding: Finding, matching: Sequence[str]) -> Finding:
        """``finding`` with the first of the waivers of these names, which match it."""
        if not matching:
            return finding
        name = matching[0]
        one = self._waivers[name]
        return replace(
            finding,
            waiver=FindingWaiver(
                name=name, reason=one.reason, owner=one.owner, expires=one.expires, expired=self.expired(one)
            ),
        )

    def expired(self, waiver: Waiver) -> bool:
        """Whether the last day of the waiver is over."""
        return waiver.expires < self._day

    def uses(self, matches: Mapping[str, int], judged: Collection[str]) -> tuple[WaiverUse, ...]:
        """What each waiver did: ``matches`` has the number of findings by name, ``judged`` those whose subjects were judged."""
        return tuple(
            WaiverUse(name=name, waiver=one, findings=matches.get(name, 0), status=self._status(name, matches, judged))
            for name, one in self._waivers.items()
        )

    def _status(self, name: str, matches: Mapping[str, int], judged: Collection[str]) -> WaiverStatus:
        if matches.get(name):
            return WaiverStatus.EXPIRED if self.expired(self._waivers[name]) else WaiverStatus.USED
        return WaiverStatus.UNUSED if name in judged else WaiverStatus.UNDECIDED


NO_WAIVERS = Waivers({}, Path())


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The deviations of an earlier report, read from ``file``."""

    file: str
    findings: Sequence[Finding]


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """What is accepted in a run of one stack on one target."""

    stack: str = ""
    target: str = ""
    waivers: Waivers = NO_WAIVERS
    baseline: Baseline | None = None

    def reads_files(self, contract: str) -> bool:
        """Whether it depends on a finding's file whether it is accepted."""
        about = self.waivers.about(contract, stack=self.stack, target=self.target)
        return contract in self._known or any(one.path for one in about.values())

    def marked(self, contract: str, findings: Iterable[Finding]) -> list[Finding]:
        """All findings of one contract, with the waiver that matches each, and whether each is in the baseline."""
        about = self.waivers.about(contract, stack=self.stack, target=self.target)
        left = Counter(self._known.get(contract, ()))
        marked = []
        for finding in findings:
            known = left.total() > 0 and take(left, contract, finding)
            plain = replace(finding, waiver=None, in_baseline=known)
            marked.append(self.waivers.waived(plain, self.waivers.matching(about, plain)))
        return marked

    def waiver_uses(self, results: Sequence[ContractResult]) -> tuple[WaiverUse, ...]:
        """What each waiver did in a report of ``results``."""
        matches: Counter[str] = Counter()
        judged: set[str] = set()
        for result in results:
            about = self.waivers.about(result.id, stack=self.stack, target=self.target)
            matches.update(name for finding in result.findings for name in self.waivers.matching(about, finding))
            if result.outcome in (Outcome.PASSED, Outcome.FAILED):
                judged.update(about)
        return self.waivers.uses(matches, judged)

    def baseline_use(self, results: Sequence[ContractResult]) -> BaselineUse | None:
        """What the baseline did in a report of ``results``; None without one."""
        if not self.baseline:
            return None
        found = [finding for result in results for finding in result.findings if finding.in_baseline]
        expected = sum(self._known[result.id].total() for result in results if result.id in self._known)
        return BaselineUse(
            file=self.baseline.file, accepted=sum(one.accepted for one in found), gone=expected - len(found)
        )

    @cached_property
    def _known(self) -> Mapping[str, Findings]:
        """The findings of the baseline by contract."""
        known: dict[str, Findings] = {}
        for finding in self.baseline.findings if self.baseline else ():
            known.setdefault(finding.contract, Counter())[_key(finding.contract, finding)] += 1
        return known


def deviations(results: Iterable[ContractResult]) -> list[Finding]:
    """What a baseline is made of: the deviations in ``results``, with their contracts. An ERROR is none: nothing was judged."""
    return [
        replace(finding, contract=result.id)
        for result in results
        for finding in result.findings
        if finding.outcome.deviates and finding.outcome is not Outcome.ERROR
    ]


def take(left: Findings, contract: str, finding: Finding) -> bool:
    """Whether ``left`` of a baseline has the finding, which is then taken out of it."""
    key = _key(contract, finding)
    if left[key] <= 0 or not finding.outcome.deviates or finding.outcome is Outcome.ERROR:
        return False
    left[key] -= 1
    return True


def _key(contract: str, finding: Finding) -> tuple[str, str]:
    return contract, fingerprint(contract, finding)
