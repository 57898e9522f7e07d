"""Redaction of what looks like credentials, in texts that get into a report."""

from __future__ import annotations

import re

_SECRETS = (
    re.compile(
        r"(?i)((?:password|passwd|secret|token|api[_-]?key|access[_-]?key)[\w-]*[\"']?[ \t]*[:=][ \t]*[\"']?)([^\s\"',;&]+)"
    ),
    re.compile(r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic)\s+)(\S+)"),
    re.compile(r"(\w+://[^\s/:@]+:)([^\s/@]+)(?=@)"),
)


def redact(text: str) -> str:
    """``text`` with the values of what looks like credentials replaced."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\1[redacted]", text)
    return text
