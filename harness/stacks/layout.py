"""What a ``stack.toml`` must look like, as data, and the comparison of a parsed file with it. Knows nothing of locks or folders."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from trivet.model.stack import COMPONENTS, ROLES, SDK


@dataclass(frozen=True, kw_only=True)
class Text:
    """A TOML string that matches ``pattern`` as a whole; ``meaning`` says so in words."""

    meaning: str = "a text"
    pattern: str = r"(?s).+"


@dataclass(frozen=True, kw_only=True)
class Port:
    """A TOML integer from 1 to 65535."""

    meaning: str = "a port number"


@dataclass(frozen=True, kw_only=True)
class Texts:
    """A TOML array of strings."""

    meaning: str = "a list of texts"


@dataclass(frozen=True, kw_only=True)
class Tables:
    """A TOML array of tables, each of the shape ``item``."""

    item: Table
    meaning: str = "a list of tables"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A TOML table: keys that must be there, keys that may be, and the shape of any other key (None: there are none)."""

    required: Mapping[str, Shape] = field(default_factory=dict)
    optional: Mapping[str, Shape] = field(default_factory=dict)
    others: Shape | None = None
    meaning: str = "a table"


Shape = Text | Port | Texts | Table | Tables

_ANY = Text()
_VERSION = Text(meaning='a version, such as "2.17.2"', pattern=r"\d+(\.\d+)*(\.?[a-z]+\d+)?")
_ENVIRONMENT = Table(others=Text(pattern=r"(?s).*"), meaning="a table of environment variables")
_ROLE = Table(
    required={
        "python": Text(meaning='a Python version, such as "3.11"', pattern=r"3\.\d+(\.\d+)?"),
        "cutoff": Text(meaning='a date in quotes, such as "2024-11-15"', pattern=r"\d{4}-\d{2}-\d{2}"),
        "requires": Texts(),
    },
    optional={"constraints": Texts(), "image": _ANY, "image_python": _VERSION, "environment": _ENVIRONMENT},
)
_SERVING = Table(
    required={
        "runtime": _ANY,
        "model_format": _ANY,
        "model_format_versions": Texts(),
        "protocol_versions": Texts(),
        "http_port": Port(),
        "grpc_port": Port(),
        "metrics_port": Port(),
        "metrics_path": _ANY,
        "model_mount": _ANY,
        "deployment_modes": Texts(),
        "default_deployment_mode": _ANY,
        "autoscaler_classes": Texts(),
        "environment": _ENVIRONMENT,
        "storage": Table(required={"prefixes": Texts(), "expressions": Texts(), "controller_prefixes": Texts()}),
    }
)
STACK = Table(
    required={
        "title": _ANY,
        "components": Table(
            required=dict.fromkeys(("kfp", "mlflow", "kserve", "runtime"), _VERSION),
            optional=dict.fromkeys(COMPONENTS, _VERSION),
        ),
        "roles": Table(required=dict.fromkeys((*ROLES, SDK), _ROLE)),
        "serving": _SERVING,
    },
    optional={"platform": _ANY},
)


def deviations(value: Any, shape: Shape, where: str = "") -> Iterator[str]:
    """One sentence for each key of ``value`` that is missing, unknown or of another type than ``shape`` says, naming the key."""
    match shape, value:
        case Table(), dict():
            yield from _table_deviations(value, shape, where)
        case Text(), str() if re.fullmatch(shape.pattern, value):
            return
        case Port(), int() if not isinstance(value, bool) and 0 < value < 65536:
            return
        case Texts(), list() if all(isinstance(item, str) for item in value):
            return
        case Tables(), list() if all(isinstance(item, dict) for item in value):
            for position, item in enumerate(value):
                yield from _table_deviations(item, shape.item, f"{where}[{position}]")
        case _:
            yield f"`{where}` is {value!r}, expected {shape.meaning}"


def _table_deviations(table: Mapping[str, Any], shape: Table, where: str) -> Iterator[str]:
    known = {**shape.optional, **shape.required}
    prefix = f"{where}." if where else ""
    for key in shape.required:
        if key not in table:
            yield f"`{prefix}{key}` is missing, expected {shape.required[key].meaning}"
    for key, value in table.items():
        expected = known.get(key, shape.others)
        if expected is None:
            yield f"`{prefix}{key}` is unknown, expected one of: {', '.join(sorted(known))}"
        else:
            yield from deviations(value, expected, f"{prefix}{key}")
