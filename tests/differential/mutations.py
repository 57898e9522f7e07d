"""Hypothesis strategies for manifests: sound ones with a few mistakes that people make.

A generated manifest is YAML text, since what a scalar without quotes is, and a key that stands twice, is part of what is compared.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from differential.sound import OTHERS, SERVICES
from trivet.model.subjects import Keys


class Plain(str):
    """A scalar that is written without quotes, such as ``yes`` or ``1e3``."""


class Again(str):
    """A key that stands in its mapping a second time. It equals no other, so that a mapping can hold both."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_PLAIN = "plain-scalar-"
_Dumper.add_representer(Plain, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", _PLAIN + value))
_Dumper.add_representer(Again, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", str(value)))


class _Loader(yaml.SafeLoader):
    """Values with ``!plain``, and ``!long`` for so many letters."""


_Loader.add_constructor("!plain", lambda loader, node: Plain(node.value))
_Loader.add_constructor("!long", lambda loader, node: "a" * int(node.value))


def text(document: Any) -> str:
    """The manifest as YAML."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True).replace(_PLAIN, "")


_TABLES = yaml.load((Path(__file__).parent / "values.yaml").read_text(encoding="utf-8"), _Loader)
VALUES: Mapping[str, Sequence[Any]] = _TABLES["values"]
"""Field → values that people write for it, right and wrong."""
FIELDS: Mapping[str, Mapping[str, Sequence[Any]]] = _TABLES["fields"]
"""Mapping (by its own key; for the items of a list, the list's) → fields that may be added to it, with values."""
OTHER_TYPES: Sequence[Any] = _TABLES["shared"]["types"]
PLAINS: Sequence[Any] = _TABLES["shared"]["plains"]

_TYPOS: tuple[Callable[[str], str], ...] = (
    lambda key: key[:-1],
    lambda key: key + "s",
    lambda key: key[:1] + key[2:],
    lambda key: key[:1].upper() + key[1:],
    lambda key: key.lower(),
    lambda key: "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key),
    lambda key: "x",
    lambda key: "",
)


def _paths(value: Any, keys: Keys = ()) -> Iterator[Keys]:
    """Every place below ``value``, parents before their members."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        if keys or key not in ("apiVersion", "kind"):
            yield (*keys, key)
            yield from _paths(member, (*keys, key))


def _get(document: Any, keys: Keys) -> Any:
    for key in keys:
        document = document[key]
    return document


def _named(keys: Keys) -> str:
    """The name of the field that holds what stands at ``keys``."""
    return next((key for key in reversed(keys) if isinstance(key, str)), "")


def _drop(draw: st.DrawFn, document: Any, keys: Keys) -> None:
    del _get(document, keys[:-1])[keys[-1]]


def _rename(draw: st.DrawFn, document: Any, keys: Keys) -> None:
    parent = _get(document, keys[:-1])
    if isinstance(parent, dict):
        typo = draw(st.sampled_from(_TYPOS))(str(keys[-1]))
        members = {typo if key == keys[-1] else key: value for key, value in parent.items()}
        parent.clear()
        parent.update(members)


def _retype(draw: st.DrawFn, document: Any, keys: Keys) -> None:
    old = _get(document, keys)
    others = (
        *OTHER_TYPES,
        [copy.deepcopy(old)],
        {"value": copy.deepcopy(old)},
        str(old) if not isinstance(old, dict | list) else "x",
    )
    _get(document, keys[:-1])[keys[-1]] = copy.deepcopy(draw(st.sampled_from(others)))


def _plain(draw: st.DrawFn, document: Any, keys: Keys) -> None:
    _get(document, keys[:-1])[keys[-1]] = draw(st.sampled_from(PLAINS))


def _revalue(draw: st.DrawFn, document: Any, keys: Keys) -> None:
    name = _named(keys)
    values = VALUES.get(name, OTHER_TYPES)
    _get(document, keys[:-1])[keys[-1]] = copy.deepcopy(draw(st.sampled_from(values)))


def _add(draw: st.DrawFn, document: Any, keys: Keys) -> None:
    place = _get(document, keys)
    if isinstance(place, dict):
        fields = FIELDS.get(_named(keys), FIELDS["other"])
        name = draw(st.sampled_from(sorted(fields)))
        place[name] = copy.deepcopy(draw(st.sampled_from(fields[name])))
    elif isinstance(place, list):
        items = [copy.deepcopy(item) for item in place[:1]]
        place.append(draw(st.sampled_from([*items, "x", None, 1, {}])))


def _double(draw: st.DrawFn, document: Any, keys: Keys) -> None:
    parent = _get(document, keys[:-1])
    if isinstance(parent, dict):
        old = copy.deepcopy(parent[keys[-1]])
        members: dict[Any, Any] = {}
        for key, value in parent.items():
            if key == keys[-1]:
                members[Again(str(key))] = old
            members[key] = value
        parent.clear()
        parent.update(members)


def _move(draw: st.DrawFn, document: Any, keys: Keys) -> None:
    value = _get(document, keys)
    places = [path for path in _paths(document) if isinstance(_get(document, path), dict) and path[: len(keys)] != keys]
    if places and isinstance(keys[-1], str):
        target = _get(document, draw(st.sampled_from(places)))
        _drop(draw, document, keys)
        target[keys[-1]] = value


_MUTATIONS: tuple[Callable[[st.DrawFn, Any, Keys], None], ...] = (
    *[_revalue] * 6, *[_add] * 6, _drop, _rename, _retype, _plain, _move, _double,
)  # fmt: skip


@st.composite
def manifests(draw: st.DrawFn) -> Any:
    """A sound manifest with one to three mutations, as a value for :func:`text`: an InferenceService in three cases of four."""
    document = copy.deepcopy(
        draw(
            st.sampled_from(SERVICES) | st.sampled_from(SERVICES) | st.sampled_from(SERVICES) | st.sampled_from(OTHERS)
        )
    )
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 2, 3)))):
        mutate = draw(st.sampled_from(_MUTATIONS))
        paths = [keys for keys in _paths(document) if len(keys) > 1]
        if mutate is _add:
            paths = [keys for keys in ((), *paths) if isinstance(_get(document, keys), dict | list)]
            paths = [keys for keys in paths if _named(keys) in FIELDS] * 3 + paths
        if paths:
            mutate(draw, document, draw(st.sampled_from(paths)))
    return document
