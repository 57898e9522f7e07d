"""The errors that trivet raises on purpose: each says what happened, the likely cause and the remedy, and carries an exit code."""

from __future__ import annotations

from collections.abc import Iterable


class TrivetError(Exception):
    """Base of every deliberate error. ``exit_code`` follows the CLI's convention (2: could not tell, 3: wrong usage)."""

    exit_code = 2

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{message}\n  remedy: {remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy


class UsageError(TrivetError):
    """The request itself is wrong: an unknown name, a file that does not parse, contradicting options."""

    exit_code = 3


class DeclarationError(UsageError):
    """What an author declared is wrong: a contract, a scenario, a client, a target. The message names it, with file and line."""


class PlatformError(TrivetError):
    """The platform under test, or the machine, kept trivet from doing its job. Says nothing about conformance."""

    exit_code = 2


class CannotTell(TrivetError):
    """Raised by a check, or by a client that it asks, when the question has no answer: the contract becomes INCONCLUSIVE."""


class NotOffered(TrivetError):
    """The target has no such client or feature: the contract becomes SKIPPED, with this as its reason."""


def unknown(kind: str, value: str, available: Iterable[str]) -> UsageError:
    """A failed lookup, with the nearest name and everything that is available."""
    names = sorted(available)
    return UsageError(
        f"unknown {kind} {value!r}", remedy=choices(value, names) if names else f"there is no {kind} at all"
    )


def choices(value: object, available: Iterable[str]) -> str:
    """A remedy for ``value``, which is none of ``available``: the nearest of them, then all in their order."""
    names = list(available)
    near = nearest(value, names)
    return f"{f'did you mean {near!r}? ' if near else ''}choose one of: {', '.join(names)}"


def nearest(value: object, available: Iterable[str]) -> str:
    """The name among ``available`` that ``value`` is probably a misspelling of, in whatever case; empty when there is none."""
    # Here, because who only succeeds need not wait for it.
    from difflib import get_close_matches

    folded = {name.casefold(): name for name in available}
    near = get_close_matches(str(value).casefold(), folded, n=1, cutoff=0.7)
    return folded[near[0]] if near else ""
