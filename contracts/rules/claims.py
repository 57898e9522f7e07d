"""What Kubernetes refuses of the spec of a PersistentVolumeClaim (1.30.14 and 1.34.0, ValidatePersistentVolumeClaimSpec)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import Keys
from trivet.contracts.quantities import quantity
from trivet.contracts.rules.names import subdomain_problem
from trivet.contracts.rules.selectors import selector_problems
from trivet.contracts.values import mapping, path, text
from trivet.contracts.violation import Violation

_ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")


def claim_problems(keys: Keys, spec: Mapping[str, Any]) -> Iterator[Violation]:
    """What Kubernetes refuses of the spec of a claim, which stands at ``keys``."""
    modes = spec.get("accessModes")
    if not isinstance(modes, list) or not modes:
        yield Violation(
            (*keys, "accessModes"), f"a claim needs at least one of accessModes: {', '.join(_ACCESS_MODES)}"
        )
    else:
        for index, mode in enumerate(modes):
            if mode not in _ACCESS_MODES:
                at = (*keys, "accessModes", index)
                yield Violation(at, f"the access mode {mode!r} is not one of {', '.join(_ACCESS_MODES)}")
        if "ReadWriteOncePod" in modes and any(mode in _ACCESS_MODES[:3] for mode in modes):
            at = (*keys, "accessModes")
            yield Violation(at, f"{path(at)}: ReadWriteOncePod excludes other access modes")
    if spec.get("volumeMode") not in (None, "Filesystem", "Block"):
        at = (*keys, "volumeMode")
        yield Violation(at, f"{path(at)} {spec['volumeMode']!r} is not Filesystem or Block")
    size = mapping(mapping(spec.get("resources")).get("requests")).get("storage")
    at = (*keys, "resources", "requests", "storage")
    if size is None:
        yield Violation((*keys, "resources"), "a claim needs resources.requests.storage")
    elif (number := quantity(size)) is not None and number <= 0:
        yield Violation(at, f"{path(at)} {size} is not positive")
    name = spec.get("storageClassName")
    if isinstance(name, str) and name and (why := subdomain_problem(name)):
        yield Violation((*keys, "storageClassName"), f"{path(keys)}.storageClassName {name!r} is no name: {why}")
    yield from selector_problems((*keys, "selector"), spec.get("selector"))
    for field in ("dataSource", "dataSourceRef"):
        yield from _data_source((*keys, field), spec.get(field))
    own, ref = spec.get("dataSource"), spec.get("dataSourceRef")
    if isinstance(own, dict) and isinstance(ref, dict) and _reference(own) != _reference(ref):
        yield Violation(
            (*keys, "dataSourceRef"), f"{path(keys)}.dataSource and dataSourceRef must name the same object"
        )


def _reference(source: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(source.get(field) or "" for field in ("apiGroup", "kind", "name"))


def _data_source(keys: Keys, source: Any) -> Iterator[Violation]:
    if not isinstance(source, dict):
        return
    for field in ("kind", "name"):
        if source.get(field) == "":
            yield Violation((*keys, field), f"{path(keys)}.{field} is empty")
    if not source.get("apiGroup") and text(source.get("kind")) not in ("", "PersistentVolumeClaim"):
        yield Violation((*keys, "kind"), f"{path(keys)}.kind {source['kind']!r} needs an apiGroup")
