"""The JSON Schema of a file in a results store: generated from the dataclasses of a kept result."""

from __future__ import annotations

import json
from typing import Any

from trivet.model.results import KEPT_RESULT, RESULTS_VERSION, KeptResult

FILE = "kept-result.schema.json"
"""The published schema, in the folder of this module; :func:`schema_text` is its content."""


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of one kept result."""
    import msgspec

    definitions: dict[str, Any]
    (reference,), definitions = msgspec.json.schema_components([KeptResult], ref_template="#/$defs/{name}")
    root: dict[str, Any] = definitions.pop(reference["$ref"].rpartition("/")[2])
    root["properties"] |= {"apiVersion": {"const": RESULTS_VERSION}, "kind": {"const": KEPT_RESULT}}
    for definition in (root, *definitions.values()):
        # Every field is written, also those for which the dataclass has a default.
        if "properties" in definition:
            definition["required"] = list(definition["properties"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | root | {"$defs": definitions}


def schema_text() -> str:
    """The content of :data:`FILE`."""
    return json.dumps(schema(), indent=2) + "\n"
