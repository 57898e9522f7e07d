"""Redaction of credentials in the texts of reports."""

from __future__ import annotations

import re

_TOKEN = (
    r"(?:gh[opsur]_|github_pat_|glpat-|hf_|dapi|npm_|pypi-|sk-|xox[a-z]-|eyJ)[\w.~%+=-]{8,}"
    r"|(?:(?<=https://)|(?<=http://))(?=[^\s/:@]*\d)(?=[^\s/:@]*[A-Za-z])[\w.~%+=-]{20,}"
)
"""Forms of tokens: prefixes of services that mark theirs, and over HTTP long words of letters and digits. Other schemes have names there,
such as the container of ``abfss://models@account…``."""

_SECRETS = (
    (
        ("passw", "secret", "token", "key"),
        re.compile(
            r"(?i)((?:password|passwd|secret|token|api[_-]?key|access[_-]?key)[\w-]*[\"']?[ \t]*[:=][ \t]*[\"']?)([^\s\"',;&]+)"
        ),
    ),
    (
        ("author",),
        re.compile(r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic)\s+)(\S+)"),
    ),
    (
        ("sig", "credential"),
        re.compile(r"(?i)([?&](?:sig|(?:[\w.-]*-)?(?:signature|credential))=)([^\s\"'&#]+)"),
    ),
    (("@",), re.compile(rf"(\w+://)({_TOKEN})(?=[:@])")),
    (("@",), re.compile(r"(\w+://[^\s/:@]*:)([^\s/@]+)(?=@)")),
)
"""Patterns, each with what a text that it matches contains one of: looking for that takes a hundredth of the time.

Signatures and tokens of pre-signed URLs: ``sig`` of Azure's SAS, ``X-Amz-Signature``, ``X-Amz-Credential`` and ``X-Amz-Security-Token`` of
S3, ``X-Goog-Signature`` of GCS, ``Signature`` of both before.
"""


def redact(text: str) -> str:
    """``text`` with values that look like credentials replaced.

    Reports are redacted as a whole; a message that cuts a value redacts it before, since the end may be what a credential is known by.
    """
    folded = text.casefold()
    for hints, pattern in _SECRETS:
        if any(hint in folded for hint in hints):
            text = pattern.sub(r"\1[redacted]", text)
    return text
