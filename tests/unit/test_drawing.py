"""The search for a counter-example, on plain functions: whatever is observed comes out as what it is."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from trivet.errors import CannotTell
from trivet.toolkit.drawing import counter_example

NUMBERS = st.integers(0, 1000)


def test_a_deviation_that_repeats_comes_out_at_its_smallest() -> None:
    tried, found = counter_example(NUMBERS, lambda n: f"{n} is large" if n >= 10 else "", examples=50)
    assert found == "10 is large"
    assert tried > 1


def test_no_deviation_is_no_text_and_every_example_tried() -> None:
    assert counter_example(NUMBERS, lambda n: "", examples=50) == (50, "")


def test_a_deviation_that_occurs_once_is_given_and_said_not_to_repeat() -> None:
    seen: list[int] = []

    def deviation(number: int) -> str:
        seen.append(number)
        return f"call 5 went wrong at {number}" if len(seen) == 5 else ""

    tried, found = counter_example(NUMBERS, deviation, examples=50)
    assert found == f"call 5 went wrong at {seen[4]} (once: on the same input it did not repeat)"
    assert tried == len(seen)


@pytest.mark.parametrize("period", [2, 3, 7])
def test_a_deviation_that_comes_and_goes_is_a_deviation(period: int) -> None:
    calls = 0

    def deviation(number: int) -> str:
        nonlocal calls
        calls += 1
        return f"wrong at {number}" if calls % period == 0 else ""

    assert counter_example(NUMBERS, deviation, examples=50)[1].startswith("wrong at ")


def test_what_cannot_be_told_ends_the_search_at_once_and_is_raised_as_it_is() -> None:
    reason = CannotTell("the server is gone")
    calls = 0

    def deviation(number: int) -> str:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise reason
        return ""

    with pytest.raises(CannotTell) as raised:
        counter_example(NUMBERS, deviation, examples=50)
    assert raised.value is reason
    assert calls == 5


def test_a_deviation_stands_although_the_search_could_not_go_on() -> None:
    calls = 0

    def deviation(number: int) -> str:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise CannotTell("the server is gone")
        return f"wrong at {number}" if calls == 4 else ""

    _, found = counter_example(NUMBERS, deviation, examples=50)
    assert found.startswith("wrong at ")
    assert found.endswith("(after that the search ended: the server is gone)")
    assert calls == 5
