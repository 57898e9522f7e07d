"""Names with a meaning that targets share with contracts and scenarios, and to which a plugin may add its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trivet.model.declaration import Declaration


class Vocabulary(Mapping[str, str]):
    """Name → its meaning in one sentence. ``kind`` says in errors what the names stand for, ``reserved`` are names that none may have."""

    def __init__(self, kind: str, names: Mapping[str, str], *, reserved: tuple[str, ...] = ()) -> None:
        self._kind = kind
        self._names = dict(names)
        self._own = frozenset(names)
        self._reserved = reserved

    def declare(self, name: str, meaning: str) -> None:
        """Add a name. Raises DeclarationError for one that cannot be a parameter, or that is declared with another meaning."""
        declared = Declaration(f"{self._kind} {name!r}")
        declared.texts(meaning=meaning)
        if not isinstance(name, str) or not name.isidentifier() or name in self._reserved:
            declared.refuse("that name cannot be used", f"take an identifier other than {', '.join(self._reserved)}")
        known = self._names.setdefault(name, meaning)
        if known != meaning:
            declared.refuse(
                f"it is declared already, and means: {known}",
                "take another name, or import the declaration instead of repeating it",
            )

    @property
    def added(self) -> frozenset[str]:
        """The names that were declared by plugins."""
        return frozenset(self._names) - self._own

    def __getitem__(self, name: str) -> str:
        return self._names[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
