"""Linting: static contracts over files, without starting anything. Yields the same report as a run does."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trivet.engine.acceptance import NO_WAIVERS, Waivers, take
from trivet.engine.ignored import COMMENTS, HOW, ignored_by, problems
from trivet.engine.outcomes import finding_of, observed
from trivet.engine.run import Recorder, fold, outside_versions, unknown_version
from trivet.errors import DeclarationError, TrivetError, UsageError
from trivet.host.process_pool import map_in_processes
from trivet.model.contract import Contract
from trivet.model.finding import Finding, IgnoredFinding, inconclusive, not_applicable
from trivet.model.fingerprint import fingerprint
from trivet.model.outcome import Outcome, blocks
from trivet.model.platform_config import PlatformConfig, indexed, platform_of
from trivet.model.redaction import redact
from trivet.model.report import STATIC, ConformanceReport, ContractResult
from trivet.model.stack import Stack
from trivet.model.subjects import Resource
from trivet.model.waiver import Waiver
from trivet.toolkit.ignore_comments import IgnoreComment
from trivet.toolkit.kustomize import without_patches
from trivet.toolkit.remembered import remembering
from trivet.toolkit.subjects import (
    KINDS,
    MAX_OBJECT,
    RESOURCES,
    WITHOUT_KIND,
    ReadResult,
    Subject,
    companions,
    file_parts,
    read,
    stream_parts,
)
from trivet.toolkit.walking import MLMODEL, Found, PathPatterns, Place, TextStream, places

PIECE = 64
"""Files that are judged in one go; more of them are shared among processes. The first pieces are smaller, for a first finding soon."""

AHEAD = 64 * 1024
"""Bytes of files that are read, and then judged, together: file by file takes a third longer, since the code of all contracts is more than
the processor's caches hold."""

NEW_OBJECTS = 200_000
"""New objects with which Python searches for cycles. With its 700, of which nearly all are in use, it looks at each manifest's again and
again, which takes a quarter of the time; so many take some 20 MB."""

SAMPLES = 3
"""Paths that are named of those that are skipped for one reason."""

_NAMES = {
    "manifest": "InferenceService",
    "resource": "Kubernetes object",
    "model_directory": "model directory",
    "compiled_pipeline": "compiled pipeline",
}

_Key = tuple[str, str]
"""A contract's id, and the fingerprint of a finding."""

Deviation = tuple[Finding, Contract]
"""A finding that is neither PASSED nor SKIPPED, redacted, and its contract."""


@dataclass(frozen=True, kw_only=True)
class SkippedPaths:
    """How many paths were skipped for one reason, and the first of them."""

    number: int = 0
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LintResult:
    """What linting came to.

    ``counts`` says what was seen: subjects by name, and documents that are none by their kind; ``stacks`` how many subjects were judged by
    each stack. ``skipped`` are the paths that were not judged, by reason. ``errors`` are the files that could not be read, and that there
    was nothing to lint. ``ignored`` counts the findings that comments or the baseline ignore, and ``stale`` what the baseline has
    of the contracts and files that were judged and is gone, or of files below the paths that no longer exist. Each contract's findings
    are its deviations; confirmations are counted in one finding, so that ten thousand sound files do not make a report of ten thousand
    findings.
    """

    report: ConformanceReport
    counts: Mapping[str, int]
    stacks: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, SkippedPaths] = field(default_factory=dict)
    errors: tuple[TrivetError, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    stale: int = 0

    @property
    def exit_code(self) -> int:
        """That of the report."""
        return self.report.exit_code


def lint(
    paths: Iterable[Path | TextStream | TrivetError],
    contracts: Sequence[Contract],
    stack: Stack,
    platform: PlatformConfig | None = None,
    *,
    stacks: Sequence[tuple[PathPatterns, Stack]] = (),
    exclude: Sequence[PathPatterns] = (),
    gitignore: bool = True,
    markdown: bool = False,
    baseline: Iterable[Finding] = (),
    waivers: Waivers = NO_WAIVERS,
    known: Collection[str] = (),
    emit: Callable[[Sequence[Deviation]], None] = lambda deviations: None,
    command: str = "trivet lint",
) -> LintResult:
    """Judge everything lintable below ``paths`` by those of ``contracts`` that are static. An error among them is one of the result's.

    ``platform`` is what is known of the platform that the files are applied to, by default the one that trivet installs for the stack;
    objects among the files are added to its resources. Files that match patterns in ``stacks`` are judged by that stack, of several by
    the last; the report is that of ``stack``. ``exclude``, ``gitignore`` and ``markdown`` are those of
    :func:`trivet.toolkit.walking.places`.
    ``baseline`` has the findings to ignore, each as often as it is there and by its fingerprint (:mod:`trivet.model.fingerprint`),
    ``waivers`` are known failures that do not fail, and ``known`` the ids that a comment in a file may ignore, by default those of
    ``contracts``. ``emit`` gets the deviations of each few files as they are judged, in the order of the files and within a file by line.

    Contracts outside the stack's versions, and those whose kind of subject does not occur, are SKIPPED with their reason; those that no
    target can run are an ERROR. Raises UsageError when none of the contracts is static, and for two stacks of one name, which a report
    could not tell apart.
    """
    recorder = Recorder(lambda event: None)
    static = {contract.id: contract for contract in contracts if contract.static or contract.unrunnable}
    if not static:
        raise UsageError("none of the chosen contracts is static", remedy="`trivet list` marks those that lint can run")
    paths = list(paths)
    found = without_patches(places(paths, exclude=exclude, gitignore=gitignore, markdown=markdown))
    pieces = list(_pieces(found))
    beside = _companions(pieces) if any("platform" in contract.wants for contract in static.values()) else []
    by_name = _by_name((stack, *(other for _, other in stacks)))
    judges = [
        _Judge(
            one,
            static.values(),
            _with(platform or platform_of(one), beside),
            known or static,
            waivers,
            label=one.name if stacks else "",
        )
        for one in (stack, *(other for _, other in stacks))
    ]
    patterns = [one for one, _ in stacks]
    whole = _Part()
    accepted, files = Counter[_Key](), dict[_Key, str]()
    for finding in baseline:
        key = (finding.contract, fingerprint(finding.contract, finding))
        accepted[key] += 1
        files[key] = (finding.location and finding.location.file) or ""
    emitted = {**static, COMMENTS.id: COMMENTS}
    unrunnable = {name: _unrunnable(contract) for name, contract in static.items() if contract.unrunnable}
    emit([(finding, static[name]) for name, finding in unrunnable.items()])
    with (
        _rare_collections(),
        closing(map_in_processes(lambda piece: _judged(piece, judges, patterns), pieces)) as parts,
    ):
        for part in _unbroken(pieces, parts):
            _ignore(part, accepted)
            whole.add(part)
            if part.deviations:
                emit([(finding, emitted[finding.contract]) for finding in part.deviations])
    lintable = [*_NAMES.values(), *RESOURCES["serving.kserve.io"]]
    seen = {name: whole.counts[name] for name in [*lintable, *whole.counts] if whole.counts[name]}
    if not whole.errors and not whole.deviations and not any(name in seen for name in lintable):
        whole.errors.append(_nothing(paths, seen, whole.skipped))
    deviations: dict[str, list[Finding]] = {}
    for finding in (*unrunnable.values(), *whole.deviations):
        deviations.setdefault(finding.contract, []).append(finding)
    ignored: dict[str, list[IgnoredFinding]] = {}
    for one in whole.ignored:
        ignored.setdefault(one.finding.contract, []).append(one)
    have_judged = [judge for judge in judges if judge.stack.name in whole.stacks] or judges[:1]
    results = [
        _result(
            contract, deviations.get(name, []), ignored.get(name, []), whole.tallies.get(name, _Tally()), have_judged
        )
        for name, contract in static.items()
    ]
    if COMMENTS.id in deviations or COMMENTS.id in ignored:
        results.append(_result(COMMENTS, deviations.get(COMMENTS.id, []), ignored.get(COMMENTS.id, []), _Tally(), []))
    judging = {name for name in static if not all(judge.reasons[name] for judge in judges)} | {COMMENTS.id}
    report = recorder.report(
        results,
        target=STATIC,
        stack=stack,
        profile="static",
        command=command,
        errors=whole.errors,
        stacks=[by_name[name] for name in whole.stacks] if stacks else (),
        ignored=len(whole.ignored),
        waivers=waivers.uses(whole.waived, whole.judged_waivers),
    )
    left = {key: number for key, number in accepted.items() if number and key[0] in judging}
    asked = _Asked(paths, found, whole.unread) if left else None
    return LintResult(
        report=report,
        counts=seen,
        stacks=dict(whole.stacks),
        skipped=whole.skipped,
        errors=tuple(whole.errors),
        ignored=dict(Counter(HOW[one.by] for one in whole.ignored)),
        stale=sum(number for key, number in left.items() if asked and asked.has(files[key])),
    )


def _by_name(stacks: Iterable[Stack]) -> dict[str, Stack]:
    found: dict[str, Stack] = {}
    for one in stacks:
        other = found.setdefault(one.name, one)
        if other.digest != one.digest:
            raise UsageError(
                f"two stacks are called {one.name!r}: {other.folder} and {one.folder}",
                remedy="rename the folder of one: a report names the stack of each finding",
            )
    return found


class _Asked:
    """Which files one call was about."""

    def __init__(
        self, paths: Iterable[Path | TextStream | TrivetError], found: Iterable[Place], unread: Collection[str]
    ) -> None:
        paths = list(paths)
        self._below = [os.path.abspath(one) for one in paths if isinstance(one, Path)]  # noqa: PTH100 - as file_uri
        self._streams = {one.name for one in paths if isinstance(one, TextStream)} - set(unread)
        self._files: set[str] = set()
        self._models: set[str] = set()
        for place in found:
            if isinstance(place, Found) and str(place.path) not in unread:
                path = place.path.parent if place.model and place.path.name == MLMODEL else place.path
                (self._models if place.model else self._files).add(os.path.abspath(path))  # noqa: PTH100

    def has(self, file: str) -> bool:
        """Whether ``file`` was judged, or would have been if it still existed."""
        if not file or file in self._streams:
            return True
        path = Path(os.path.abspath(file))  # noqa: PTH100
        if str(path) in self._files or not self._models.isdisjoint(map(str, path.parents)):
            return True
        return not os.path.lexists(path) and any(path.is_relative_to(one) for one in self._below)


def _ignore(part: _Part, accepted: Counter[_Key]) -> None:
    """Take the deviations that a baseline has out of ``part``, and out of ``accepted``. One that a waiver names stays."""
    if not accepted.total():
        return
    left: list[Finding] = []
    for finding in part.deviations:
        if take(accepted, finding.contract, finding) and not finding.waiver:
            part.ignored.append(IgnoredFinding(finding=finding, by="baseline"))
        else:
            left.append(finding)
    part.deviations = left


def _pieces(found: Iterable[Place]) -> Iterator[Sequence[Place]]:
    """Files together, and each part of a stream by itself."""
    piece: list[Place] = []
    size = max(1, PIECE // 16)
    for place in found:
        if isinstance(place, TextStream):
            if piece:
                yield piece
                piece = []
            yield from ([part] for part in stream_parts(place))
            continue
        piece.append(place)
        if len(piece) == size:
            yield piece
            piece, size = [], min(PIECE, size * 2)
    if piece:
        yield piece


def _unbroken(pieces: Iterable[Sequence[Place]], parts: Iterable[_Part]) -> Iterator[_Part]:
    """``parts`` without those of a stream that stand behind a broken document, which ends it."""
    broken = False
    for piece, part in zip(pieces, parts, strict=True):
        first = piece[0]
        if not (broken and isinstance(first, TextStream) and first.before):
            broken = bool(part.errors)
            yield part


def _companions(pieces: Sequence[Sequence[Place]]) -> list[Resource]:
    """The objects among the files that can stand beside an InferenceService, and the services where one of them names any."""
    beside = _read_beside(pieces, services=False)
    if any(one.kind in ("InferenceGraph", "TrainedModel") for one in beside):
        beside += _read_beside(pieces, services=True)
    return beside


def _read_beside(pieces: Sequence[Sequence[Place]], *, services: bool) -> list[Resource]:
    with closing(
        map_in_processes(lambda piece: [one for place in piece for one in companions(place, services=services)], pieces)
    ) as parts:
        return [one for part in parts for one in part]


def _with(platform: PlatformConfig, beside: Iterable[Resource]) -> PlatformConfig:
    """``platform`` with the objects ``beside`` the manifests before its own."""
    known = (one for each in platform.resources.values() for one in each)
    return replace(platform, resources=indexed([*beside, *known]))


@dataclass(frozen=True)
class _Applied:
    """A contract under one stack: the parameter that takes the subject, those that are declared, why it cannot be judged, and the waivers
    that are about it."""

    contract: Contract
    wanted: str
    declared: Mapping[str, Any]
    unknown: str
    waivers: Mapping[str, Waiver]

    def findings(self, subject: Subject) -> Sequence[Finding]:
        """What the contract finds in a subject."""
        if self.unknown:
            return [inconclusive(self.unknown, location=subject.at())]
        return observed(self.contract, {self.wanted: subject, **self.declared}, subject.at)


class _Judge:
    """The contracts that apply under one stack. ``known`` are the ids that comments may ignore, ``label`` its name in findings."""

    def __init__(
        self,
        stack: Stack,
        contracts: Iterable[Contract],
        platform: PlatformConfig,
        known: Collection[str],
        waivers: Waivers,
        *,
        label: str = "",
    ) -> None:
        self.stack = stack
        self.label = label
        self._waivers = waivers
        self._waivers_about = {
            name: waivers.about(name, stack=stack.name, target=STATIC)
            for name in (COMMENTS.id, *(contract.id for contract in contracts))
        }
        self.reasons = {contract.id: outside_versions(contract, stack) for contract in contracts}
        applying = [contract for contract in contracts if contract.static and not self.reasons[contract.id]]
        declared: Mapping[str, Any] = {"stack": stack, "platform": platform}
        self._applied = [
            _Applied(
                contract,
                str(contract.subject),
                {name: declared[name] for name in contract.wants if name in declared},
                unknown_version(contract, stack),
                self._waivers_about[contract.id],
            )
            for contract in applying
        ]
        self._known = known

    def judge(self, places: Sequence[ReadResult], part: _Part) -> None:
        """Add what the contracts find in what some places hold.

        Contract by contract, so that the code of each is run for all of them while the processor has it.
        """
        judging = [_Judging(found) for found in places]
        wanted: dict[str, list[tuple[_Judging, Subject]]] = {}
        for each in judging:
            for subject in each.found.subjects:
                for name in KINDS[type(subject)]:
                    wanted.setdefault(name, []).append((each, subject))
        for one in self._applied:
            if one.wanted not in wanted:
                continue
            if (tally := part.tallies.get(one.contract.id)) is None:
                tally = part.tallies[one.contract.id] = _Tally()
            began = time.perf_counter()
            for each, subject in wanted[one.wanted]:
                self._apply(one, subject, each, tally, part)
            tally.seconds += time.perf_counter() - began
        for each in judging:
            if ignores := each.found.ignores:
                file = each.found.subjects[0].at().file or ""
                wrong = problems(ignores, each.used, file=file, judged=each.judged, known=self._known)
                redacted_wrong = (_redacted(replace(one, stack=self.label), COMMENTS) for one in wrong)
                each.deviations += [(self._waived(one, part), COMMENTS) for one in redacted_wrong]
            part.deviations += [finding for finding, _ in sorted(each.deviations, key=_order)]

    def _apply(self, one: _Applied, subject: Subject, judging: _Judging, tally: _Tally, part: _Part) -> None:
        """Add what one contract finds in one subject."""
        contract, found = one.contract, judging.found
        if found.ignores:
            judging.judged.add(contract.id)
        if one.waivers:
            place = subject.at()
            part.judged_waivers.update(
                name for name, waiver in one.waivers.items() if self._waivers.covers(name, waiver, place)
            )
        for seen in one.findings(subject):
            finding = replace(seen, stack=self.label) if self.label else seen
            if not finding.outcome.deviates:
                tally.note(finding)
                continue
            redacted = _redacted(_sourced(finding, found), contract)
            if comment := ignored_by(found.ignores, finding, contract, subject.line(())):
                judging.used.add((comment, contract.id))
                part.ignored.append(IgnoredFinding(finding=redacted, by="comment", reason=redact(comment.reason)))
            else:
                judging.deviations.append((self._waived(redacted, part), contract))

    def _waived(self, finding: Finding, part: _Part) -> Finding:
        """A deviation with the waiver that matches it."""
        matching = self._waivers.matching(self._waivers_about[finding.contract], finding)
        part.waived.update(matching)
        return self._waivers.waived(finding, matching)


@dataclass
class _Judging:
    """One place that is judged: its deviations, the comments that were used and by which contract, and the contracts that judged it."""

    found: ReadResult
    deviations: list[Deviation] = field(default_factory=list)
    used: set[tuple[IgnoreComment, str]] = field(default_factory=set)
    judged: set[str] = field(default_factory=set)


def _sourced(finding: Finding, found: ReadResult) -> Finding:
    """``finding`` with the template that its line was rendered from."""
    line = finding.location.line if finding.location else None
    source = found.source(line) if line and found.sources else ""
    return replace(finding, message=f"{finding.message} (rendered from {source})") if source else finding


def _unrunnable(contract: Contract) -> Finding:
    return _redacted(finding_of(DeclarationError(contract.unrunnable)), contract)


def _redacted(finding: Finding, contract: Contract) -> Finding:
    return replace(finding, contract=contract.id, message=redact(finding.message), remedy=redact(finding.remedy))


def _order(deviation: Deviation) -> tuple[str, int, bool, str]:
    finding, contract = deviation
    place = finding.location
    return (
        (place and place.file) or "",
        (place and place.line) or 0,
        not blocks(finding.outcome, contract.level, accepted=finding.accepted),
        contract.id,
    )


@dataclass
class _Tally:
    """One contract's confirmations and exemptions by outcome and stack: their number, and the first of each."""

    samples: dict[tuple[Outcome, str], Finding] = field(default_factory=dict)
    numbers: dict[tuple[Outcome, str], int] = field(default_factory=dict)
    seconds: float = 0.0

    def note(self, finding: Finding) -> None:
        """Take up one finding."""
        key = finding.outcome, finding.stack
        number = self.numbers.get(key, 0)
        if not number:
            self.samples[key] = finding
        self.numbers[key] = number + 1

    def add(self, later: _Tally) -> None:
        """Take up what was observed after this."""
        for key, number in later.numbers.items():
            self.samples.setdefault(key, later.samples[key])
            self.numbers[key] = self.numbers.get(key, 0) + number
        self.seconds += later.seconds


@dataclass
class _Part:
    """What some of the files came to. ``tallies`` by the contract's id; ``deviations`` in the order of the files; ``unread`` are the names
    of what could not be read whole, or was skipped."""

    deviations: list[Finding] = field(default_factory=list)
    tallies: dict[str, _Tally] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    stacks: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, SkippedPaths] = field(default_factory=dict)
    ignored: list[IgnoredFinding] = field(default_factory=list)
    errors: list[TrivetError] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)
    waived: Counter[str] = field(default_factory=Counter)
    """The number of deviations by the names of waivers that match them."""
    judged_waivers: set[str] = field(default_factory=set)
    """The names of waivers whose contract judged a subject that they are about."""

    def add(self, later: _Part) -> None:
        """Take up what the files after these came to."""
        self.deviations += later.deviations
        for identifier, tally in later.tallies.items():
            self.tallies.setdefault(identifier, _Tally()).add(tally)
        self.counts.update(later.counts)
        self.stacks.update(later.stacks)
        for reason, paths in later.skipped.items():
            self.skip(reason, paths)
        self.ignored += later.ignored
        self.errors += later.errors
        self.unread |= later.unread
        self.waived.update(later.waived)
        self.judged_waivers |= later.judged_waivers

    def skip(self, reason: str, paths: SkippedPaths) -> None:
        """Take up paths that are skipped for one reason."""
        before = self.skipped.get(reason, SkippedPaths())
        self.skipped[reason] = SkippedPaths(
            number=before.number + paths.number, samples=(*before.samples, *paths.samples)[:SAMPLES]
        )


def _judged(piece: Iterable[Place], judges: Sequence[_Judge], patterns: Sequence[PathPatterns]) -> _Part:
    """What one piece of the files came to. The first of ``judges`` is for what none of ``patterns`` matches, the others for one each."""
    part = _Part()
    broken: Path | None = None
    for batch in _batches(piece):
        file = batch[0].file if isinstance(batch[0], TextStream) else None
        if file and file == broken:
            continue
        before = len(part.errors)
        with remembering():
            _judge_batch(batch, judges, patterns, part)
        if len(part.errors) > before:
            broken = file
    return part


def _batches(piece: Iterable[Place]) -> Iterator[Sequence[Place]]:
    """Places that are read, and then judged, together. A model directory is judged by itself, since what is known of it can be large, and
    so is each part of a large file."""
    batch: list[Place] = []
    size = 0
    for place in piece:
        if isinstance(place, Found) and place.model:
            if batch:
                yield batch
            yield [place]
            batch, size = [], 0
            continue
        length = _size(place)
        if isinstance(place, Found) and length > MAX_OBJECT and (parts := file_parts(place)):
            if batch:
                yield batch
            while parts:
                yield [parts.pop(0)]
            batch, size = [], 0
            continue
        batch.append(place)
        size += length
        if size > AHEAD:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Search for cycles of objects with every :data:`NEW_OBJECTS` new ones, here and in the processes that judge.

    The threshold is the whole process's, so that only the main thread changes it: two that do so at a time could leave it changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = gc.get_threshold()
    try:
        gc.set_threshold(NEW_OBJECTS, *before[1:])
        yield
    finally:
        gc.set_threshold(*before)


def _judge_batch(
    batch: Sequence[Place], judges: Sequence[_Judge], patterns: Sequence[PathPatterns], part: _Part
) -> None:
    """Read some places, then judge what they hold, in their order."""
    by_judge: list[tuple[_Judge, list[ReadResult]]] = []
    for place in batch:
        found = read(place)
        part.errors += found.errors
        if found.others:
            part.counts.update(found.others)
        for skipped in found.skipped:
            part.skip(skipped.reason, SkippedPaths(number=1, samples=(skipped.path,)))
        if (found.errors or found.skipped) and isinstance(place, Found | TextStream):
            part.unread.add(place.name if isinstance(place, TextStream) else str(place.path))
        if not found.subjects:
            continue
        for subject in found.subjects:
            part.counts[_name(subject)] += 1
        file = place.path if isinstance(place, Found) else place.file if isinstance(place, TextStream) else None
        is_model = isinstance(place, Found) and place.model and place.path.name != MLMODEL
        matching = [index for index, one in enumerate(patterns, 1) if file and one.match(file, directory=is_model)]
        judge = judges[matching[-1] if matching else 0]
        part.stacks[judge.stack.name] += len(found.subjects)
        if not by_judge or by_judge[-1][0] is not judge:
            by_judge.append((judge, []))
        by_judge[-1][1].append(found)
    for judge, together in by_judge:
        judge.judge(together, part)


def _size(place: Place) -> int:
    try:
        return os.path.getsize(place.path) if isinstance(place, Found) else 0  # noqa: PTH202
    except OSError:
        return 0


def _name(subject: Subject) -> str:
    return (subject.kind or WITHOUT_KIND) if isinstance(subject, Resource) else _NAMES[KINDS[type(subject)][0]]


def _result(
    contract: Contract,
    deviations: Sequence[Finding],
    ignored: Sequence[IgnoredFinding],
    tally: _Tally,
    judges: Sequence[_Judge],
) -> ContractResult:
    """The contract's one line in the report. ``judges`` are those of the stacks that judged."""
    findings = [*deviations, *(_counted(sample, tally.numbers[key]) for key, sample in tally.samples.items())]
    reasons = {judge.label: reason for judge in judges if (reason := judge.reasons[contract.id])}
    # Of a contract that other stacks judge too, and of one that none does.
    outside = [replace(not_applicable(reason), stack=label) for label, reason in reasons.items()]
    if not findings and len(outside) < len({judge.label for judge in judges} or {""}):
        missing = f"no {_NAMES[contract.subject or '']} among the files"
        if ignored:
            missing = f"every deviation is ignored: {len(ignored):,} by comments or the baseline"
        findings = [not_applicable(missing)]
    return replace(fold(contract, [*findings, *outside], tally.seconds), ignored=tuple(ignored))


def _counted(sample: Finding, number: int) -> Finding:
    return replace(sample, message=f"{sample.message} (and {number - 1:,} more)") if number > 1 else sample


def _nothing(
    paths: Sequence[Path | TextStream | TrivetError], seen: Mapping[str, int], skipped: Mapping[str, SkippedPaths]
) -> TrivetError:
    numbers = [*seen.items(), *((reason, one.number) for reason, one in skipped.items())]
    others = ", ".join(f"{number} {name}" for name, number in numbers) or "no YAML or JSON document at all"
    names = ", ".join(one.name if isinstance(one, TextStream) else str(one) for one in paths)
    return TrivetError(
        f"nothing to lint under {names}: seen were {others}",
        remedy="name InferenceService manifests, pipelines compiled with KFP, or directories that hold an MLmodel",
    )
