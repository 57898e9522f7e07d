"""The JSON of a report on an operation, as commands print it and the steps of pipelines hand it on; standard library only."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from trivet.model.operation import OperationReport


def write(report: OperationReport) -> str:
    """The report as indented JSON, with the computed field ``exitCode`` first; its schema is that of ``trivet.render.operation_json``."""
    written = {field.name: _json(getattr(report, field.name)) for field in fields(report)}
    head = {name: written.pop(name) for name in ("apiVersion", "kind")}
    return json.dumps({**head, "exitCode": report.exit_code, **written}, indent=2, ensure_ascii=False) + "\n"


def _json(value: Any) -> Any:
    """``value`` with text that is valid UTF-8, and None for numbers that JSON does not have."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {_json(name): _json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    return value
