"""Facts that the contracts over one subject ask for in turn."""

from __future__ import annotations

import gc
import weakref

from trivet.contracts.remembered import KEPT, remembered


class Subject(list[str]):
    """What is equal to another one is still another subject."""


def test_a_fact_of_a_model_is_read_once_and_never_taken_for_another_models() -> None:
    reads: list[Subject] = []

    @remembered
    def fact(subject: Subject) -> int:
        reads.append(subject)
        return len(reads)

    one, equal = Subject(["model"]), Subject(["model"])
    assert [fact(one), fact(one), fact(equal), fact(equal), fact(one)] == [1, 1, 2, 2, 1]
    assert [subject is one for subject in reads] == [True, False]


def test_a_fact_of_two_objects_is_read_again_when_one_of_them_is_another() -> None:
    @remembered
    def fact(subject: Subject, other: list[str]) -> object:
        return object()

    one, two, equal = Subject(["a"]), ["b"], ["b"]
    first = fact(one, two)
    assert fact(one, two) is first
    assert fact(one, equal) is not first


def test_subjects_that_are_gone_are_not_kept_and_their_facts_are_not_given_to_others() -> None:
    @remembered
    def fact(subject: Subject) -> str:
        return subject[0]

    first = Subject(["first"])
    fact(first)
    gone = weakref.ref(first)
    del first
    assert [fact(Subject([str(number)])) for number in range(KEPT * 3)] == [str(number) for number in range(KEPT * 3)]
    gc.collect()
    assert gone() is None
