"""Pickles for examples, made by hand: the opcodes of the names that real ones contain, without the packages."""

from __future__ import annotations

import struct


def _text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def pickled(*names: str, sklearn: str = "", strings: tuple[str, ...] = ()) -> bytes:
    """A pickle of protocol 4 that contains ``module:name`` of ``names``, estimators that state the version ``sklearn``, and ``strings``."""
    found = b"\x80\x04"
    for name in names:
        module, _, qualified = name.partition(":")
        found += _text(module) + b"\x94" + _text(qualified) + b"\x94\x93\x94" + b"0"
    if sklearn:
        found += _text("_sklearn_version") + _text(sklearn) + b"00"
    for each in strings:
        found += _text(each) + b"0"
    return found + b"N."


LINEAR = pickled(
    "sklearn.linear_model._logistic:LogisticRegression", "numpy.core.multiarray:_reconstruct", sklearn="1.4.1.post1"
)
"""A model of scikit-learn 1.4.1 and NumPy 1, as far as names tell."""
