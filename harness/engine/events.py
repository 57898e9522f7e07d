"""What the engine and a target tell while they work. Writers consume these; nothing else prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trivet.model.report import ConformanceReport, ContractResult


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


Event = RunStarted | PhaseStarted | PhaseEnded | ContractStarted | ContractEnded | RunEnded
Emit = Callable[[Event], None]
