"""The schema of ``stack.toml`` as data, and the check of a parsed file against a schema. Reads no files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trivet.errors import nearest
from trivet.model.stack import COMPONENTS, ROLES


@dataclass(frozen=True, kw_only=True)
class String:
    """A TOML string that matches all of ``pattern``; ``description`` is for messages."""

    description: str = "a string"
    pattern: str = r"(?s).+"


@dataclass(frozen=True, kw_only=True)
class Port:
    """A TOML integer from 1 to 65535."""

    description: str = "a port number"


@dataclass(frozen=True, kw_only=True)
class Boolean:
    """A TOML boolean."""

    description: str = "true or false"


@dataclass(frozen=True, kw_only=True)
class StringArray:
    """A TOML array of strings."""

    description: str = "an array of strings"


@dataclass(frozen=True, kw_only=True)
class TableArray:
    """A TOML array of tables, each with the schema ``item``."""

    item: Table
    description: str = "an array of tables"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A TOML table: required keys, optional keys, and the schema of all other keys (None: no other key is allowed)."""

    required: Mapping[str, Schema] = field(default_factory=dict)
    optional: Mapping[str, Schema] = field(default_factory=dict)
    others: Schema | None = None
    description: str = "a table"


Schema = String | Port | Boolean | StringArray | Table | TableArray

_ANY = String()
_TEXT = String(pattern=r"(?s).*")
_FLAG = Boolean()
_VERSION = String(description='a version, such as "2.17.2"', pattern=r"\d+(\.\d+)*(\.?[a-z]+\d+)?")
_ENVIRONMENT = Table(others=String(pattern=r"(?s).*"), description="a table of environment variables")
_ROLE = Table(
    required={
        "python": String(description='a Python version, such as "3.11"', pattern=r"3\.\d+(\.\d+)?"),
        "cutoff": String(description='a date in quotes, such as "2024-11-15"', pattern=r"\d{4}-\d{2}-\d{2}"),
        "requires": StringArray(),
    },
    optional={"constraints": StringArray(), "image": _ANY, "image_python": _VERSION, "environment": _ENVIRONMENT},
)
_SERVING = Table(
    required={
        "runtime": _ANY,
        "model_format": _ANY,
        "model_format_versions": StringArray(),
        "protocol_versions": StringArray(),
        "http_port": Port(),
        "grpc_port": Port(),
        "metrics_port": Port(),
        "metrics_path": _ANY,
        "model_mount": _ANY,
        "deployment_modes": StringArray(),
        "default_deployment_mode": _ANY,
        "autoscaler_classes": StringArray(),
        "environment": _ENVIRONMENT,
        "storage": Table(
            required={"prefixes": StringArray(), "expressions": StringArray(), "controller_prefixes": StringArray()}
        ),
    }
)
_REASON = String(description="the reason why it is unknown")
_UNKNOWN = Table(
    optional={
        "components": Table(optional=dict.fromkeys(COMPONENTS, _REASON)),
        "roles": Table(optional=dict.fromkeys(ROLES, _REASON)),
        "serving": Table(optional=dict.fromkeys(_SERVING.required, _REASON)),
        "api_schemas": _REASON,
        "platform": _REASON,
    }
)
# kubeflow/pipelines 2.17.0 backend/src/common/plugins/mlflow/config.go: PluginConfig, TLSConfig, MLflowPluginSettings, CredentialSecretRef
_MLFLOW_PLUGIN: Mapping[str, Schema] = {
    "endpoint": _TEXT,
    "timeout": _TEXT,
    "tls": Table(optional={"insecureSkipVerify": _FLAG, "caBundlePath": _TEXT}),
    "settings": Table(
        optional={
            **dict.fromkeys(("workspacesEnabled", "injectUserEnvVars"), _FLAG),
            "authType": _TEXT,
            "credentialSecretRef": Table(
                optional=dict.fromkeys(("name", "tokenKey", "usernameKey", "passwordKey"), _TEXT)
            ),
            **dict.fromkeys(("experimentDescription", "defaultExperimentName", "kfpBaseURL"), _TEXT),
            **dict.fromkeys(("kfpRunURLPathTemplate", "mlflowBaseURL", "mlflowUIPathPrefix"), _TEXT),
        }
    ),
}
_PIPELINES = Table(
    required={"backend": String(description='a release of KFP, such as "2.17.0"', pattern=r"\d+\.\d+\.\d+")},
    optional={
        "namespace": _ANY,
        "plugins": Table(optional={"mlflow": Table(optional=_MLFLOW_PLUGIN)}),
    },
)
STACK = Table(
    required={
        "title": _ANY,
        "components": Table(
            required=dict.fromkeys(("kfp", "mlflow", "kserve", "runtime"), _VERSION),
            optional=dict.fromkeys(COMPONENTS, _VERSION),
        ),
        "roles": Table(required=dict.fromkeys(ROLES, _ROLE)),
        "serving": _SERVING,
    },
    optional={"platform": _ANY, "unknown": _UNKNOWN, "pipelines": _PIPELINES},
)


def stack_errors(table: Mapping[str, Any]) -> Iterator[str]:
    """:func:`schema_errors` of a parsed ``stack.toml``; what its table ``unknown`` names is not required elsewhere."""
    unknown = table.get("unknown", {})
    if errors := list(schema_errors(unknown, _UNKNOWN, "unknown")):
        yield from errors
        return
    tables = {
        name: _not_requiring(schema, unknown.get(name, ())) if isinstance(schema, Table) else schema
        for name, schema in STACK.required.items()
    }
    yield from schema_errors(table, replace(STACK, required=tables))


def _not_requiring(schema: Table, names: Collection[str]) -> Table:
    optional = {name: one for name, one in schema.required.items() if name in names}
    required = {name: one for name, one in schema.required.items() if name not in names}
    return replace(schema, required=required, optional={**schema.optional, **optional})


def schema_errors(value: Any, schema: Schema, where: str = "") -> Iterator[str]:
    """One sentence, with the key, for each key of ``value`` that is missing, unknown or of a type that ``schema`` does not allow."""
    match schema, value:
        case Table(), dict():
            yield from _table_errors(value, schema, where)
        case String(), str() if re.fullmatch(schema.pattern, value):
            return
        case Port(), int() if not isinstance(value, bool) and 0 < value < 65536:
            return
        case Boolean(), bool():
            return
        case StringArray(), list() if all(isinstance(item, str) for item in value):
            return
        case TableArray(), list() if all(isinstance(item, dict) for item in value):
            for position, item in enumerate(value):
                yield from _table_errors(item, schema.item, f"{where}[{position}]")
        case _:
            yield f"`{where}` is {value!r}, expected {schema.description}"


def _table_errors(table: Mapping[str, Any], schema: Table, where: str) -> Iterator[str]:
    known = {**schema.optional, **schema.required}
    prefix = f"{where}." if where else ""
    for key in schema.required:
        if key not in table:
            yield f"`{prefix}{key}` is missing, expected {schema.required[key].description}"
    for key, value in table.items():
        expected = known.get(key, schema.others)
        if expected is None:
            near = nearest(key, known)
            meant = f" (did you mean `{near}`?)" if near else ""
            yield f"`{prefix}{key}` is unknown{meant}, expected one of: {', '.join(sorted(known))}"
        else:
            yield from schema_errors(value, expected, f"{prefix}{key}")
