"""What is read from a pickle without loading it."""

from __future__ import annotations

import collections
import fractions
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from contract_examples.pickles import LINEAR, pickled
from hypothesis import given
from hypothesis import strategies as st

from trivet.toolkit import pickles
from trivet.toolkit.pickles import read_pickle


def read(directory: Path, content: bytes, **more: Any) -> pickles.PickleContent:
    file = directory / "model.pkl"
    file.write_bytes(content)
    return read_pickle(file, **more)


class Estimator:
    def __init__(self, inner: Any = None) -> None:
        self._sklearn_version = "1.5.2"
        self.inner = inner


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_names_and_versions_are_read_from_every_protocol(tmp_path: Path, protocol: int) -> None:
    value = [Estimator(Estimator()), collections.OrderedDict(a=1), len]
    content = read(tmp_path, pickle.dumps(value, protocol), strings=("inner", "outer"))
    module = "__builtin__" if protocol < 3 else "builtins"
    assert {(Estimator.__module__, "Estimator"), ("collections", "OrderedDict"), (module, "len")} <= content.names
    assert content.sklearn_versions == {"1.5.2"}
    assert content.strings == {"inner"}
    assert (content.broken, content.unread) == ("", "")


@pytest.mark.parametrize("length", range(65_480, 65_560))
def test_a_name_is_read_whose_parts_a_frame_separates(tmp_path: Path, length: int) -> None:
    content = read(tmp_path, pickle.dumps(["x" * length, collections.OrderedDict, fractions.Fraction], 4))
    assert content.names == {("collections", "OrderedDict"), ("fractions", "Fraction")}


def test_the_class_of_an_old_instance_is_a_name(tmp_path: Path) -> None:
    assert read(tmp_path, b"(icollections\nOrderedDict\n.").names == {("collections", "OrderedDict")}


def test_a_name_whose_parts_are_taken_from_the_memo(tmp_path: Path) -> None:
    # "m" and "n" are memoised, other values follow, and STACK_GLOBAL takes both from the memo.
    by_memo = b"\x80\x04\x8c\x01m\x94\x8c\x01n\x94000K\x01h\x00h\x01\x93."
    assert read(tmp_path, by_memo).names == {("m", "n")}


@pytest.mark.parametrize(
    "content",
    [
        b"\r\n",
        b"no pickle",
        LINEAR[:-1],
        LINEAR[:30],
        b"PK\x03\x04zip",
        b"\x80\x04\x8c\xffshort",
        b"\x96" + b"\xff" * 6 + b"\x00\x01",
    ],
)
def test_what_is_no_complete_pickle_is_broken(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content).broken


def test_a_pickle_that_is_too_long_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_OPCODES", 8)
    content = read(tmp_path, pickled("a:B", "c:D", "e:F"))
    assert content.names == {("a", "B")}
    assert content.unread == "it has more than 8 opcodes"


def test_a_large_array_is_passed_over_without_a_copy(tmp_path: Path) -> None:
    size = 64 * pickles.LARGE
    value = [b"\0" * size, collections.OrderedDict()]
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(value, 5))
    del value
    tracemalloc.start()
    content = read_pickle(tmp_path / "model.pkl")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ("collections", "OrderedDict") in content.names
    assert not content.broken
    assert peak < 4 * pickles.LARGE


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_pickle(tmp_path / "model.pkl")


@given(st.binary(max_size=200))
def test_no_content_makes_the_reader_fail(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        read(Path(directory), content)
