"""Values for Kubernetes labels out of names that were never meant to be labels."""

from __future__ import annotations

import hashlib
import re

LONGEST = 63
"""Characters of a label value (Kubernetes, ``apimachinery/pkg/util/validation/validation.go``)."""

_VALID = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?")
_DIGEST = 8


def is_label_value(value: str) -> bool:
    """Whether Kubernetes accepts ``value`` as a label's value (the empty one included)."""
    return len(value) <= LONGEST and _VALID.fullmatch(value) is not None


def label_value(text: str) -> str:
    """``text`` itself if Kubernetes accepts it, else a readable rest of it with a digest, the same one every time.

    Different texts get different values, up to a collision of 32 bits of SHA-256 and of the readable rest.
    """
    if is_label_value(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    rest = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[: LONGEST - _DIGEST - 1].strip("._-")
    return f"{rest}-{digest}" if rest else digest
