"""Which XGBoost wrote a model, as its file states it: JSON, UBJSON, or a pickle that contains one. Loads nothing."""

from __future__ import annotations

import mmap
import os
import re
from pathlib import Path

from packaging.version import Version

MAX_BYTES = 256 * 1024 * 1024
"""Of a file that is searched; of a larger one only this much at its end. A model has its version there, behind its trees."""

_JSON = rb'"version"\s*:\s*\[\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\]'
_UBJSON = rb"L\0{7}\x07version\[#L\0{7}\x03i([\0-\x7e])i([\0-\x7e])i([\0-\x7e])"
"""xgboost 1.6 to 3.1 src/common/json.cc, UBJWriter: a key is ``L``, its length as int64 and its text; an array ``[#L``, its length as int64
and its items; an integer below 127 ``i`` and one byte."""
_VERSION = re.compile(b"%s|%s" % (_JSON, _UBJSON))


def xgboost_version(file: Path) -> Version | None:
    """The version in ``file``, of several models in a pickle the newest; None where it states none, as XGBoost's old binary format.

    Raises OSError when the file cannot be read.
    """
    with file.open("rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        if not size:
            return None
        start = max(0, size - MAX_BYTES)
        start -= start % mmap.ALLOCATIONGRANULARITY
        with mmap.mmap(opened.fileno(), size - start, offset=start, access=mmap.ACCESS_READ) as content:
            versions = [_read(found) for found in _VERSION.finditer(content)]
    return max(versions, default=None)


def _read(found: re.Match[bytes]) -> Version:
    text, binary = found.groups()[:3], found.groups()[3:]
    return Version(".".join(text[i].decode() if text[i] is not None else str(binary[i][0]) for i in range(3)))
