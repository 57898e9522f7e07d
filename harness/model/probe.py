"""What a probe of a scenario returns: what shows that its condition is met, or what it saw instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NotYet:
    """The condition is not met: ``seen`` is what was seen instead, which the message of a timeout quotes. It is false."""

    seen: str

    def __bool__(self) -> bool:
        return False


Probed = str | NotYet
"""What shows that a condition is met, in a sentence; NotYet, or an empty string where there is nothing to say, when it is not met."""


def last_seen(probed: object) -> str:
    """What a probe saw instead, if it returned that; otherwise empty."""
    return probed.seen if isinstance(probed, NotYet) else ""
