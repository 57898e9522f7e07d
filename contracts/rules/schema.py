"""What the schema contracts of ``manifests`` say about violations of an object's schema: one sentence each, with its place."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from trivet.authoring import Keys, Replacement, Resource, Stack, redact, remembered
from trivet.contracts.rules.rule import FRAMEWORKS
from trivet.contracts.values import mapping, path
from trivet.contracts.violation import Violation
from trivet.stacks.api_schemas import ApiSchemas, Node, SchemaViolation, load_schemas, violations

GROUP = "serving.kserve.io"
SECRET_FIELDS = ("data", "stringData")
DEFAULTED_NAMES = tuple(("spec", component, "containers", 0) for component in ("predictor", "transformer", "explainer"))
"""Containers that KServe names kserve-container when they have no name (0.14.1, 0.20.0 pkg/apis/serving/v1beta1/*_custom.go, Default)."""
_FILLED_IN_OF_A_CANARY = (
    *((name, "name") for name in ("model", *FRAMEWORKS)),
    *(("model", "modelFormat"), ("model", "modelFormat", "name")),
)

KINDS_OF_OTHER_VERSIONS = frozenset(
    {"LLMInferenceService", "LLMInferenceServiceConfig", "LocalModelCache", "LocalModelNamespaceCache"}
)
"""Kinds that releases of KServe between 0.11 and 0.20 have and others do not, and that no kind of the others is meant by."""

_KINDS: Mapping[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    dict: "a mapping",
    list: "a list",
    type(None): "empty",
}
_TYPES: Mapping[str, str] = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "a boolean",
    "object": "a mapping",
    "array": "a list",
}
_LONGEST = 60
"""Characters of a value that a message shows."""

_QUANTITY = "a quantity, such as 500m or 2Gi"


def kind_of(resource: Resource) -> str:
    """``group/version/Kind`` as the stack's schemas name it."""
    return f"{resource.document.get('apiVersion')}/{resource.kind}"


def has_schema(resource: Resource, stack: Stack) -> bool:
    """Whether the stack knows the schema of this kind in this version."""
    return kind_of(resource) in load_schemas(stack.api_schemas).kinds


def api_of(resource: Resource, stack: Stack) -> str:
    """Whose API the kind is of, such as ``KServe 0.20.0``."""
    source = load_schemas(stack.api_schemas).source
    core = resource.document.get("apiVersion") == "v1"
    return f"Kubernetes {source['kubernetes']}" if core else f"KServe {source['kserve']}"


def wrong_api(document: Mapping[str, Any], stack: Stack) -> Violation | None:
    """What is wrong with the ``apiVersion`` or the ``kind`` of an object that looks meant for KServe, and where; None if nothing is."""
    schemas, served = load_schemas(stack.api_schemas), _served(stack.api_schemas)
    version, kind = document.get("apiVersion"), document.get("kind")
    if not isinstance(kind, str) or not kind:
        return Violation(("apiVersion",), f"the object has no kind, expected {_expected_kinds(document, served)}")
    near = kind if kind in served else _nearest(kind, served)
    if near is None:
        return Violation(("kind",), f"{GROUP} has no kind {kind!r}; it has {', '.join(sorted(schemas.versions))}")
    expected = " or ".join(served[near])
    if near != kind:
        return Violation(
            ("kind",), f"{version or 'the API'} has no kind {kind!r}; did you mean {near!r} of {expected}?"
        )
    if version in served[kind]:
        return None
    if "apiVersion" not in document and "api_version" in document:
        return Violation(
            ("api_version",), f"{kind} has no apiVersion but an api_version, expected apiVersion: {expected}"
        )
    if not version:
        return Violation(
            ("apiVersion" if "apiVersion" in document else "kind",), f"{kind} has no apiVersion, expected {expected}"
        )
    return Violation(("apiVersion",), f"apiVersion {version!r} has no {kind}, expected {expected}")


@lru_cache(maxsize=8)
def _served(path: Path) -> Mapping[str, list[str]]:
    """Every kind of KServe and of the core group, with the ``apiVersion``s under which it is served."""
    schemas = load_schemas(path)
    served = {name: [f"{GROUP}/{each}" for each in versions] for name, versions in schemas.versions.items()}
    return served | {where.removeprefix("v1/"): ["v1"] for where in schemas.kinds if where.startswith("v1/")}


def _nearest(kind: str, served: Mapping[str, Any]) -> str | None:
    """The served kind that ``kind`` is meant to be: the same in another case, or the nearest."""
    if kind in KINDS_OF_OTHER_VERSIONS:
        return None
    folded = {name.lower(): name for name in served}
    found = difflib.get_close_matches(kind.lower(), folded, 1, 0.8)
    return folded[found[0]] if found else None


def _expected_kinds(document: Mapping[str, Any], served: Mapping[str, list[str]]) -> str:
    """The kinds that an object without one can be: by its ``spec.predictor``, or by its ``apiVersion``."""
    spec, version = document.get("spec"), document.get("apiVersion")
    possible = sorted(kind for kind, versions in served.items() if version in versions)
    if (isinstance(spec, Mapping) and "predictor" in spec) or not possible:
        return "InferenceService"
    return f"one of {', '.join(possible)}"


def not_judged(resource: Resource, stack: Stack) -> str:
    """What of the schema is not judged, as the end of a sentence; empty if all of it is.

    Of its validation expressions ``rules.llm`` judges KServe's own; those of the Gateway API are about an inline HTTPRoute.
    """
    spec = mapping(resource.document.get("spec"))
    route = mapping(mapping(mapping(spec.get("router")).get("route")).get("http")).get("spec")
    has_expressions = kind_of(resource) in load_schemas(stack.api_schemas).expressions
    unjudged = has_expressions and route is not None
    return "; the validation expressions (CEL) of its HTTP route are not judged" if unjudged else ""


@remembered
def _violations(resource: Resource, stack: Stack) -> Sequence[SchemaViolation]:
    """Where a resource deviates from its schema."""
    return list(violations(stack.api_schemas, kind_of(resource), resource.document))


def unknown_fields(resource: Resource, stack: Stack) -> Iterator[Violation]:
    """Each field that the API does not have, with where it belongs or the nearest name. Its fix is the name that it is certainly meant to
    be: the only near one, of a field that is not set already."""
    schemas, kind = load_schemas(stack.api_schemas), kind_of(resource)
    for each in _violations(resource, stack):
        if each.rule == "additionalProperties":
            sentence, meant = _unknown_field(schemas, kind, each.keys, resource.document)
            yield Violation(each.keys, sentence, fix=Replacement(str(each.keys[-1]), meant) if meant else None)


def schema_violations(resource: Resource, stack: Stack) -> Iterator[Violation]:
    """Each value that the schema does not allow, and each field that it requires and that is missing."""
    schemas, kind = load_schemas(stack.api_schemas), kind_of(resource)
    for each in _violations(resource, stack):
        if each.rule == "additionalProperties" or _is_filled_in(each):
            continue
        secret = _is_secret(resource, each.keys)
        yield Violation(each.keys, _sentence(each, schemas.at(kind, each.keys), secret=secret))


def _is_filled_in(found: SchemaViolation) -> bool:
    """Whether KServe fills in what is missing: the name of a custom container, and of a canary's model its name and format.

    The webhook writes empty ones, as of every struct of Go, so that the schema is met. A canary's model is laid over the stable one, empty
    fields excepted (0.20.0 config/crd/full/serving.kserve.io_inferenceservices.yaml; pkg/apis/serving/v1beta1/predictor.go;
    pkg/controller/v1beta1/inferenceservice/components/predictor.go, buildCanaryPredictor).
    """
    if found.rule != "required" and found.value is not None:
        return False
    keys = (*found.keys, found.limit) if found.rule == "required" else found.keys
    if keys[-1:] == ("name",) and keys[:-1] in DEFAULTED_NAMES:
        return True
    is_model_of_canary = keys[:2] == ("spec", "canary") and keys[3:4] == ("predictor",)
    return is_model_of_canary and keys[4:] in _FILLED_IN_OF_A_CANARY


def _is_secret(resource: Resource, keys: Keys) -> bool:
    """Whether a value may be a credential: data of a Secret or of a ConfigMap, and an environment variable's."""
    if resource.kind in ("Secret", "ConfigMap") and keys[:1] in {(field,) for field in SECRET_FIELDS}:
        return True
    variable = next((number for number, key in enumerate(keys) if key == "env"), None)
    return variable is not None and keys[variable + 2 : variable + 3] in ((), ("value",))


def _sentence(found: SchemaViolation, schema: Node, *, secret: bool) -> str:
    where = path(found.keys)
    shown = "" if secret else _shown(found.value)
    match found.rule, schema.get("format"):
        case "required", _:
            return f"{where or 'the object'} has no {found.limit!r}, which the API requires"
        case "type" | "pattern", "quantity":
            return f"{where} {_described(found.value, secret)}, expected {_QUANTITY}"
        case "type", "int-or-string":
            return f"{where} {_described(found.value, secret)}, expected an integer or a string"
        case "type", _:
            expected = _TYPES[schema["type"]]
            hint = (
                ": put it in quotes" if schema["type"] == "string" and type(found.value) in (int, float, bool) else ""
            )
            return f"{where} {_described(found.value, secret)}, expected {expected}{hint}"
        case "enum", _:
            near = difflib.get_close_matches(str(found.value), schema["enum"], 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return f"{where} is {shown}, expected one of {', '.join(map(repr, schema['enum']))}{hint}"
        case "uniqueItems", _:
            same = ", ".join(f"{name} {_of(found.value, name, default)!r}" for name, default in found.limit.items())
            return f"{where} has the {same or shown} of an earlier item, and items of this list must differ in that"
        case "format", "byte":
            return f"{where} is not base64: encode it, or put the plain text under stringData"
        case "format", _:
            return f"{where} is {shown}, expected a time such as '2024-11-15T12:00:00Z'"
        case "pattern", _:
            return f"{where} is {shown}, expected text that matches {schema['pattern']}"
        case "minimum" | "maximum" as rule, _:
            return f"{where} is {shown}, expected at {'least' if rule == 'minimum' else 'most'} {found.limit}"
        case rule, _:
            size = len(found.value)
            unit = (
                "characters" if isinstance(found.value, str) else "items" if isinstance(found.value, list) else "fields"
            )
            return (
                f"{where} has {size} {unit}, expected at {'least' if rule.startswith('min') else 'most'} {found.limit}"
            )


def _of(item: Any, name: str, default: Any) -> Any:
    return default if item.get(name) is None else item[name]


def _described(value: Any, secret: bool) -> str:
    plain = secret or isinstance(value, dict | list | None)
    return f"is {_KINDS[type(value)]}{'' if plain else f' {_shown(value)}'}"


def _shown(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    text = redact(repr(value))  # before it is cut: a password is known by the @ behind it
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _unknown_field(schemas: ApiSchemas, kind: str, keys: Keys, document: Mapping[str, Any]) -> tuple[str, str]:
    name = str(keys[-1])
    fields = schemas.at(kind, keys[:-1]).get("properties", {})
    siblings: Any = document
    for key in keys[:-1]:
        siblings = siblings[key]
    below = [
        each for each in siblings if name in schemas.node(fields.get(each, {})).get("properties", {}) and each != name
    ]
    folded = {each.lower(): each for each in fields}
    close = [folded[each] for each in difflib.get_close_matches(name.lower(), folded, 2)]
    certain = [folded[each] for each in difflib.get_close_matches(name.lower(), folded, 2, cutoff=0.9)] or close
    if name.lower() in folded:
        certain = close[:1]
    meant = ""
    if below:
        hint = f"; it belongs to {path((*keys[:-1], below[0]))}"
    elif close:
        hint = f"; did you mean {close[0]!r}?"
        meant = certain[0] if len(certain) == 1 and certain[0] not in siblings else ""
    else:
        hint = f"; available: {', '.join(sorted(fields))}" if 0 < len(fields) <= 12 else ""
    return f"the API has no field {path(keys)}{hint}", meant
