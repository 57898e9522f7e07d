"""Facts that the contracts over one subject ask for in turn."""

from __future__ import annotations

import weakref
from threading import Thread

from trivet.toolkit.remembered import remembered, remembering


class Subject(list[str]):
    """What is equal to another one is still another subject."""


def test_a_fact_of_a_model_is_read_once_and_never_taken_for_another_models() -> None:
    reads: list[Subject] = []

    @remembered
    def fact(subject: Subject) -> int:
        reads.append(subject)
        return len(reads)

    one, equal = Subject(["model"]), Subject(["model"])
    with remembering():
        assert [fact(one), fact(one), fact(equal), fact(equal), fact(one)] == [1, 1, 2, 2, 1]
    assert [subject is one for subject in reads] == [True, False]


def test_a_fact_of_two_objects_is_read_again_when_one_of_them_is_another() -> None:
    @remembered
    def fact(subject: Subject, other: list[str]) -> object:
        return object()

    one, two, equal = Subject(["a"]), ["b"], ["b"]
    with remembering():
        first = fact(one, two)
        assert fact(one, two) is first
        assert fact(one, equal) is not first


def test_facts_of_two_functions_about_one_object_are_two() -> None:
    @remembered
    def first(subject: Subject) -> str:
        return "first"

    @remembered
    def second(subject: Subject) -> str:
        return "second"

    one = Subject()
    with remembering():
        assert (first(one), second(one), first(one)) == ("first", "second", "first")


def test_a_subject_that_is_gone_gives_its_facts_to_no_other_while_facts_are_kept() -> None:
    @remembered
    def fact(subject: Subject) -> str:
        return subject[0]

    with remembering():
        assert [fact(Subject([str(number)])) for number in range(1000)] == [str(number) for number in range(1000)]


def test_facts_are_kept_until_the_outermost_block_ends_and_subjects_no_longer() -> None:
    @remembered
    def fact(subject: Subject) -> object:
        return object()

    subject = Subject(["model"])
    with remembering():
        first = fact(subject)
        with remembering():
            assert fact(subject) is first
        assert fact(subject) is first
    assert fact(subject) is not first
    gone = weakref.ref(subject)
    del subject
    assert gone() is None


def test_another_thread_keeps_its_own_facts() -> None:
    reads: list[Subject] = []

    @remembered
    def fact(subject: Subject) -> None:
        reads.append(subject)

    subject = Subject()
    with remembering():
        fact(subject)
        other = Thread(target=fact, args=[subject])
        other.start()
        other.join()
    assert len(reads) == 2
