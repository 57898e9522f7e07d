"""The JSON Schema of ``[tool.trivet]``, for editors: generated from the dataclasses of the settings."""

from __future__ import annotations

import json
from dataclasses import fields
from inspect import cleandoc
from typing import Any

from trivet.model.settings import Existing, Lint, LintPath, Settings
from trivet.model.waiver import Waiver

FILE = "settings.schema.json"
"""The published schema, in the folder of this module; :func:`schema_text` is its content."""


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the table ``tool.trivet`` in pyproject.toml."""
    import msgspec

    definitions: dict[str, Any]
    (reference,), definitions = msgspec.json.schema_components([Settings], ref_template="#/$defs/{name}")
    for kind in (Settings, Existing, Lint, LintPath, Waiver):
        definition = definitions[kind.__name__]
        definition["additionalProperties"] = False
        definition["description"] = cleandoc(definition["description"])
        for one in fields(kind):
            declared = definition["properties"][one.name]
            if "choices" in one.metadata:
                declared["enum"] = list(one.metadata["choices"])
                declared.pop("default")
            if declared.get("type") == "integer":
                declared["minimum"] = 0
    root: dict[str, Any] = definitions.pop(reference["$ref"].rpartition("/")[2])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | root | {"$defs": definitions}


def schema_text() -> str:
    """The content of :data:`FILE`."""
    return json.dumps(schema(), indent=2) + "\n"
