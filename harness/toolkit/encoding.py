"""Text that UTF-8 can hold, for files in JSON."""

from __future__ import annotations

from typing import Any


def encodable(value: Any) -> Any:
    """``value`` with text that is valid UTF-8."""
    # Logs decoded with "surrogateescape" contain lone surrogates, which UTF-8 cannot encode.
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {encodable(key): encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encodable(item) for item in value]
    return value
