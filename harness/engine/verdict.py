"""The verdict on an upgrade: which steps there are, which mixes of old and new must be judged, and what their results say together.

Starts nothing itself: a mix is a cell of a matrix (:mod:`trivet.engine.matrix`), judged by an ordinary run with the results store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trivet.engine.acceptance import Acceptance
from trivet.engine.matrix import CellEnded, JudgeCell, Matrix, PlannedCell, planned_cell
from trivet.engine.results_store import ResultsStore
from trivet.engine.run import Keeper, summary_of
from trivet.engine.upgrade_order import Taken, cheapest_order, fewest_together, next_mixes, safe_order, suspects
from trivet.errors import UsageError
from trivet.model.contract import Contract
from trivet.model.difference import ComponentChange
from trivet.model.matrix import Cell
from trivet.model.outcome import Level, Outcome
from trivet.model.report import ConformanceReport, ContractResult, Provenance
from trivet.model.stack import Role, Stack
from trivet.model.target import Target
from trivet.model.verdict import (
    Compatibility,
    FilesVerdict,
    Incompatibility,
    Mix,
    MixFailure,
    ModelsVerdict,
    SeamVerdict,
    Suspect,
    UpgradeStep,
    UpgradeVerdict,
)
from trivet.stacks.composed import BACKEND, KSERVE, MLFLOW_CLIENT, OF_KSERVE, SDK, Contradiction, compose
from trivet.stacks.parts import parts_digest

STEPS: Mapping[str, tuple[str, ...]] = {
    "tracking": ("tracking",),
    "kserve": (KSERVE, "initializer"),
    "runtime": ("runtime",),
    BACKEND: (BACKEND,),
    "trainer": ("trainer",),
    SDK: (SDK,),
}
"""Step → the parts of the stack that it upgrades, servers before their clients: of several safe orders the first in this order is shown.
KServe's release brings its storage initializer (kserve 0.14.1 and 0.20.0, ``config/storagecontainers/default.yaml``)."""

MIGRATES = "MLflow's server refuses a database with an older schema, and `mlflow db upgrade` migrates it: going back needs a backup"
"""mlflow 2.17.2 and 3.17.2, ``mlflow/store/db/utils.py``, ``_verify_schema``."""


# -- the steps


def upgrade_steps(
    old: Stack, new: Stack, names: tuple[str, str], progress: Callable[[str], None] = lambda _: None
) -> tuple[UpgradeStep, ...]:
    """The steps from ``old`` to ``new``, which ``names`` name: a step for each part that differs.

    The KFP SDK is a step by itself if an environment with the old SDK and the new rest can be resolved, or the other way round; versions
    without a lock are locked for that. Raises UsageError when nothing differs.
    """
    differing = [name for name in STEPS if name != SDK and _differ(old, new, name)]
    if "trainer" in differing and (versions := _sdks(old, new)):
        if _same_but_sdk(old.roles["trainer"], new.roles["trainer"]):
            differing[differing.index("trainer")] = SDK
        elif versions[0] != versions[1] and _can_be_split(old, new, names, progress):
            differing.append(SDK)
    if not differing:
        raise UsageError(
            f"{old.name} and {new.name} have the same parts: there is nothing to upgrade",
            remedy="name two stacks that differ, such as --from 2024.11-fixed --to current",
        )
    return tuple(
        UpgradeStep(
            name=name,
            parts=STEPS[name],
            components=tuple(_changes(old, new, name, split=SDK in differing)),
            no_return=MIGRATES if name == "tracking" else "",
        )
        for name in differing
    )


def _differ(old: Stack, new: Stack, step: str) -> bool:
    parts = {
        "kserve": (
            *(f"components.{name}" for name in OF_KSERVE),
            *(f"settings.{name}" for name in {**old.settings, **new.settings} if name != BACKEND),
            "api_schemas",
            "roles.initializer",
        ),
        "runtime": ("roles.runtime", "runtime_image"),
        BACKEND: (f"settings.{BACKEND}",),
    }.get(step, (f"roles.{step}",))
    return parts_digest(old, parts) != parts_digest(new, parts)


def _sdks(old: Stack, new: Stack) -> tuple[str, str] | None:
    """The KFP SDKs of two stacks whose trainers both require one."""
    roles = (old.roles["trainer"], new.roles["trainer"])
    if not all(any(_named(one) == "kfp" for one in role.requires) for role in roles):
        return None
    return roles[0].pins.get("kfp", ""), roles[1].pins.get("kfp", "")


def _named(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def _same_but_sdk(old: Role, new: Role) -> bool:
    """Whether two trainers require the same but for the SDK."""
    rest = [
        (
            sorted(one for one in role.requires if _named(one) != "kfp"),
            role.constraints,
            role.python,
            dict(role.environment),
        )
        for role in (old, new)
    ]
    return rest[0] == rest[1]


def _can_be_split(old: Stack, new: Stack, names: tuple[str, str], progress: Callable[[str], None]) -> bool:
    for parts in ({SDK: names[1]}, {"trainer": names[1], SDK: names[0]}):
        try:
            compose(old, parts, progress=progress)
        except Contradiction:
            continue
        return True
    return False


def _changes(old: Stack, new: Stack, step: str, *, split: bool) -> Iterator[ComponentChange]:
    """The versions that a step changes, for people."""

    def pins(role: str, *distributions: str) -> Iterator[tuple[str, str | None, str | None]]:
        for name in distributions:
            yield name, old.roles[role].pins.get(name), new.roles[role].pins.get(name)

    of_kserve = ((name, dict(old.components).get(name), dict(new.components).get(name)) for name in OF_KSERVE)
    of_the_trainer = pins("trainer", "scikit-learn", "numpy", "pandas", *(() if split else ("kfp",)))
    releases = [one.settings.get(BACKEND, {}).get("backend") for one in (old, new)]
    client = ((MLFLOW_CLIENT, before, after) for _, before, after in pins("trainer", "mlflow"))
    found: Mapping[str, Iterable[tuple[str, str | None, str | None]]] = {
        "tracking": pins("tracking", "mlflow"),
        "kserve": of_kserve,
        "runtime": pins("runtime", "mlserver", "mlflow", "scikit-learn", "numpy"),
        BACKEND: (("kfp_backend", releases[0], releases[1]),),
        "trainer": (*client, *of_the_trainer),
        SDK: pins("trainer", "kfp"),
    }
    for name, before, after in found[step]:
        if before != after:
            yield ComponentChange(name=name, before=before, after=after)


# -- the mixes


@dataclass(frozen=True, kw_only=True)
class MixEnded:
    """Progress: a mix has its results."""

    mix: Mix


class Upgrade:
    """The mixes of one upgrade on one target, the contracts of each, and the store that their results are in.

    ``names`` are the old and the new stack as :func:`trivet.stacks.composed.compose` takes them, ``accepted`` the known failures that the
    settings accept on a stack, ``folder`` the folder of a mix' report, empty for none.
    """

    def __init__(
        self,
        old: Stack,
        new: Stack,
        names: tuple[str, str],
        steps: Sequence[UpgradeStep],
        *,
        contracts: Sequence[Contract],
        target: Target,
        store: ResultsStore,
        accepted: Callable[[Stack], Acceptance],
        folder: Callable[[Mapping[str, str]], str] = lambda values: "",
    ) -> None:
        self.old, self.new, self.steps = old, new, tuple(steps)
        self.names = tuple(step.name for step in steps)
        self._stacks = names
        self._contracts = contracts
        self._target = target
        self._store = store
        self._accepted = accepted
        self._folder = folder
        self.mixes: dict[Taken, Mix] = {}
        self._reports: dict[Taken, Sequence[ContractResult]] = {}
        self._composed: dict[Taken, PlannedCell] = {}

    def values(self, taken: Iterable[str]) -> dict[str, str]:
        """Part → stack, for :func:`trivet.stacks.composed.compose`."""
        taken = set(taken)
        values = {part: self._stacks[1] for step in self.steps if step.name in taken for part in step.parts}
        if "trainer" in taken and SDK in self.names and SDK not in taken:
            values[SDK] = self._stacks[0]
        return values

    def cell(self, taken: Taken, progress: Callable[[str], None] = lambda _: None) -> PlannedCell:
        """A mix as a cell; one whose requirements contradict each other has an error."""
        if taken not in self._composed:
            self._composed[taken] = planned_cell(self.old, self.values(taken), progress)
        return self._composed[taken]

    def judge(
        self,
        judge: JudgeCell,
        jobs: int,
        progress: Callable[[MixEnded], None],
        notes: Callable[[str], None] = lambda _: None,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        """Judge the old stack, the new one, and mixes until an order is known to be safe or none can be; at most ``jobs`` at a time.

        A mix with a contract that is known to fail there is not run. ``stop`` must end the calls of ``judge`` after an exception.
        """
        wanted = [frozenset[str](), frozenset(self.names)]
        while wanted:
            batch: list[Taken] = []
            for taken in wanted:
                if refused := self._known_to_fail(taken, self.cell(taken, notes)):
                    self._ended(taken, refused, progress)
                    break  # Others may be on no order any more.
                batch.append(taken)
                if len(batch) == jobs:
                    break
            self._run(batch, judge, jobs, progress, stop)
            wanted = next_mixes(self.names, self._allowed(), self._closed())

    def _run(
        self,
        batch: Sequence[Taken],
        judge: JudgeCell,
        jobs: int,
        progress: Callable[[MixEnded], None],
        stop: Callable[[], None],
    ) -> None:
        if not batch:
            return
        by_values = {frozenset(self.cell(taken).values.items()): taken for taken in batch}
        reports: dict[Taken, ConformanceReport] = {}

        def kept(cell: PlannedCell) -> ConformanceReport:
            report = reports[by_values[frozenset(cell.values.items())]] = judge(cell)
            return report

        def ended(event: CellEnded) -> None:
            taken = by_values[frozenset(event.cell.values.items())]
            self._ended(taken, self._mix(taken, event.cell, reports.get(taken)), progress)

        matrix = Matrix([self.cell(taken) for taken in batch], self._contracts, self._target, self._store)
        matrix.run(kept, jobs, ended, stop)

    def _ended(self, taken: Taken, mix: Mix, progress: Callable[[MixEnded], None]) -> None:
        self.mixes[taken] = mix
        progress(MixEnded(mix=mix))

    def _mix(self, taken: Taken, cell: Cell, report: ConformanceReport | None) -> Mix:
        results = report.contracts if report else ()
        self._reports[taken] = results
        blocking = [result for result in results if result.blocks]
        failed = [result for result in blocking if result.outcome is Outcome.FAILED]
        return Mix(
            upgraded=self._in_order(taken),
            exit_code=cell.exit_code,
            stack=cell.stack,
            failures=tuple(_failure(result) for result in failed or blocking),
            error=cell.error,
            impossible=self.cell(taken).stack is None,
            passed=sum(one.outcome is Outcome.PASSED and one.level is Level.MUST for one in results),
            judged=cell.judged,
            reused=len(cell.contracts) - cell.judged,
            seconds=cell.seconds,
            report=self._folder(cell.values) if report else "",
        )

    def _known_to_fail(self, taken: Taken, cell: PlannedCell) -> Mix | None:
        """The mix if kept results refuse it, and some of its results are missing. The old stack is always judged whole."""
        if cell.stack is None or not taken:
            return None
        keeper = Keeper(self._store, self._contracts, cell.stack, self._target)
        kept = [result for _, result in keeper.reused(self._accepted(cell.stack))]
        failed = [result for result in kept if result.blocks and result.outcome is Outcome.FAILED]
        if not failed or len(kept) == len(self._contracts):
            return None
        self._reports[taken] = kept
        return Mix(
            upgraded=self._in_order(taken),
            exit_code=1,
            stack=summary_of(cell.stack),
            failures=tuple(map(_failure, failed)),
            known_to_fail=True,
            passed=sum(one.outcome is Outcome.PASSED and one.level is Level.MUST for one in kept),
            reused=len(kept),
        )

    def _in_order(self, taken: Taken) -> tuple[str, ...]:
        return tuple(name for name in self.names if name in taken)

    def _allowed(self) -> set[Taken]:
        return {taken for taken, mix in self.mixes.items() if mix.exit_code == 0}

    def _closed(self) -> set[Taken]:
        return {taken for taken, mix in self.mixes.items() if taken and mix.exit_code != 0}

    # -- what the results say

    def order(self) -> tuple[str, ...]:
        """The first order whose mixes are all conformant; empty if there is none."""
        return safe_order(self.names, self._allowed())

    def verdict(
        self, provenance: Provenance, files: FilesVerdict | None = None, models: ModelsVerdict | None = None
    ) -> UpgradeVerdict:
        """The verdict by what was judged, with what is said of files and models."""
        order = self.order()
        return UpgradeVerdict(
            old=summary_of(self.old),
            new=summary_of(self.new),
            target=self._target.name,
            contracts=len(self._contracts),
            steps=self.steps,
            mixes=tuple(sorted(self.mixes.values(), key=self._position)),
            order=order,
            together=() if order else fewest_together(self.names, self._allowed() - {frozenset()}),
            blocked=self._is_blocked(),
            incompatibilities=tuple(self._incompatibilities()),
            seams=tuple(self._seams()),
            files=files,
            models=models,
            unclear=tuple(self._unclear(order, files, models)),
            provenance=provenance,
        )

    def _position(self, mix: Mix) -> tuple[int, list[int]]:
        return len(mix.upgraded), [self.names.index(name) for name in mix.upgraded]

    def _is_blocked(self) -> bool:
        refused = {taken for taken, mix in self.mixes.items() if taken and mix.refused}
        return cheapest_order(self.names, (), refused) is None

    def _incompatibilities(self) -> Iterator[Incompatibility]:
        failed: dict[str, dict[Taken, ContractResult]] = {}
        passed: dict[str, set[Taken]] = {}
        for taken, results in self._reports.items():
            for one in results:
                if one.blocks and one.outcome is Outcome.FAILED:
                    failed.setdefault(one.id, {})[taken] = one
                elif one.outcome is Outcome.PASSED:
                    passed.setdefault(one.id, set()).add(taken)
        start, whole = frozenset[str](), frozenset(self.names)
        for identifier, found in failed.items():
            on_the_way = {taken: one for taken, one in found.items() if taken}
            one = next(iter((on_the_way or found).values()))
            explained = suspects(on_the_way, passed.get(identifier, ()), self.names) if on_the_way else ()
            yield Incompatibility(
                contract=identifier,
                title=one.title,
                seam=one.seam,
                reason=one.reason,
                remedy=one.remedy,
                suspects=tuple(self._suspect(*pair) for pair in explained),
                mixes=tuple(sorted(map(self._in_order, found), key=len)),
                before=start in found,
                after=whole in found,
            )

    def _suspect(self, new: str, old: str) -> Suspect:
        first = {step.name: step.components[0] for step in self.steps if step.components}
        after, before = first.get(new), first.get(old)
        return Suspect(
            new=new,
            old=old,
            new_component=after.name if after else "",
            new_version=(after.after if after else "") or "",
            old_component=before.name if before else "",
            old_version=(before.before if before else "") or "",
        )

    def _seams(self) -> Iterator[SeamVerdict]:
        by_seam: dict[tuple[str, str], list[ContractResult]] = {}
        for one in self._reports.get(frozenset(self.names), ()):
            if one.level is Level.MUST or one.blocks:
                by_seam.setdefault(one.seam, []).append(one)
        for seam, results in by_seam.items():
            blocking = [one for one in results if one.blocks]
            failed = [one for one in blocking if one.outcome is Outcome.FAILED]
            passed = sum(one.outcome is Outcome.PASSED for one in results)
            verdict = Compatibility.COMPATIBLE
            if failed:
                verdict = Compatibility.INCOMPATIBLE
            elif blocking or not passed:
                verdict = Compatibility.UNKNOWN
            reason = (failed or blocking)[0].reason if blocking else ""
            yield SeamVerdict(
                seam=seam,
                verdict=verdict,
                passed=passed,
                contracts=len(results),
                reason=reason or ("" if passed else "no MUST of this seam passed"),
            )

    def _unclear(self, order: Sequence[str], files: FilesVerdict | None, models: ModelsVerdict | None) -> Iterator[str]:
        if not order and not self._is_blocked():
            for mix in self.mixes.values():
                if mix.upgraded and mix.exit_code != 0 and not mix.refused:
                    whole = mix.error or (mix.failures[0].reason if mix.failures else "no MUST passed")
                    reason = whole.strip().partition("\n")[0]
                    yield (
                        f"with {named(mix.upgraded)} upgraded it is inconclusive: {reason}; "
                        "the same command judges what is missing again"
                    )
        if files:
            yield from files.unclear
        if models:
            yield from models.errors
            for one, further in models.alike:
                if one.after == "unknown":
                    check = f"`trivet check {one.uri} --stack {self._stacks[1]}`"
                    fleet = f"`trivet fleet --mlflow {models.server} --stack {self._stacks[1]} --serve`"
                    which = f"{one.uri} and {further:,} more are" if further else f"{one.uri} is"
                    settles = f"{check} settles it for this one, {fleet} for all" if further else f"{check} settles it"
                    yield f"{which} {one.before} on {self.old.name} and unknown on {self.new.name}: {one.reason}; {settles}"


def named(steps: Sequence[str]) -> str:
    """``tracking and runtime``."""
    *rest, last = steps or ("nothing",)
    return f"{', '.join(rest)} and {last}" if rest else last


def _failure(result: ContractResult) -> MixFailure:
    return MixFailure(
        contract=result.id,
        title=result.title,
        seam=result.seam,
        outcome=result.outcome,
        reason=result.reason,
        remedy=result.remedy,
        judged=result.reused.at if result.reused else "",
    )
