"""What identifies a finding across runs, for baselines and code scanning."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import quote

from trivet.model.finding import Finding, Location


def relative_uri(file: str) -> str:
    """The URI of a file below the working directory, relative to that; empty for a file elsewhere."""
    path = Path(os.path.abspath(file))  # noqa: PTH100 - Path.resolve would follow links, and change the path that the user passed
    return quote(path.relative_to(Path.cwd()).as_posix()) if path.is_relative_to(Path.cwd()) else ""


def file_uri(file: str) -> str:
    """The absolute URI of a file."""
    return Path(os.path.abspath(file)).as_uri()  # noqa: PTH100


def fingerprint(contract: str, finding: Finding) -> str:
    """32 hexadecimal digits that are stable across runs: lines, and numbers and hashes in the message, do not count."""
    place = finding.location or Location()
    file = (relative_uri(place.file) or file_uri(place.file)) if place.file else ""
    message = re.sub(r"[0-9a-f]{8,}|\d+", "#", finding.message)
    text = "\n".join((contract, file, place.object or "", message))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
