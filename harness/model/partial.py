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
        self.what = what

    def but(self, values: Mapping[str, Value]) -> PartialMapping[Value]:
        """The same with these ``values``, which are then known; what is unknown in them is then unknown."""
        unknown = values.unknown if isinstance(values, PartialMapping) else {}
        rest = {key: reason for key, reason in self.unknown.items() if key not in values}
        known = {key: value for key, value in self._known.items() if key not in unknown}
        return PartialMapping({**known, **values}, {**rest, **unknown}, self.what)

    def only(self, keys: Collection[str]) -> PartialMapping[Value]:
        """The same with these keys only, known or unknown."""
        return self.without([key for key in (*self._known, *self.unknown) if key not in keys])

    def without(self, keys: Collection[str]) -> PartialMapping[Value]:
        """The same without these keys, known or unknown."""
        known = {key: value for key, value in self._known.items() if key not in keys}
        return PartialMapping(known, {key: one for key, one in self.unknown.items() if key not in keys}, self.what)

    def __getitem__(self, key: str) -> Value:
        if key not in self._known and key in self.unknown:
            raise CannotTell(f"{self.what.format(key)} is unknown: {self.unknown[key]}")
        return self._known[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
