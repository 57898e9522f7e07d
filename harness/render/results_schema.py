"""The JSON Schema of a file in a results store: generated from the dataclasses of a kept result."""

from __future__ import annotations

from typing import Any

from trivet.model.results import KEPT_RESULT, RESULTS_VERSION, KeptResult
from trivet.render.report_json import schema_of

SCHEMA_FILE = "kept-result.schema.json"
"""The published schema, in the folder of this module; :func:`schema` generates it."""


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of one kept result."""
    return schema_of(KeptResult, KEPT_RESULT, {}, version=RESULTS_VERSION)
