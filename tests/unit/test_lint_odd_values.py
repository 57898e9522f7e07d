"""Numbers of any length, texts that are nearly URLs and nesting of any depth stop no reader of values."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from typing import Any

import pytest

from trivet.contracts.ir.messages import _fits, described
from trivet.contracts.ir.resources import resource_violations
from trivet.contracts.ir.step_code import read_program
from trivet.contracts.quantities import MAX_LENGTH, quantity
from trivet.contracts.rules.knative import _number
from trivet.contracts.rules.uris import form_problem
from trivet.contracts.values import parsed_integer
from trivet.integration.signature_reader import reading_problems
from trivet.toolkit.documents import documents
from trivet.toolkit.scalars import pyyaml_scalar


@pytest.mark.parametrize(
    "value",
    ["9" * 5000, "1e" + "9" * 5000, "1e999", 1e999, float("nan"), 10**400, "1²", "١", ".", "e5", ""],
)
def test_what_is_no_quantity(value: Any) -> None:
    assert quantity(value) is None


def test_an_integer_that_no_float_holds_is_read_as_a_text() -> None:
    large = "0x" + "f" * 5000
    assert [one.value for one in documents(f"[!!int {large}, {large}, !!int 0x{'f' * 250}]")] == [
        [large, large, int("f" * 250, 16)]
    ]
    assert pyyaml_scalar(large) == large


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (text, text)
        for text in ("0o", "+0o", "-0o", "0_o", "0o_", "0O", "0x", "0b", "0o8", "08o", "0b--1", "0b-", "+0b-1")
    ]
    + [("0", 0), ("-0", 0), ("00", 0), ("0o17", 15), ("-0O17", -15), ("0_o17", 15), ("017", 15), ("0x_1F", 31)]
    + [("08", 8.0), ("0b-11", -3), ("0b+11", 3), ("1__0_", 10), (f"0x{'0' * 70}1", 1), (f"0b{'0' * 70}1", 1)]
    + [("0" * 70 + "7", 7), ("0" * 70 + "8", 8.0), ("9" * 400, "9" * 400), (f"0x{'f' * 70}", f"0x{'f' * 70}")]
    + [("18446744073709551615", 2**64 - 1), ("18446744073709551616", 2.0**64), ("-9223372036854775808", -(2**63))]
    + [("+9223372036854775807", 2**63 - 1), ("+9223372036854775808", 2.0**63), ("-9223372036854775809", -(2.0**63))]
    + [("0x8000000000000000", 2**63), ("+0x8000000000000000", "+0x8000000000000000")]
    + [(".1_0", 0.1), (".1e1_0", 0.1e10), *((text, text) for text in ("._1", ".1_", ".1__0", ".1_e1", ".1e_1", "."))]
    + [("+.1_0", 0.1), ("1_.5", 1.5)],
)
def test_a_scalar_as_go_reads_it(text: str, value: Any) -> None:
    """Each was given to sigs.k8s.io/yaml 1.4.0."""
    (document,) = documents(f"a: {text}\n")
    assert repr(document.value) == repr({"a": value})


@pytest.mark.parametrize(
    ("text", "key"),
    [
        *[
            ("0o", "0o"),
            ("0o17", "15"),
            (".1_0", "0.1"),
            ("+9223372036854775808", "9.223372e+18"),
            (f"0x{'0' * 70}1", "1"),
        ],
        *[("5e-324", "0"), ("-5e-324", "-0"), ("2e-45", "1e-45"), ("16777218.9", "1.6777218e+07"), ("1e39", ".inf")],
        *[("3.4028235e38", "3.4028235e+38"), ("-3.4028236e38", "-.inf")],
        *[("0.1", "0.1"), ("1e5", "100000"), ("1e6", "1e+06"), ("0.0001", "0.0001"), ("1e-5", "1e-05")],
    ],
)
def test_a_key_as_go_reads_it(text: str, key: str) -> None:
    """Each was given to sigs.k8s.io/yaml 1.4.0."""
    (document,) = documents(f"{text}: 1\n")
    assert document.value == {key: 1}


@pytest.mark.parametrize(
    ("value", "number"), [("5.", 5), (".5", Fraction(1, 2)), ("9" * MAX_LENGTH, 10**MAX_LENGTH - 1), (10**99, 10**99)]
)
def test_what_is_a_quantity(value: Any, number: Fraction) -> None:
    assert quantity(value) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [("007", 7), ("-1", -1), ("+1", 1), ("9223372036854775807", 2**63 - 1), ("9223372036854775808", None)]
    + [(text, None) for text in ("9" * 5000, "²", "١", "1_0", " 1", "1\n", "", "1.0", "0x1")],
)
def test_an_integer_as_go_reads_it(text: str, number: int | None) -> None:
    assert parsed_integer(text) == number


@pytest.mark.parametrize("value", ["9" * 400, "9" * 5000, "²", "1_0"])
def test_no_number_of_an_annotation_of_knative(value: str) -> None:
    assert _number(0, whole=True)(value) == "is not an integer at least 0"


def test_a_uri_with_a_broken_host_is_no_url() -> None:
    assert form_problem("https://[bad/x") == "'https://[bad/x' is no URL: Invalid IPv6 URL"


@pytest.mark.parametrize("value", [10**400, "9" * 400])
def test_resources_of_any_length_are_judged(value: Any) -> None:
    assert list(resource_violations({"cpuLimit": value, "accelerator": {"type": "nvidia.com/gpu", "count": value}}))


def test_an_integer_of_any_length_is_an_integer() -> None:
    assert _fits(10**400, "integer")
    assert _fits(2.0, "integer")
    assert not _fits(2.5, "integer")


def test_a_password_is_redacted_before_the_value_is_cut() -> None:
    assert described(f"https://me:{'x' * 80}@h/") == "'https://me:[redacted]@h/'"
    assert described("x" * 41) == f"'{'x' * 37}'…"
    assert described(2.5) == "2.5"


def test_numbers_in_a_step_s_code_stop_no_reader() -> None:
    code = (
        f"import os\ndef step():\n    os.getenv('{{²}}'.format(0x{'f' * 5000}))\n    os.getenv('{{99999}}'.format(1))\n"
    )
    read_program(code)


@pytest.mark.parametrize("depth", [101, 900, 100_000])
def test_a_signature_that_is_nested_too_deep_is_refused(depth: int) -> None:
    nested = '{"type": "array", "items": ' * depth + '{"type": "long"}' + "}" * depth
    problems = reading_problems({"inputs": f"[{nested}]"}, mlflow="2.19.0", mlserver="1.7.1")
    assert problems == ["inputs: the JSON is nested deeper than 100 levels"]
    assert sys.getrecursionlimit() <= 10_000


def test_a_type_that_is_no_name_is_refused() -> None:
    kinds: list[Any] = [[], {}, ["long"]]
    for kind in kinds:
        problems = reading_problems({"inputs": json.dumps([{"type": kind, "name": "a"}])}, mlflow="2.19.0")
        assert len(problems) == 1
        assert f"has no type {kind!r}" in problems[0]
