"""Hypothesis strategies for manifests: sound ones with a few mistakes that people make.

A generated manifest is YAML text, since what a scalar without quotes is, and a key that stands twice, is part of what is compared.
Mistakes come from the tables of ``values.yaml``, and fields that the tables do not name from the schemas of the stack.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from differential.sound import sound
from trivet.model.stack import Stack
from trivet.model.subjects import Keys
from trivet.stacks.api_schemas import ApiSchemas, Node, load_schemas


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
SAME_FIELDS: Mapping[str, str] = _TABLES["same"]
"""Mapping → another one with the same fields."""
UNWRITTEN: Mapping[str, Sequence[str]] = _TABLES["unwritten"]
"""Mapping → fields of the API that nobody writes beside a model, and that are not generated."""
APIS: Mapping[str, Sequence[Any]] = _TABLES["apis"]
"""``apiVersion`` and ``kind`` → values."""
OTHER_TYPES: Sequence[Any] = _TABLES["shared"]["types"]
PLAINS: Sequence[Any] = _TABLES["shared"]["plains"]
WORDS: Sequence[str] = _TABLES["shared"]["words"]
KEYS: Sequence[str] = _TABLES["shared"]["keys"]

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
    """The name of the field that holds what stands at ``keys``, as the tables have it."""
    name = next((key for key in reversed(keys) if isinstance(key, str)), "")
    return SAME_FIELDS.get(name, name)


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


def _key(draw: st.DrawFn, document: Any, keys: Keys) -> None:
    parent = _get(document, keys[:-1])
    if isinstance(parent, dict):
        written = draw(st.sampled_from(PLAINS))
        members = {written if key == keys[-1] else key: value for key, value in parent.items()}
        parent.clear()
        parent.update(members)


def _api(draw: st.DrawFn, document: Any, keys: Keys) -> None:
    field = draw(st.sampled_from(sorted(APIS)))
    value = draw(st.sampled_from(APIS[field]))
    if value is None:
        document.pop(field, None)
    else:
        document[field] = value


def _of_the_api(draw: st.DrawFn, document: Any, keys: Keys, schemas: ApiSchemas) -> None:
    """Adds a field that the API has and the document has not, of its type and with the fields that it requires."""
    place = _get(document, keys)
    try:
        node = schemas.at(f"{document.get('apiVersion')}/{document.get('kind')}", keys)
    except KeyError:
        return
    if isinstance(place, dict):
        names = [name for name in _written_fields(_named(keys), node) if name not in place]
        if names:
            name = draw(st.sampled_from(names))
            place[name] = _written(draw, schemas, node["properties"][name], name, 3)
    elif isinstance(place, list) and "items" in node:
        place.append(_written(draw, schemas, node["items"], _named(keys), 3))


def _written_fields(name: str, node: Node) -> list[str]:
    return [field for field in sorted(node.get("properties", {})) if field not in UNWRITTEN.get(name, ())]


def _written(draw: st.DrawFn, schemas: ApiSchemas, node: Node, name: str, depth: int) -> Any:
    """A value for the field ``name`` of a schema, ``depth`` mappings deep at most where none is required."""
    node = schemas.node(node)
    name = SAME_FIELDS.get(name, name)
    if "enum" in node:
        return draw(st.sampled_from(node["enum"]))
    known = [value for value in VALUES.get(name, ()) if isinstance(value, _PYTHON.get(node.get("type", ""), ()))]
    if node.get("format") == "quantity":
        return draw(st.sampled_from(VALUES["memory"][:8]))
    from_table: bool = draw(st.booleans())
    if known and from_table:
        return copy.deepcopy(draw(st.sampled_from(known)))
    match node.get("type"):
        case "string":
            return draw(st.sampled_from(WORDS))
        case "integer" | "number":
            return draw(st.sampled_from((1, 0, 2, -1, 8080, 100000)))
        case "boolean":
            return draw(st.booleans())
        case "array":
            size = draw(st.sampled_from((1, 1, 0, 2)))
            return [_written(draw, schemas, node["items"], name, depth - 1) for _ in range(size)]
        case "object":
            return _written_mapping(draw, schemas, node, name, depth)
    return draw(st.sampled_from(("a", 1)))


def _written_mapping(draw: st.DrawFn, schemas: ApiSchemas, node: Node, name: str, depth: int) -> dict[str, Any]:
    fields = node.get("properties", {})
    written = {each: _written(draw, schemas, fields[each], each, depth - 1) for each in node.get("required", ())}
    others = [each for each in _written_fields(name, node) if each not in written]
    if others and depth > 0:
        names: list[str] = draw(st.lists(st.sampled_from(others), max_size=2, unique=True))
        for each in names:
            written[each] = _written(draw, schemas, fields[each], each, depth - 1)
    below = node.get("additionalProperties")
    if isinstance(below, Mapping) and draw(st.booleans()):
        written[draw(st.sampled_from(KEYS))] = _written(draw, schemas, below, "", depth - 1)
    return written


_PYTHON = {"string": str, "integer": int, "array": list, "object": dict}

_MUTATIONS: tuple[Callable[..., None], ...] = (
    *[_revalue] * 6, *[_add] * 6, *[_of_the_api] * 5, _drop, _rename, _retype, _plain, _move, _double, _key, _api,
)  # fmt: skip


def manifests(stack: Stack) -> st.SearchStrategy[Any]:
    """Manifests that ``stack`` admits, with one to three mutations, as values for :func:`text`: an InferenceService in three of four."""
    documents = sound(stack)
    services = [one for one in documents if one["kind"] == "InferenceService"]
    others = [one for one in documents if one["kind"] != "InferenceService"]
    return _manifests(services, others, load_schemas(stack.api_schemas))


@st.composite
def _manifests(draw: st.DrawFn, services: Sequence[Any], others: Sequence[Any], schemas: ApiSchemas) -> Any:
    document = copy.deepcopy(draw(st.sampled_from(draw(st.sampled_from((services, services, services, others))))))
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 2, 3)))):
        mutate = draw(st.sampled_from(_MUTATIONS))
        paths = [keys for keys in _paths(document) if len(keys) > 1]
        if mutate in (_add, _of_the_api):
            paths = [keys for keys in ((), *paths) if isinstance(_get(document, keys), dict | list)]
            paths = [keys for keys in paths if _named(keys) in FIELDS] * 3 + paths
        if mutate is _key:
            paths = [keys for keys in paths if _named(keys[:-1]) in _FREE] or paths
        if paths:
            keys = draw(st.sampled_from(paths))
            mutate(draw, document, keys, *([schemas] if mutate is _of_the_api else []))
    return document


_FREE = ("labels", "annotations", "nodeSelector", "matchLabels", "data", "stringData", "parameters", "nodes", "limits")
"""Mappings whose keys are free."""
