"""The version of XGBoost that a file states."""

from __future__ import annotations

from pathlib import Path

import pytest

from trivet.contracts import _xgboost_files
from trivet.contracts._xgboost_files import xgboost_version

UBJSON = b"updaterS\0L\0\0\0\0\0\0\0\x00}}L\0\0\0\0\0\0\0\x07version[#L\0\0\0\0\0\0\0\x03i\x03i\x01i\x01}"
"""The end of a model that XGBoost 3.1.1 wrote, but for what stands before it."""


@pytest.mark.parametrize(
    ("content", "version"),
    [
        (UBJSON, "3.1.1"),
        (UBJSON.replace(b"i\x01i\x01", b"i\x0ai\x00"), "3.10.0"),
        (b'{"learner":{"attributes":{"version":"9"}},"version":[2,0,3]}', "2.0.3"),
        (b'{\n  "version": [\n    2,\n    0,\n    3\n  ]\n}\n', "2.0.3"),
        (
            b"cxgboost.core\nBooster\n" + UBJSON.replace(b"\x03i\x03", b"\x03i\x02") + UBJSON + b'"version":[1,7,6]',
            "3.1.1",
        ),
        (b"binf\0\0\0?", None),
        (b"", None),
    ],
    ids=["UBJSON", "two digits", "JSON", "JSON by another writer", "the newest in a pickle", "old binary", "empty"],
)
def test_a_file_states_the_version_that_wrote_it(tmp_path: Path, content: bytes, version: str | None) -> None:
    file = tmp_path / "model"
    file.write_bytes(content)
    found = xgboost_version(file)
    assert (str(found) if found else None) == version


def test_of_a_large_file_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_xgboost_files, "MAX_BYTES", 4096)
    file = tmp_path / "model"
    file.write_bytes(UBJSON.replace(b"i\x03", b"i\x04") + b"\0" * 100_000 + UBJSON)
    assert str(xgboost_version(file)) == "3.1.1"


def test_what_cannot_be_read_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="model"):
        xgboost_version(tmp_path / "model")
