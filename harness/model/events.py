"""The events that the engine and a target emit while they work. Writers consume them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from trivet.model.report import ConformanceReport, ContractResult
from trivet.model.scenario import ScenarioReport, ScenarioResult, VariantResult


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """A run begins: which stack on which target, and the ids of every contract that the report will hold."""

    stack: str
    target: str
    contracts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PhaseStarted:
    """A target begins a named stretch of work, such as ``tracking server``. Phases overlap."""

    name: str


@dataclass(frozen=True, kw_only=True)
class PhaseEnded:
    """A phase is over. ``failure`` is empty, or says in one line why it did not succeed."""

    name: str
    seconds: float
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class ContractStarted:
    """The check of a contract begins."""

    id: str


@dataclass(frozen=True, kw_only=True)
class ContractEnded:
    """A contract has come to its outcome."""

    result: ContractResult


@dataclass(frozen=True, kw_only=True)
class RunEnded:
    """The report is complete and everything that was started is stopped."""

    report: ConformanceReport


@dataclass(frozen=True, kw_only=True)
class ScenariosStarted:
    """Playing begins: ``variants`` are all that will be played, as ``id[variant]``."""

    stack: str
    target: str
    variants: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class VariantStarted:
    """A variant of a scenario is being set up."""

    id: str
    variant: str


@dataclass(frozen=True, kw_only=True)
class VariantEnded:
    """A variant has come to its verdict, and its fault is reverted."""

    id: str
    result: VariantResult


@dataclass(frozen=True, kw_only=True)
class ScenarioEnded:
    """All variants of a scenario were played."""

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
    """Tell that a phase begins and ends. The block gets a function that marks the phase as failed without raising."""
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
