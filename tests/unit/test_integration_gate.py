"""The quality gate: a missing number never passes, a worse model is blocked, and the reason says against what."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import UsageError
from trivet.integration import quality_gate

UNIT = st.floats(0, 1)


@pytest.mark.parametrize("candidate", [None, math.nan, math.inf, -math.inf])
def test_a_metric_that_was_not_measured_never_passes(candidate: float | None) -> None:
    decision = quality_gate(candidate, None, minimum=0.0)

    assert not decision.passed
    assert "not measured" in decision.reason


def test_a_production_metric_that_is_no_number_blocks() -> None:
    assert not quality_gate(0.99, math.nan).passed


def test_without_a_version_in_production_the_constant_decides_and_the_reason_says_so() -> None:
    decision = quality_gate(0.85, None)

    assert decision.passed
    assert "no version in production" in decision.reason


def test_above_the_constant_but_worse_than_production_is_blocked() -> None:
    decision = quality_gate(0.85, 0.93)

    assert not decision.passed
    assert "0.08 below production" in decision.reason


@pytest.mark.parametrize(("candidate", "production"), [(0.80, None), (0.86, 0.88), (0.80, 0.82)])
def test_the_bounds_themselves_pass_whatever_binary_fractions_do(candidate: float, production: float | None) -> None:
    assert quality_gate(candidate, production).passed


@given(UNIT, UNIT)
def test_what_passes_reaches_both_bounds(candidate: float, production: float) -> None:
    if quality_gate(candidate, production).passed:
        assert candidate >= 0.80 - 1e-6
        assert candidate >= production - 0.02 - 1e-6


@given(UNIT, UNIT, st.floats(0, 0.2))
def test_a_better_candidate_is_never_worse_off(candidate: float, production: float, better: float) -> None:
    assert quality_gate(candidate + better, production).passed >= quality_gate(candidate, production).passed


@pytest.mark.parametrize(
    "bounds", [{"minimum": math.nan}, {"tolerance": math.nan}, {"tolerance": -0.01}, {"minimum": math.inf}]
)
def test_a_bound_that_compares_with_nothing_is_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="the minimum is"):
        quality_gate(0.1, None, **bounds)
