"""``eventually`` and ``last_answer``: what they return, and what they say when the time is over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from trivet.errors import CannotTell, PlatformError, UsageError
from trivet.toolkit.waiting import eventually, last_answer


def answers(*given: object) -> Callable[[], object]:
    """A look that gives these answers in turn, and the last one for ever; an exception is raised."""
    left = list(given)

    def look() -> object:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return look


def test_the_first_true_answer_is_returned() -> None:
    assert eventually("x", answers(None, "", 0, "there"), timeout=5, poll=0) == "there"


def test_until_decides_and_none_is_never_an_answer() -> None:
    assert eventually("x", answers(None, 3, 0), timeout=5, poll=0, until=lambda found: found == 0) == 0


def test_it_looks_once_even_without_time() -> None:
    assert eventually("x", lambda: "there", timeout=0) == "there"


def test_a_timeout_says_what_was_waited_for_and_what_was_seen_last() -> None:
    with pytest.raises(CannotTell) as caught:
        eventually(
            "pod x to be Ready",
            answers(1, 2),
            until=lambda _: False,
            timeout=0.01,
            poll=0.02,
            describe="phase {}".format,
        )
    assert caught.value.message == "timed out after 0.01 s waiting for pod x to be Ready: last seen phase 2"


def test_a_text_describes_itself_and_nothing_is_not_mentioned() -> None:
    with pytest.raises(CannotTell, match=r"waiting for x: last seen not yet$"):
        eventually("x", lambda: "not yet", until=lambda _: False, timeout=0, poll=0)
    with pytest.raises(CannotTell, match=r"waiting for x$"):
        eventually("x", lambda: None, timeout=0, poll=0)


def test_a_tolerated_error_is_seen_last_and_is_the_cause() -> None:
    refused = PlatformError("connection refused")
    with pytest.raises(UsageError, match="waiting for x: last seen connection refused") as caught:
        eventually(
            "x", answers(refused), timeout=0, poll=0, tolerate=PlatformError, raises=UsageError, remedy="wait longer"
        )
    assert (caught.value.__cause__, caught.value.remedy) == (refused, "wait longer")
    assert eventually("x", answers(refused, "there"), timeout=5, poll=0, tolerate=PlatformError) == "there"


def test_any_other_error_ends_the_waiting() -> None:
    with pytest.raises(UsageError, match="no such kind"):
        eventually("x", answers(UsageError("no such kind")), timeout=5, poll=0, tolerate=PlatformError)


def test_states_of_several_lines_stand_on_lines_of_their_own() -> None:
    with pytest.raises(CannotTell, match="last seen phase Pending\nno events\nconnection refused"):
        eventually(
            "x",
            answers(PlatformError("connection refused")),
            timeout=0,
            tolerate=PlatformError,
            describe=lambda _: "phase Pending\nno events",
        )


def test_a_description_that_fails_is_described_by_its_error() -> None:
    def describe(found: object) -> str:
        raise PlatformError("no log")

    with pytest.raises(CannotTell, match="last seen no log"):
        eventually("x", lambda: None, timeout=0, describe=describe)


@pytest.mark.parametrize("wait", [eventually, last_answer])
def test_the_end_of_the_session_ends_the_waiting(wait: Callable[..., object]) -> None:
    ended = threading.Event()
    ended.set()
    named = ("x",) if wait is eventually else ()
    with pytest.raises(PlatformError, match="the session ended while waiting for"):
        wait(*named, lambda: "", until=bool, timeout=60, stop=ended)


def test_the_last_answer_is_the_first_right_one_or_what_there_is_in_the_end() -> None:
    counted: Iterator[int] = iter(range(100))
    assert last_answer(lambda: next(counted), until=lambda seen: seen == 3, timeout=5, poll=0) == 3
    assert last_answer(lambda: "closed", until=lambda seen: seen == "open", timeout=0, poll=0) == "closed"
