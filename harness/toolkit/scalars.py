"""What a scalar of YAML stands for, to kubectl and the API server, to KFP's API server and to PyYAML."""

from __future__ import annotations

import math
import re
import struct
from functools import lru_cache
from typing import Any

import yaml

TAG = "tag:yaml.org,2002:"

MAX_BITS = 1000
"""Of an integer; Python turns larger ones neither into a float (from 1024 on) nor, from 4300 digits on, into a text."""

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **{f"{sign}.{inf}": float(f"{sign}inf") for sign in ("", "+", "-") for inf in ("inf", "Inf", "INF")},
}
_RESOLVER: Any = yaml.SafeLoader("")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_BASES = {2: 16, 3: 2, 4: 8, 5: 10}
"""By the group of an integer's digits."""
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_FRACTION = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?")
"""What begins with a dot, in which Go's strconv.ParseFloat takes underscores between digits only."""


@lru_cache(maxsize=4096)
def kubernetes_scalar(text: str) -> Any:
    """What kubectl and the API server make of a scalar without quotes: ``y`` is true, ``1e3`` a number, a date a text.

    Source: sigs.k8s.io/yaml 1.4.0 goyaml.v2/resolve.go, resolve; a date becomes text in decode.go, scalar.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[:1] not in "+-.0123456789":
        return text
    if text[0] == "." and not _FRACTION.fullmatch(text):
        return text
    digits = text.replace("_", "")
    if digits.startswith(("0b-", "0b+")):  # strconv.ParseInt(plain[2:], 2, 64)
        digits = f"{digits[2]}0b{digits[3:]}"
    if found := _INTEGER.fullmatch(digits):
        group = found.lastindex or 0
        written = found[group].lstrip("0") or "0"
        if len(written) <= 64:
            number = int(found[1] + written, _BASES[group])
            if -(2**63) <= number < (2**63 if found[1] else 2**64):
                return number
    if _FLOAT.fullmatch(digits) and not math.isinf(value := float(digits)):
        return value
    return text


def kfp_scalar(text: str) -> Any:
    """What KFP's API server makes of a scalar without quotes: as ``kubernetes_scalar``, but of words only true and false are booleans.

    Source: gopkg.in/yaml.v3 3.0.1 resolve.go, by which backend/src/apiserver/template/v2_template.go of KFP 2.17.0 and 2.0.5 reads.
    """
    value = kubernetes_scalar(text)
    return text if isinstance(value, bool) and text.casefold() not in ("true", "false") else value


@lru_cache(maxsize=4096)
def pyyaml_scalar(text: str) -> Any:
    """What PyYAML makes of a scalar without quotes, save that dates are texts."""
    return typed(_RESOLVER.resolve(yaml.ScalarNode, text, (True, False)), text)


def typed(tag: str, text: str) -> Any:
    """The value of a scalar by its tag; dates, numbers to the base of 60 and integers that no float holds are texts."""
    kind = tag.removeprefix(TAG)
    if kind not in ("null", "bool", "int", "float") or ":" in text:
        return text
    try:
        value = getattr(_RESOLVER, f"construct_yaml_{kind}")(yaml.ScalarNode(tag, text))
    except (ValueError, LookupError):  # a tag that the text belies, such as !!int "" and !!bool maybe
        return text
    return text if kind == "int" and value.bit_length() > MAX_BITS else value


@lru_cache(maxsize=4096)
def plain_key(text: str) -> str | None:
    """What kubectl and the API server make of a key without quotes: ``on`` is ``true``, ``1e3`` is ``1000``; None for what they refuse.

    Source: sigs.k8s.io/yaml 1.4.0 yaml.go, convertToJSONableObject.
    """
    value = kubernetes_scalar(text)
    if value is None or (isinstance(value, int) and value >= 2**63):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return _float_key(value) if isinstance(value, float) else str(value)


def _float_key(value: float) -> str:
    """The shortest text of a number of 32 bits, as Go's strconv.FormatFloat(value, 'g', -1, 32) writes it."""
    value = _single(value)
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    digits = next(n for n in range(10) if _single(float(f"{value:.{n}e}")) == value)
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    if -4 <= int(exponent) < 6:
        return f"{value:.{max(digits - int(exponent), 0)}f}"
    return f"{mantissa}e{int(exponent):+03d}"


def _single(value: float) -> float:
    """The nearest number of 32 bits."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)
