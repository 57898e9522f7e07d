"""Judging a fleet: the static contracts over every registered version of an MLflow server. Serves no model and executes nothing of one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trivet.engine.acceptance import NO_WAIVERS, Waivers
from trivet.engine.model_judge import ModelJudge, judging
from trivet.engine.run import Recorder, summary_of
from trivet.errors import PlatformError, TrivetError, UsageError, unknown
from trivet.host.journal import Run, clean_leftovers
from trivet.host.process_pool import map_in_processes
from trivet.integration import Signature, check_successor, read_signature
from trivet.integration.model_files import ModelFile, ModelFiles, download_file, locate_files
from trivet.integration.tracking import TrackingApi, TrackingError
from trivet.model.contract import Contract
from trivet.model.finding import Location
from trivet.model.fleet import FleetReport, JudgedModel, JudgedService, Member, ModelVerdict
from trivet.model.outcome import Outcome
from trivet.model.redaction import redact
from trivet.model.report import ONE_MODEL, STATIC, InputError
from trivet.model.stack import Stack
from trivet.model.subjects import ModelDirectory
from trivet.model.waiver import WaiverUse
from trivet.toolkit.subjects import read_model_directory

PIECE = 50
"""Versions that a process judges in one go."""

DOWNLOADS = 8
"""Files that a process downloads side by side; it waits for the server most of the time."""

DOCUMENTS = (".txt", ".yaml", ".yml", "MLmodel")
"""Endings of the files that are downloaded first: what the contracts read of any model."""

KEPT = ("name", "version", "current_stage", "source", "run_id", "model_id")
"""What is kept of each version until it is judged; its tags and descriptions may be long."""

PLACEHOLDER = 2**30
"""The largest size of a file that stands in for one that was not downloaded; it takes no room on disk."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which registered versions to judge: those that match one of ``models`` (shell-style) and have one of ``aliases`` or ``stages`` and
    all ``tags``; an empty one of these chooses all."""

    models: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A registered version as the server describes it, of which at least KEPT is needed, and its aliases."""

    entry: Mapping[str, Any]
    aliases: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The chosen versions by name and version, how many the server has, and what could not be listed."""

    chosen: tuple[Registered, ...]
    total: int
    errors: tuple[InputError, ...] = ()


def judge_fleet(
    server: str,
    contracts: Iterable[Contract],
    stack: Stack,
    *,
    selection: Selection,
    max_bytes: int,
    waivers: Waivers = NO_WAIVERS,
    emit: Callable[[JudgedModel], None] = lambda model: None,
) -> FleetReport:
    """The report on the registered versions of the MLflow server at ``server`` that ``selection`` chooses.

    Of each model at most ``max_bytes`` are downloaded. ``waivers`` accept findings; the object of one is ``models:/NAME/VERSION``.
    ``emit`` gets each model as it is judged, in the order of the report. Raises UsageError for a selection that chooses what the server
    does not have, and when none of ``contracts`` judges a model directory; TrackingError when the server lists nothing.
    """
    recorder = Recorder(lambda event: None)
    connect = partial(TrackingApi, server)
    listing = list_versions(connect(), selection)
    judged = []
    clean_leftovers()
    with Run() as run:
        contracts = list(contracts)
        models = judge_versions(
            listing.chosen,
            contracts,
            stack,
            connect=connect,
            max_bytes=max_bytes,
            directory=run.directory,
            waivers=waivers,
        )
        for model in models:
            judged.append(model)
            emit(model)
    return FleetReport(
        server=redact(server),
        stack=summary_of(stack),
        models=tuple(judged),
        total=listing.total,
        errors=listing.errors,
        provenance=recorder.provenance("trivet fleet"),
    )


def waiver_uses(
    waivers: Waivers, members: Sequence[Member], contracts: Iterable[Contract], stack: Stack
) -> tuple[WaiverUse, ...]:
    """What each waiver did.

    It is about what was judged if its contract judged a member that its object names: one of the static ``contracts`` that applies to the
    stack the manifest of a service, or a model whose files could be read, unless it was inconclusive there or is advice, of which only the
    name is known; any other when the member was served, where it passed or failed.
    """
    matches = Counter(
        name for member in members for name in (*member.waivers, *(member.measured.waivers if member.measured else ()))
    )
    services: list[Member] = [
        one for one in members if isinstance(one, JudgedService) and one.manifest not in (None, ModelVerdict.UNKNOWN)
    ]
    readable = [one for one in members if one.flavors]
    over: dict[str, list[Member]] = {"model_directory": readable, "manifest": services, "resource": services}
    chosen = list(contracts)
    asked = [(one.id, STATIC, those) for subject, those in over.items() for one in judging(subject, chosen, stack)]
    asked += [(name, ONE_MODEL, [one]) for one in members if one.measured for name in one.measured.judged]
    judged = {
        name
        for contract, target, those in asked
        for name, waiver in waivers.about(contract, stack=stack.name, target=target).items()
        if any(
            waivers.covers(name, waiver, Location(object=member.uri))
            and (target == ONE_MODEL or contract not in _undecided(member))
            for member in those
        )
    }
    return waivers.uses(matches, judged)


def _undecided(member: Member) -> set[str]:
    inconclusive = {one.contract for one in member.reasons if one.outcome is Outcome.INCONCLUSIVE}
    return inconclusive.union(member.advice)


def list_versions(tracking: TrackingApi, selection: Selection) -> Listing:
    """The versions of ``selection``. When the server fails on a later page, what came before is kept and the failure is an error.

    Raises TrackingError when the server cannot list anything, and UsageError for a pattern, alias or stage that no version has.
    """
    aliases: dict[tuple[str, str], list[str]] = {}
    found: list[Registered] = []
    names: set[str] = set()
    known: dict[str, set[str]] = {"alias": set(), "stage": set()}
    error: InputError | None = None
    total = 0
    try:
        for model in tracking.all_registered_models():
            names.add(str(model["name"]))
            for each in model.get("aliases", ()):
                aliases.setdefault((model["name"], str(each["version"])), []).append(str(each["alias"]))
        for entry in tracking.all_model_versions():
            total += 1
            one = Registered(
                entry=entry, aliases=tuple(sorted(aliases.get((entry["name"], str(entry["version"])), ())))
            )
            known["alias"].update(one.aliases)
            known["stage"].add(str(entry.get("current_stage") or "None"))
            if _is_chosen(one, selection):
                found.append(replace(one, entry={key: entry[key] for key in KEPT if key in entry}))
    except TrackingError as failure:
        if not total:
            raise
        error = InputError(
            message=f"the server listed {total:,} versions and then failed: {redact(failure.message)}",
            remedy=failure.remedy or "mend the server, and judge the fleet again",
            exit_code=PlatformError.exit_code,
        )
    if error is None:
        for pattern in selection.models:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise unknown("registered model", pattern, names)
        for kind, wanted in (("alias", selection.aliases), ("stage", selection.stages)):
            for value in wanted:
                if value not in known[kind]:
                    raise unknown(kind, value, known[kind])
    return Listing(chosen=tuple(found), total=total, errors=(error,) if error else ())


def _is_chosen(one: Registered, selection: Selection) -> bool:
    tags = {str(tag["key"]): str(tag.get("value", "")) for tag in one.entry.get("tags", ())}
    return (
        (not selection.models or any(fnmatchcase(one.entry["name"], pattern) for pattern in selection.models))
        and (not selection.aliases or not set(one.aliases).isdisjoint(selection.aliases))
        and (not selection.stages or str(one.entry.get("current_stage") or "None") in selection.stages)
        and all(tags.get(key) == value for key, value in selection.tags.items())
    )


def judge_versions(
    versions: Sequence[Registered],
    contracts: Iterable[Contract],
    stack: Stack,
    *,
    connect: Callable[[], TrackingApi],
    max_bytes: int,
    directory: Path,
    waivers: Waivers = NO_WAIVERS,
) -> Iterator[JudgedModel]:
    """Every version with its verdict under ``stack``, in order, by those of ``contracts`` that judge a model directory; and what of its
    signature breaks clients of the version of the same model that stands before it.

    ``connect`` makes a client for each process. Of each model at most ``max_bytes`` are downloaded, into ``directory``, where nothing is
    left; a model whose directory is on this machine is read there. Raises UsageError when none of the contracts judges a model directory.
    """
    judge = _VersionJudge(contracts, stack, connect, max_bytes, directory, waivers)
    pieces = [versions[start : start + PIECE] for start in range(0, len(versions), PIECE)]
    before: JudgedModel | None = None
    signed: Signature | None = None
    with closing(map_in_processes(judge.piece, pieces)) as parts:
        for model, signature in (one for part in parts for one in part):
            changes = check_successor(signature, signed) if signature and signed else []
            if before and before.name == model.name and changes:
                yield replace(model, predecessor=before.version, breaks_clients=tuple(map(redact, changes)))
            else:
                yield model
            before, signed = model, signature


class _VersionJudge:
    """Fetches registered versions and judges them, with a client of the server that each process makes for itself."""

    def __init__(
        self,
        contracts: Iterable[Contract],
        stack: Stack,
        connect: Callable[[], TrackingApi],
        max_bytes: int,
        directory: Path,
        waivers: Waivers,
    ) -> None:
        self._judge = ModelJudge(contracts, stack, waivers)
        self._connect = connect
        self._max_bytes = max_bytes
        self._directory = directory

    def piece(self, versions: Sequence[Registered]) -> list[tuple[JudgedModel, Signature | None]]:
        """Judge some versions, and read their signatures; what is downloaded for them is removed."""
        tracking = self._connect()
        with TemporaryDirectory(dir=self._directory) as scratch, ThreadPoolExecutor(DOWNLOADS) as pool:
            places = [Path(scratch) / str(number) for number in range(len(versions))]
            fetched = pool.map(lambda one, place: self._fetched(one, place, tracking), versions, places)
            return [
                (self._judged(one, source, model), _signature(model))
                for one, (source, model) in zip(versions, fetched, strict=True)
            ]

    def _fetched(self, one: Registered, place: Path, tracking: TrackingApi) -> tuple[str, ModelDirectory | TrivetError]:
        """Where the registry has the files of a version, and its model, or why that cannot be read."""
        try:
            files = locate_files(one.entry, tracking)
        except TrivetError as error:
            return str(one.entry.get("source") or ""), error
        return files.source, self._read(one, files, place, tracking)

    def _read(
        self, one: Registered, files: ModelFiles, place: Path, tracking: TrackingApi
    ) -> ModelDirectory | TrivetError:
        try:
            left_out: dict[str, int] = {}
            if files.directory is None:
                place.mkdir()
                left_out = self._download(one, files.listed, place, tracking)
            result = read_model_directory(files.directory or place)
        except TrivetError as error:
            return error
        except OSError as error:
            return PlatformError(f"its files cannot be written to this machine: {error}", remedy="free some disk space")
        if result.errors:
            return result.errors[0]
        (model,) = result.subjects
        assert isinstance(model, ModelDirectory)
        return replace(model, left_out=left_out)

    def _download(
        self, one: Registered, files: Sequence[ModelFile], place: Path, tracking: TrackingApi
    ) -> dict[str, int]:
        """Download what fits into the limit, documents first, then by size; the rest is left out, with its size."""
        left_out: dict[str, int] = {}
        budget = self._max_bytes
        for file in sorted(files, key=lambda file: (not file.path.endswith(DOCUMENTS), file.size)):
            if file.size <= budget:
                budget -= file.size
                download_file(one.entry, file, place, tracking)
                continue
            left_out[file.path] = file.size
            stand_in = place / file.path
            stand_in.parent.mkdir(parents=True, exist_ok=True)
            stand_in.touch()
            os.truncate(stand_in, min(file.size, PLACEHOLDER))
        return left_out

    def _judged(self, one: Registered, source: str, model: ModelDirectory | TrivetError) -> JudgedModel:
        described = JudgedModel(
            name=str(one.entry["name"]),
            version=str(one.entry["version"]),
            verdict=ModelVerdict.UNKNOWN,
            aliases=one.aliases,
            stage=str(one.entry.get("current_stage") or ""),
            source=redact(source),
        )
        return self._judge.judged(described, model)


def _signature(model: ModelDirectory | TrivetError) -> Signature | None:
    """The signature of a model; None for one without, or with one that cannot be read, which contracts say."""
    try:
        return None if isinstance(model, TrivetError) else read_signature(model.mlmodel)
    except UsageError:
        return None
