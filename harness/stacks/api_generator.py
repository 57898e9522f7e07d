"""Generates ``api_schemas.json``: the schemas of KServe's objects and of the plain objects beside them, at a stack's versions.

KServe's come from the CustomResourceDefinitions of its release (Go module github.com/kserve/kserve, ``config/crd/full``, and ``config/crd``
before 0.13), those of
Kubernetes' own kinds from the OpenAPI of k8s.io/kubernetes (``api/openapi-spec/v3/api__v1_openapi.json``). Descriptions are left out, and
what ``status`` requires: when an object is created, the API server decodes its status and drops it. ``trivet.stacks.api_schemas``
documents the file and reads it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml

from trivet.errors import PlatformError, UsageError
from trivet.stacks.go_modules import download_module

KSERVE = "github.com/kserve/kserve"
CRDS, OLD_CRDS = "config/crd/full", "config/crd"
GROUP = "serving.kserve.io"
KUBERNETES = "k8s.io/kubernetes"
OPENAPI = "api/openapi-spec/v3/api__v1_openapi.json"

CUSTOM_KINDS = (
    "ClusterServingRuntime",
    "ClusterStorageContainer",
    "InferenceGraph",
    "InferenceService",
    "ServingRuntime",
    "TrainedModel",
)
LATER_KINDS = ("LLMInferenceService",)
"""Kinds that are taken from the releases that have them."""

CORE_KINDS = ("ConfigMap", "PersistentVolumeClaim", "Secret", "ServiceAccount")

_KEPT = frozenset(
    {
        *("type", "format", "properties", "required", "additionalProperties", "items", "enum", "pattern", "default"),
        *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        *("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-preserve-unknown-fields"),
    }
)
_DROPPED = frozenset(
    {
        *("description", "x-kubernetes-map-type", "x-kubernetes-group-version-kind"),
        *("x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key", "x-kubernetes-validations"),
    }
)
"""Expressions (``x-kubernetes-validations``) are counted instead, so that nobody takes them for judged."""

_NOT_FOR_GO_TYPES = frozenset({"default", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"})
"""What the API server applies to custom resources only: it decodes other objects into Go types, whose lists may repeat a key."""

_NOT_FOR_STATUS = _NOT_FOR_GO_TYPES | {"required"}

_QUANTITY = "([KMGTPE]i)|[numkMGTPE]"
"""Part of the pattern that controller-gen writes for every resource.Quantity."""

_NEEDED = (
    ("kserve", "KServe", "InferenceService and others", "0.20.0"),
    ("kubernetes", "Kubernetes", "Secret, ConfigMap and others", "1.34"),
)
"""Component, its name, kinds whose schemas it has, and a version of it."""

_SHORT, _LONG = 60, 400
"""Characters of JSON: up to the first a schema is repeated wherever it stands, from the second on it has a definition in any case."""

Node = dict[str, Any]


def generate_schemas(components: Mapping[str, str], *, progress: Callable[[str], None] = lambda _: None) -> str:
    """The text of ``api_schemas.json`` for the versions of KServe and Kubernetes in ``components``.

    Raises UsageError when ``components`` has no Kubernetes, PlatformError when a module cannot be downloaded or its schemas cannot be read.
    """
    for component, name, kinds, example in _NEEDED:
        if component not in {*components}:
            raise UsageError(
                f"the stack names no version of {name}, and the schemas of {kinds} depend on it",
                remedy=f'add `{component} = "{example}"`, or another version, to [components] in its stack.toml',
            )
    kserve, kubernetes = components["kserve"], components["kubernetes"]
    progress(f"reading the API of KServe {kserve} and Kubernetes {kubernetes}")
    module = download_module(KSERVE, f"v{kserve}")
    folder = next((module / one for one in (CRDS, OLD_CRDS) if (module / one).is_dir()), module / CRDS)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    definitions = [yaml.load(file.read_bytes(), Loader=loader) for file in sorted(folder.rglob(f"{GROUP}_*.yaml"))]
    if missing := sorted({*CUSTOM_KINDS} - {one["spec"]["names"]["kind"] for one in definitions}):
        raise PlatformError(
            f"{folder} has no CustomResourceDefinition of {', '.join(missing)}",
            remedy="look up where this version of KServe keeps them, and adapt trivet.stacks.api_generator",
        )
    openapi = json.loads((download_module(KUBERNETES, f"v{_release(kubernetes)}") / OPENAPI).read_bytes())
    return schemas_text({"kserve": kserve, "kubernetes": kubernetes}, definitions, openapi)


def schemas_text(source: Mapping[str, str], definitions: Iterable[Node], openapi: Node) -> str:
    """The text of ``api_schemas.json`` from CustomResourceDefinitions and from the OpenAPI (version 3) of Kubernetes' group ``v1``.

    ``source`` has the versions of kserve and kubernetes. Raises PlatformError for a schema with an unknown keyword.
    """
    versions, roots, expressions = _custom_kinds(definitions)
    core = _core_schemas(openapi)
    roots |= {f"v1/{kind}": core(f"io.k8s.api.core.v1.{kind}") for kind in CORE_KINDS}
    metadata = core("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
    for root in roots.values():
        root["properties"] = dict(sorted({**root["properties"], "metadata": metadata}.items()))
    return _text(source, versions, expressions, roots)


def _release(version: str) -> str:
    """The first release of a minor version: patches do not change its schemas."""
    return version if version.count(".") > 1 else f"{version}.0"


def _custom_kinds(definitions: Iterable[Node]) -> tuple[dict[str, list[str]], dict[str, Node], dict[str, int]]:
    """Every kind of KServe's group with its served versions; ``group/version/kind`` → schema, and number of expressions."""
    versions: dict[str, list[str]] = {}
    roots: dict[str, Node] = {}
    expressions: dict[str, int] = {}
    for definition in (one["spec"] for one in definitions):
        kind = definition["names"]["kind"]
        served = [version for version in definition["versions"] if version["served"]]
        versions[kind] = [version["name"] for version in served]
        for version in served if kind in (*CUSTOM_KINDS, *LATER_KINDS) else ():
            where = f"{GROUP}/{version['name']}/{kind}"
            whole = version["schema"]["openAPIV3Schema"]
            roots[where] = _cleaned(whole, where)
            if number := _expressions(whole):
                expressions[where] = number
    return dict(sorted(versions.items())), dict(sorted(roots.items())), dict(sorted(expressions.items()))


def _expressions(node: Any) -> int:
    """How many validation expressions (CEL) a schema has."""
    if isinstance(node, list):
        return sum(map(_expressions, node))
    if not isinstance(node, dict):
        return 0
    return len(node.get("x-kubernetes-validations", ())) + sum(map(_expressions, node.values()))


def _core_schemas(openapi: Node) -> Callable[[str], Node]:
    """A function from the name of a schema in Kubernetes' OpenAPI to that schema, with references resolved."""
    schemas = openapi["components"]["schemas"]

    def resolved(name: str) -> Node:
        match name.rpartition(".")[2]:
            case "Quantity":
                return {"format": "quantity"}
            case "FieldsV1":
                return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        return _cleaned(inline(schemas[name]), name, _NOT_FOR_GO_TYPES)

    def inline(value: Any) -> Any:
        if isinstance(value, list):
            return [inline(each) for each in value]
        if not isinstance(value, dict):
            return value
        reference = value["allOf"][0] if "allOf" in value else value
        if "$ref" in reference:
            return resolved(reference["$ref"].rpartition("/")[2])
        return {key: inline(each) for key, each in value.items()}

    return resolved


def _cleaned(node: Node, where: str, left_out: frozenset[str] = frozenset()) -> Node:
    """A schema without what judging does not need. Raises PlatformError for a keyword whose meaning is not known here."""
    kept = {key: value for key, value in node.items() if key in _KEPT - left_out}
    unknown = {*node} - _KEPT - _DROPPED
    if node.get("x-kubernetes-int-or-string"):
        unknown -= {"x-kubernetes-int-or-string", "anyOf"}
        kept["format"] = "int-or-string"
        if _QUANTITY in kept.pop("pattern", ""):
            kept["format"] = "quantity"
    if unknown:
        raise PlatformError(
            f"the schema of {where} has the keyword {min(unknown)!r}, whose meaning is not known",
            remedy="handle it in trivet.stacks.api_schemas, and add it to trivet.stacks.api_generator",
        )
    if kept.get("x-kubernetes-list-type") == "atomic":
        del kept["x-kubernetes-list-type"]
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), dict):
            kept[key] = _cleaned(kept[key], f"{where}.{key}", left_out)
    if "properties" in kept:
        root = {"apiVersion", "kind", "status"} <= {*kept["properties"]}
        kept["properties"] = {
            name: _cleaned(
                each, f"{where}.{name}", left_out | _NOT_FOR_STATUS if root and name == "status" else left_out
            )
            for name, each in sorted(kept["properties"].items())
        }
    return kept


class _Definitions:
    """Gives each schema that stands more than once, or is long, one definition, named after the field where it stands first."""

    def __init__(self, roots: Mapping[str, Node]) -> None:
        self.texts: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._uses: Counter[str] = Counter()
        for root in roots.values():
            self._count(root)

    def reference(self, node: Node, name: str) -> Node:
        """``node`` with definitions in place of what it shares, or a reference to its own."""
        whole = json.dumps(node, sort_keys=True)
        if whole in self._names:
            return {"$ref": f"#/$defs/{self._names[whole]}"}
        short = {key: self._within(key, value, name) for key, value in node.items()}
        text = json.dumps(short)
        if len(text) < _SHORT or (self._uses[whole] < 2 and len(text) < _LONG):
            return short
        number = 1
        while (free := name if number == 1 else f"{name}-{number}") in self.texts:
            number += 1
        self._names[whole] = free
        self.texts[free] = text
        return {"$ref": f"#/$defs/{free}"}

    def _within(self, key: str, value: Any, name: str) -> Any:
        if key == "properties":
            return {field: self.reference(each, field) for field, each in value.items()}
        if key in ("items", "additionalProperties") and isinstance(value, dict):
            return self.reference(value, f"{name}.{'item' if key == 'items' else 'value'}")
        return value

    def _count(self, node: Node) -> None:
        whole = json.dumps(node, sort_keys=True)
        self._uses[whole] += 1
        if self._uses[whole] > 1:
            return
        for each in (*node.get("properties", {}).values(), node.get("items"), node.get("additionalProperties")):
            if isinstance(each, dict):
                self._count(each)


def _text(
    source: Mapping[str, str],
    versions: Mapping[str, list[str]],
    expressions: Mapping[str, int],
    roots: Mapping[str, Node],
) -> str:
    """One line per kind and definition, so that a new version gives a short diff."""
    definitions = _Definitions(roots)
    kinds = {where: definitions.reference(root, where.rpartition("/")[2]) for where, root in roots.items()}
    tables = {
        "versions": {kind: json.dumps(names) for kind, names in versions.items()},
        "kinds": {where: json.dumps(root) for where, root in kinds.items()},
        "$defs": dict(sorted(definitions.texts.items())),
    }
    lines = {
        name: ",\n".join(f"    {json.dumps(key)}: {text}" for key, text in table.items())
        for name, table in tables.items()
    }
    body = ",\n".join(f'  "{name}": {{\n{text}\n  }}' for name, text in lines.items())
    return f'{{\n  "source": {json.dumps(source)},\n  "expressions": {json.dumps(expressions)},\n{body}\n}}\n'
