"""The errors that trivet raises: each states what happened, the likely cause and the remedy, and has an exit code."""

from __future__ import annotations

from collections.abc import Iterable


class TrivetError(Exception):
    """Base class of trivet's errors. ``exit_code`` is that of the command line (2: inconclusive, 3: usage error).

    ``transient`` is False for an error that the software under test itself answered with: it would again.
    """

    exit_code = 2
    transient = True

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{message}\n  remedy: {remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy


class UsageError(TrivetError):
    """The request is wrong: an unknown name, a file that does not parse, contradicting options."""

    exit_code = 3


class DeclarationError(UsageError):
    """A declaration is wrong: of a contract, a scenario, a client or a target. The message names it, with file and line."""


class PlatformError(TrivetError):
    """The platform under test, or the machine, does not work well enough to judge it. Says nothing about conformance."""

    exit_code = 2


class CannotTell(TrivetError):
    """A check, or a client that it uses, cannot determine the outcome: the contract becomes INCONCLUSIVE."""


class NotOffered(TrivetError):
    """The target does not offer a client or feature: the contract becomes SKIPPED, with this message as its reason."""


MOST_LISTED = 200
"""Names of a choice; a registry may have ten thousand models."""


def unknown(kind: str, value: str, available: Iterable[str]) -> UsageError:
    """A failed lookup, with the nearest name and everything that is available."""
    names = sorted(available)
    return UsageError(
        f"unknown {kind} {value!r}", remedy=choices(value, names) if names else f"there is no {kind} to choose from"
    )


def choices(value: object, available: Iterable[str]) -> str:
    """The remedy for a ``value`` that is not one of ``available``: the nearest of them, then all in their order, MOST_LISTED at most."""
    names = list(available)
    near = nearest(value, names)
    more = f" and {len(names) - MOST_LISTED:,} more" if len(names) > MOST_LISTED else ""
    return f"{f'did you mean {near!r}? ' if near else ''}choose one of: {', '.join(names[:MOST_LISTED])}{more}"


def nearest(value: object, available: Iterable[str], *, cutoff: float = 0.7) -> str:
    """The name in ``available`` that is nearest to ``value``, ignoring case; empty if none is as similar as ``cutoff`` (1: the same)."""
    # Imported here, so that only errors load it.
    from difflib import get_close_matches

    folded = {name.casefold(): name for name in available}
    near = get_close_matches(str(value).casefold(), folded, n=1, cutoff=cutoff)
    return folded[near[0]] if near else ""
