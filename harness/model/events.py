"""The events that engine and targets emit during a run, for writers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from trivet.model.report import ConformanceReport, ContractResult
from trivet.model.scenario import ScenarioReport, ScenarioResult, VariantResult


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """A run starts: its stack and target, and the ids of all contracts that the report will have."""

    stack: str
    target: str
    contracts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PhaseStarted:
    """A phase of a target's work starts, such as ``tracking server``. Phases overlap."""

    name: str


@dataclass(frozen=True, kw_only=True)
class PhaseEnded:
    """A phase ends. ``failure`` is the reason in one line, empty when it succeeded."""

    name: str
    seconds: float
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class ContractStarted:
    """The check of a contract starts."""

    id: str


@dataclass(frozen=True, kw_only=True)
class ContractEnded:
    """The check of a contract has ended with its outcome."""

    result: ContractResult


@dataclass(frozen=True, kw_only=True)
class RunEnded:
    """The report is complete and everything that was started is stopped."""

    report: ConformanceReport


@dataclass(frozen=True, kw_only=True)
class ScenariosStarted:
    """A run of scenarios starts; ``variants`` are all that it will play, as ``id[variant]``."""

    stack: str
    target: str
    variants: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class VariantStarted:
    """The set-up of a variant of a scenario starts."""

    id: str
    variant: str


@dataclass(frozen=True, kw_only=True)
class VariantEnded:
    """A variant has its verdict, and its fault is reverted."""

    id: str
    result: VariantResult


@dataclass(frozen=True, kw_only=True)
class ScenarioEnded:
    """All variants of a scenario have been played."""

    result: ScenarioResult


@dataclass(frozen=True, kw_only=True)
class ScenariosEnded:
    """The report is complete and everything that was started is stopped."""

    report: ScenarioReport


Event = (
    RunStarted
    | PhaseStarted
    | PhaseEnded
    | ContractStarted
    | ContractEnded
    | RunEnded
    | ScenariosStarted
    | VariantStarted
    | VariantEnded
    | ScenarioEnded
    | ScenariosEnded
)
Emit = Callable[[Event], None]


@contextmanager
def phase(emit: Emit, name: str) -> Iterator[Callable[[str], None]]:
    """Emit the start and the end of a phase. The block gets a function that marks the phase as failed without an exception."""
    failure = ""

    def failed(reason: str) -> None:
        nonlocal failure
        failure = reason

    started = time.monotonic()
    emit(PhaseStarted(name=name))
    try:
        yield failed
    except BaseException as error:
        failure = (str(error) or type(error).__name__).splitlines()[0]
        raise
    finally:
        emit(PhaseEnded(name=name, seconds=round(time.monotonic() - started, 3), failure=failure))
