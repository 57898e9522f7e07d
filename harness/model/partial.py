"""A mapping of which some values are unknown."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TypeVar

from trivet.errors import CannotTell

Value = TypeVar("Value")


class PartialMapping(Mapping[str, Value]):
    """``known`` values, and for each ``unknown`` key the reason. Iteration is over what is known.

    Asking for an unknown key raises CannotTell with its reason, so that a contract that needs it is INCONCLUSIVE: what is unknown is
    neither absent nor a default. ``what`` names such a value in messages, such as ``the version of {}``.
    """

    def __init__(self, known: Mapping[str, Value], unknown: Mapping[str, str], what: str = "{}") -> None:
        self._known = dict(known)
        self.unknown = dict(unknown)
        self._what = what

    def but(self, values: Mapping[str, Value]) -> PartialMapping[Value]:
        """The same with these ``values``, which are then known."""
        rest = {key: reason for key, reason in self.unknown.items() if key not in values}
        return PartialMapping({**self._known, **values}, rest, self._what)

    def without(self, keys: Collection[str]) -> PartialMapping[Value]:
        """The same without these keys, known or unknown."""
        known = {key: value for key, value in self._known.items() if key not in keys}
        return PartialMapping(known, {key: one for key, one in self.unknown.items() if key not in keys}, self._what)

    def __getitem__(self, key: str) -> Value:
        if key not in self._known and key in self.unknown:
            raise CannotTell(f"{self._what.format(key)} is unknown: {self.unknown[key]}")
        return self._known[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
