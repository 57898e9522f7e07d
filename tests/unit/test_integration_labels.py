"""Label values: valid for Kubernetes, stable, and telling different names apart."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trivet.integration import is_label_value, label_value


@given(st.text())
def test_any_text_becomes_a_valid_label_value(text: str) -> None:
    value = label_value(text)

    assert len(value) <= 63
    assert re.fullmatch(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", value)


@given(st.text(max_size=80))
def test_a_valid_value_is_left_alone_unless_it_looks_like_that_of_another_text(text: str) -> None:
    if is_label_value(text) and not re.fullmatch(r"(.*-)?[g-v]{8}", text):
        assert label_value(text) == text


@pytest.mark.parametrize("text", ["model-1a2b3c4d", "daily-20261130", "recommendation-classifier", "c8687a08", ""])
def test_names_that_end_in_a_commit_or_a_date_stay_as_they_are(text: str) -> None:
    assert label_value(text) == text


@pytest.mark.parametrize("text", ["a b", "x" * 80, "?", "ein Modell"])
def test_the_value_of_one_text_is_not_that_of_another_text_which_is_spelt_like_it(text: str) -> None:
    value = label_value(text)

    assert value not in (text, label_value(value))
    assert is_label_value(label_value(value))


@given(st.text(), st.text())
def test_different_names_get_different_values(one: str, other: str) -> None:
    assume(one != other)

    assert label_value(one) != label_value(other)


def test_a_line_break_at_the_end_does_not_pass_as_valid() -> None:
    assert not is_label_value("model\n")
    assert label_value("model\n") != "model"


def test_the_readable_part_survives() -> None:
    assert label_value("ein Modell für München").startswith("ein-Modell-f-r-M-nchen-")
    assert label_value("x" * 200).startswith("x" * 54 + "-")
