"""Values of documents whose shape nothing guarantees, and the places where they stand. Declares no contract."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import Keys


def mapping(value: Any) -> Mapping[str, Any]:
    """``value`` if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def each(value: Any, keys: Keys) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    """The mappings in a list, with their places."""
    if isinstance(value, list):
        yield from (((*keys, index), item) for index, item in enumerate(value) if isinstance(item, dict))


def integer(value: Any) -> int | None:
    """The integer that ``value`` is, also as 1.0; another type is the schema's to refuse."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def parsed_integer(text: str) -> int | None:
    """The integer that a text stands for to Go's strconv.Atoi; None for any other text, and for one that no int64 holds."""
    return number if re.fullmatch(r"[+-]?[0-9]{1,30}", text) and abs(number := int(text)) < 2**63 else None


def text(value: Any) -> str:
    """``value`` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def path(keys: Keys) -> str:
    """Where a value stands, such as ``spec.predictor.containers[0].env``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")


_PLACEHOLDER = re.compile(r"\$\{\w[^}]*\}|\$\(\w[\w.-]*\)|\{\{-?\s*(?:\w|\.(?:Values|Release|Chart)\b)|\A\$\w+\Z")
"""Placeholders of shells and envsubst, of Kustomize and Tekton, of Jinja and Helm. Those of KServe's runtimes are others: ``{{.Name}}``."""

FILLED_LATER = "it has a placeholder, whose value is not in the file"


def has_placeholder(value: Any) -> bool:
    """Whether it is a text with a placeholder, such as ``${NAME}``, ``$(NAME)`` or ``{{ name }}``."""
    return isinstance(value, str) and _PLACEHOLDER.search(value) is not None


def is_filled_later(document: Any, keys: Keys) -> bool:
    """Whether the text at ``keys`` or one of the keys has a placeholder, so that what is applied is not what stands here."""
    if any(map(has_placeholder, keys)):
        return True
    value = document
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return False
    return has_placeholder(value)
