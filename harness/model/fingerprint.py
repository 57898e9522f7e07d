"""What identifies a finding across runs, for baselines and code scanning."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import quote

from trivet.model.finding import Finding, Location

_GENERATED = re.compile(r"^(Pod/.*?)(?:-[bcdfghjklmnpqrstvwxz2456789]{5,10}){1,2}$")
"""The name of a pod of a Deployment: generated parts of up to 10 and of 5 characters, which two pods of it do not share. Their alphabet has
no vowels, so that no word is one (Kubernetes 1.29, apimachinery/pkg/util/rand/rand.go; a long name is cut before the last part)."""


def relative_uri(file: str) -> str:
    """The URI of a file below the working directory, relative to that; empty for a file elsewhere."""
    path = Path(os.path.abspath(file))  # noqa: PTH100 - Path.resolve would follow links, and change the path that the user passed
    return quote(path.relative_to(Path.cwd()).as_posix()) if path.is_relative_to(Path.cwd()) else ""


def file_uri(file: str) -> str:
    """The absolute URI of a file."""
    return Path(os.path.abspath(file)).as_uri()  # noqa: PTH100


def place_of(finding: Finding) -> tuple[str, str]:
    """The URI of a finding's file and its object, both stable across runs; empty where it has none."""
    place = finding.location or Location()
    file = (relative_uri(place.file) or file_uri(place.file)) if place.file else ""
    return file, _GENERATED.sub(r"\1", place.object or "")


def fingerprint(contract: str, finding: Finding) -> str:
    """32 hexadecimal digits that are stable across runs: lines, generated parts of a pod's name, and numbers and hashes in the message do
    not count."""
    message = re.sub(r"[0-9a-f]{8,}|\d+", "#", finding.message)
    text = "\n".join((contract, *place_of(finding), message))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
