"""The schemas of Kubernetes objects at a stack's versions: reads ``api_schemas.json``, and judges objects by it as the API server does.

The file has ``source`` (component → version), ``expressions`` (kind → number of validation expressions, which are not judged),
``versions`` (every kind of KServe's group → its served versions), ``kinds`` (``group/version/Kind`` or ``v1/Kind`` → schema) and ``$defs``
that schemas refer to. A schema is a CRD's, with the formats ``quantity`` and ``int-or-string`` too. The file is written by
``trivet.stacks.api_generator``.

What the API server makes of a schema (k8s.io/apiextensions-apiserver pkg/apiserver/schema: pruning, defaulting, listtype; measured on
Kubernetes 1.30): fields that it does not name are dropped or refused, a null counts as absent, a default satisfies ``required``, 1.0 is an
integer, and a ``status`` is dropped before it is judged. What :data:`MUTATED` names passes a webhook of KServe first, which decodes it
into Go types, its status too: there a quantity may be any number.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trivet.errors import CannotTell, UsageError
from trivet.model.subjects import Keys

if TYPE_CHECKING:
    import jsonschema_rs

QUANTITY = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?"
"""resource.Quantity as text (k8s.io/apimachinery pkg/api/resource/quantity.go, ParseQuantity)."""

INFERENCE_SERVICE = "serving.kserve.io/v1beta1/InferenceService"
MUTATED = ("InferenceService", "LLMInferenceService")
"""Kinds that a mutating webhook decodes into Go types before their schema is applied (kserve 0.14.1 and 0.20.0 config/webhook)."""

_BOUNDS = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_PLAIN = (
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "pattern",
)

Node = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class SchemaViolation:
    """One place where an object deviates from its schema.

    ``rule`` is the keyword of JSON Schema: ``additionalProperties`` (``value`` is the unknown field and the last of ``keys``), ``required``
    (``limit`` is the field, ``keys`` its parent), ``type``, ``enum``, ``pattern``, ``format``, ``uniqueItems`` (``keys`` is the item that
    comes again, ``limit`` the fields that identify an item) or a bound such as ``minimum``. ``limit`` is the keyword's value.
    """

    keys: Keys
    rule: str
    limit: Any
    value: Any


@dataclass(frozen=True)
class ApiSchemas:
    """The content of an ``api_schemas.json``."""

    source: Mapping[str, str]
    expressions: Mapping[str, int]
    versions: Mapping[str, tuple[str, ...]]
    kinds: Mapping[str, Node]
    definitions: Mapping[str, Node]

    def node(self, schema: Node) -> Node:
        """``schema``, or the definition that it refers to."""
        return self.definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

    def at(self, kind: str, keys: Keys) -> Node:
        """The schema of a place in an object of ``kind`` (``group/version/Kind``); empty where everything is allowed."""
        node = self.node(self.kinds[kind])
        for key in keys:
            if isinstance(key, int):
                below = node.get("items", {})
            else:
                below = node.get("properties", {}).get(key) or node.get("additionalProperties", {})
            node = self.node(below)
        return node


@lru_cache(maxsize=8)
def load_schemas(path: Path) -> ApiSchemas:
    """The schemas in an ``api_schemas.json``. Raises UsageError for an invalid file, CannotTell when the stack has none."""
    if not path.exists():
        raise CannotTell(
            f"the schemas of KServe's API are unknown: stack {path.parent.name} has no {path.name}",
            remedy="detect the platform again with permission to read its CustomResourceDefinitions",
        )
    try:
        content = json.loads(path.read_bytes())
        return ApiSchemas(
            source=content["source"],
            expressions=content["expressions"],
            versions={kind: tuple(names) for kind, names in content["versions"].items()},
            kinds={INFERENCE_SERVICE: content["kinds"][INFERENCE_SERVICE], **content["kinds"]},
            definitions=content["$defs"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} does not have the schemas of KServe's API: {type(error).__name__}: {error}",
            remedy=f"generate it again: trivet stack lock {path.parent}",
        ) from error


def violations(path: Path, kind: str, document: Mapping[str, Any]) -> Iterator[SchemaViolation]:
    """Where ``document`` deviates from the schema of ``kind`` (``group/version/Kind``) in ``path``, an ``api_schemas.json``; in no order.

    Raises KeyError for a kind that the file does not have.
    """
    validator = _validator(path, kind)
    if validator.is_valid(document):
        return
    for error in validator.iter_errors(_with_named_keys(document, {})):
        keys, value = _at(document, error.instance_path)
        limit: Any = error.kind.value
        match error.kind.name:
            case "additionalProperties":
                for named in limit:
                    name = _own_key(named)
                    yield SchemaViolation(keys=(*keys, name), rule="additionalProperties", limit=None, value=name)
            case "uniqueKeys":
                fields = json.loads(limit)
                for index in _repeated(value, fields):
                    yield SchemaViolation(keys=(*keys, index), rule="uniqueItems", limit=fields, value=value[index])
            case "required":
                yield SchemaViolation(keys=keys, rule="required", limit=limit, value=None)
            case rule:
                yield SchemaViolation(keys=keys, rule=rule, limit=limit, value=value)


def _at(document: Any, place: Iterable[str | int]) -> tuple[Keys, Any]:
    """The keys to a place and the value there, which for a NaN is a null to jsonschema_rs; and a key of digits is a number to it."""
    keys: list[str | int] = []
    for key in place:
        keys.append(_own_key(str(key)) if isinstance(document, Mapping) else key)
        document = document[keys[-1]]
    return tuple(keys), document


_EMPTY_KEY = "\ufdd0"
"""What stands for an empty key while a document is judged: jsonschema-rs leaves empty keys out of ``instance_path`` (seen in 0.61.2). It is
a code point that is no character."""


def _with_named_keys(value: Any, done: dict[int, Any]) -> Any:
    """``value`` with another key for each empty one; ``done`` are the parts that are copied, by id, since aliases share them."""
    if not isinstance(value, dict | list):
        return value
    if id(value) not in done:
        if isinstance(value, dict):
            done[id(value)] = {
                _EMPTY_KEY if key == "" else key: _with_named_keys(below, done) for key, below in value.items()
            }
        else:
            done[id(value)] = [_with_named_keys(below, done) for below in value]
    return done[id(value)]


def _own_key(key: str) -> str:
    return "" if key == _EMPTY_KEY else key


def is_base64(text: str) -> bool:
    """Whether Go's encoding/json decodes ``text`` into bytes (encoding/base64 StdEncoding: padded, line breaks ignored)."""
    try:
        base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


class _UniqueKeys:
    """The keyword ``uniqueKeys``: no two items of a list have the same values of these fields. ``schema`` is field → default."""

    def __init__(self, parent: Node, schema: Mapping[str, Any], path: Keys) -> None:
        self._fields = dict(schema)

    def validate(self, instance: Any) -> None:
        """Raises ValueError with the fields as JSON if two items are the same in them."""
        if isinstance(instance, list) and len(instance) > 1 and next(_repeated(instance, self._fields), None):
            raise ValueError(json.dumps(self._fields))


def _repeated(items: list[Any], fields: Mapping[str, Any]) -> Iterator[int]:
    """The positions of items that have the same ``fields`` (field → default; none: the items as a whole) as an item before them."""
    seen: set[str] = set()
    for index, item in enumerate(items):
        if fields and not isinstance(item, Mapping):
            continue
        given = {name: default if item.get(name) is None else item[name] for name, default in fields.items()} or item
        key = json.dumps(given, sort_keys=True)
        if key in seen:
            yield index
        seen.add(key)


@lru_cache(maxsize=32)
def _validator(path: Path, kind: str) -> jsonschema_rs.Draft202012Validator:
    import jsonschema_rs  # 20 ms, which commands that judge no object need not spend

    schemas = load_schemas(path)
    strict = _Strict(
        mutated=kind.rpartition("/")[2] in MUTATED, typed=kind.startswith("v1/"), definitions=schemas.definitions
    )
    return jsonschema_rs.Draft202012Validator(
        strict.schema(schemas.kinds[kind]) | {"$defs": strict.needed},
        formats={"byte": is_base64},
        validate_formats=True,
        ignore_unknown_formats=True,
        keywords={"uniqueKeys": _UniqueKeys},
        pattern_options=jsonschema_rs.RegexOptions(),
    )


class _Strict:
    """Writes schemas of the file as JSON Schema that refuses what the API server drops or refuses.

    ``mutated`` and ``typed`` say that objects are decoded into Go types first. ``needed`` has the definitions that were referred to.
    """

    def __init__(self, *, mutated: bool, typed: bool, definitions: Mapping[str, Node]) -> None:
        self._decoded = mutated or typed
        self._definitions = definitions
        self.needed: dict[str, Any] = {}

    def schema(self, node: Node, *, null: bool = False) -> dict[str, Any]:
        """``node`` as JSON Schema. ``null``: a null is allowed in place of the value."""
        if "$ref" in node:
            name = f"{node['$ref'].rpartition('/')[2]}{'?' if null else ''}"
            if name not in self.needed:
                self.needed[name] = {}
                self.needed[name] = self.schema(self._definitions[node["$ref"].rpartition("/")[2]], null=null)
            return {"$ref": f"#/$defs/{name.replace('?', '%3F')}"}
        match node.get("format"):
            case "quantity":
                blank = r"\s*" if self._decoded else ""
                types = ["integer", "string", *(["number"] if self._decoded else [])]
                bounds = {} if self._decoded else self._format("int64")
                return {"type": types + ["null"] * null, "pattern": f"^{blank}{QUANTITY}{blank}$", **bounds}
            case "int-or-string":
                bounds = self._format("int32") if self._decoded else {}
                return {"type": ["integer", "string"] + ["null"] * null, **bounds}
        strict: dict[str, Any] = self._format(node["format"]) if "format" in node else {}
        strict |= {key: node[key] for key in _PLAIN if key in node}
        if node.get("type") == "integer" and "format" not in node:
            strict = self._format("int64") | strict
        if "type" in node:
            strict["type"] = [node["type"], "null"] if null else node["type"]
        if null and "enum" in node:
            strict["enum"] = [*node["enum"], None]
        if node.get("type") == "object":
            strict |= self._object(node)
        if "items" in node:
            strict |= self._list(node)
        return strict

    def _format(self, name: str) -> dict[str, Any]:
        if name in _BOUNDS:
            return dict(zip(("minimum", "maximum"), _BOUNDS[name], strict=True))
        return {"format": name}

    def _object(self, node: Node) -> dict[str, Any]:
        fields = node.get("properties", {})
        if not self._decoded and {"apiVersion", "kind", "status"} <= {*fields}:
            fields = {**fields, "status": {}}
        required = [name for name in node.get("required", ()) if "default" not in fields.get(name, {})]
        strict: dict[str, Any] = {
            "properties": {name: self.schema(each, null=name not in required) for name, each in fields.items()},
            "required": required,
        }
        others = node.get("additionalProperties")
        if isinstance(others, Mapping):
            strict["additionalProperties"] = self.schema(others, null=True)
        elif not node.get("x-kubernetes-preserve-unknown-fields"):
            strict["additionalProperties"] = False
        return strict

    def _list(self, node: Node) -> dict[str, Any]:
        item = node["items"]
        inner = self._definitions[item["$ref"].rpartition("/")[2]] if "$ref" in item else item
        strict: dict[str, Any] = {"items": self.schema(item, null=self._decoded and inner.get("type") != "object")}
        if node.get("x-kubernetes-list-type") == "set":
            strict["uniqueKeys"] = {}
        elif node.get("x-kubernetes-list-type") == "map":
            fields = inner["properties"]
            strict["uniqueKeys"] = {name: fields[name].get("default") for name in node["x-kubernetes-list-map-keys"]}
        return strict
