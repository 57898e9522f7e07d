"""Facts that the contracts over one subject ask for in turn."""

from __future__ import annotations

from trivet.contracts.remembered import remembered


def test_a_fact_of_a_model_is_read_once_in_turn_and_never_taken_for_another_models() -> None:
    reads: list[list[str]] = []

    @remembered
    def fact(subject: list[str]) -> int:
        reads.append(subject)
        return len(reads)

    one, equal = ["model"], ["model"]
    assert [fact(one), fact(one), fact(equal), fact(equal), fact(one)] == [1, 1, 2, 2, 3]
    assert [subject is one for subject in reads] == [True, False, True]


def test_a_fact_of_two_objects_is_read_again_when_one_of_them_is_another() -> None:
    @remembered
    def fact(subject: list[str], other: list[str]) -> object:
        return object()

    one, two, equal = ["a"], ["b"], ["b"]
    first = fact(one, two)
    assert fact(one, two) is first
    assert fact(one, equal) is not first
