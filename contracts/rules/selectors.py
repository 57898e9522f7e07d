"""What Kubernetes refuses of selectors of labels (apimachinery 0.30.14 and 0.35.0, pkg/apis/meta/v1/validation)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import Keys
from trivet.contracts.rules.names import label_value_problem, qualified_problem
from trivet.contracts.values import each, mapping, path
from trivet.contracts.violation import Violation

_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def selector_problems(keys: Keys, selector: Any) -> Iterator[Violation]:
    """What apimachinery (pkg/apis/meta/v1/validation, ValidateLabelSelector) refuses of a label selector, which stands at ``keys``."""
    for key, value in mapping(mapping(selector).get("matchLabels")).items():
        why = qualified_problem(str(key)) or (label_value_problem(value) if isinstance(value, str) else "")
        if why:
            yield Violation(
                (*keys, "matchLabels", key), f"{path(keys)}.matchLabels {key}: {value!r} is no label: {why}"
            )
    for at, expression in each(mapping(selector).get("matchExpressions"), (*keys, "matchExpressions")):
        yield from requirement_problems(at, expression, _OPERATORS)


def requirement_problems(keys: Keys, expression: Mapping[str, Any], operators: tuple[str, ...]) -> Iterator[Violation]:
    """What Kubernetes refuses of a requirement on labels: key, operator and values."""
    operator, values = expression.get("operator"), expression.get("values")
    if operator not in operators:
        allowed = f"{', '.join(operators[:-1])} or {operators[-1]}"
        yield Violation((*keys, "operator"), f"{path(keys)}.operator {operator!r} is not {allowed}")
    elif operator in ("In", "NotIn") and not values:
        yield Violation(keys, f"{path(keys)} has no values, which the operator {operator} needs")
    elif operator in ("Exists", "DoesNotExist") and values:
        yield Violation((*keys, "values"), f"{path(keys)} has values, which the operator {operator} excludes")
    elif operator in ("Gt", "Lt") and (not isinstance(values, list) or len(values) != 1):
        yield Violation(keys, f"{path(keys)} must have one value, which the operator {operator} needs")
    if isinstance(key := expression.get("key"), str) and (why := qualified_problem(key)):
        yield Violation((*keys, "key"), f"{path(keys)}.key {key!r} is no label: {why}")
    for index, value in enumerate(values if isinstance(values, list) else ()):
        if isinstance(value, str) and (why := label_value_problem(value)):
            yield Violation((*keys, "values", index), f"{path(keys)}.values: {value!r} is no value of a label: {why}")
