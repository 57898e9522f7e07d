"""Turns arbitrary names into values of Kubernetes labels."""

from __future__ import annotations

import hashlib
import re

LONGEST = 63
"""Maximum length of a label value (Kubernetes, ``apimachinery/pkg/util/validation/validation.go``)."""

_VALID = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?")
_DIGEST = 8
_LETTERS = str.maketrans("0123456789abcdef", "ghijklmnopqrstuv")
"""A digest has letters that no hexadecimal digit is, so that names which end in a commit or a date do not look like one."""
_ENDS_IN_DIGEST = re.compile(rf"(.*-)?[g-v]{{{_DIGEST}}}", re.DOTALL)


def is_label_value(value: str) -> bool:
    """Whether Kubernetes accepts ``value`` as a label value; the empty string is valid."""
    return len(value) <= LONGEST and _VALID.fullmatch(value) is not None


def label_value(text: str) -> str:
    """``text`` itself if it is a valid label value, else a readable part of it with a digest. Deterministic.

    Different texts get different values, unless both the readable part and 32 bits of SHA-256 collide: a valid text that could be
    the value of another one, since it ends in eight letters from g to v, gets a digest too.
    """
    if is_label_value(text) and not _ENDS_IN_DIGEST.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST].translate(_LETTERS)
    rest = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[: LONGEST - _DIGEST - 1].strip("._-")
    return f"{rest}-{digest}" if rest else digest
