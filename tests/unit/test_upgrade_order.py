"""The search for a safe order: which mixes are asked about, which order is found, and which pair explains a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.engine.upgrade_order import (
    Taken,
    cheapest_order,
    fewest_together,
    is_on_an_order,
    next_mixes,
    passed_through,
    safe_order,
    suspects,
)

STEPS = ("tracking", "kserve", "runtime", "trainer", "sdk")


def mixes(*texts: str) -> set[Taken]:
    """``"a b"`` is the mix with a and b upgraded."""
    return {frozenset(text.split()) for text in texts}


def searched(steps: tuple[str, ...], conformant: Callable[[Taken], bool]) -> tuple[list[Taken], set[Taken]]:
    """The mixes that a whole search asks about, in their order, and those that are allowed."""
    asked: list[Taken] = []
    allowed: set[Taken] = set()
    closed: set[Taken] = set()
    while wanted := next_mixes(steps, allowed, closed):
        asked.append(wanted[0])
        (allowed if conformant(wanted[0]) else closed).add(wanted[0])
    return asked, allowed


def client_needs_server(taken: Taken) -> bool:
    return "trainer" not in taken or "tracking" in taken


def test_the_first_order_is_found_when_everything_is_conformant() -> None:
    asked, allowed = searched(STEPS, lambda taken: True)
    assert safe_order(STEPS, allowed) == STEPS
    assert len(asked) == len(set(asked)) == 1 + 5 + 5 + 2


def test_a_client_that_needs_the_new_server_comes_after_it() -> None:
    steps = ("trainer", "tracking", "runtime")
    _, allowed = searched(steps, client_needs_server)
    assert safe_order(steps, allowed) == ("tracking", "trainer", "runtime")


def test_mixes_that_are_on_no_order_are_not_asked_about() -> None:
    asked, _ = searched(STEPS, lambda taken: taken != frozenset({"trainer"}) and client_needs_server(taken))
    assert frozenset(STEPS) - {"tracking"} in asked
    only = {"tracking"}
    asked, _ = searched(STEPS, lambda taken: not taken or only <= taken)
    assert [mix for mix in asked if not only <= mix and len(mix) > 1] == []


def test_without_a_conformant_whole_nothing_else_is_asked_about() -> None:
    asked, allowed = searched(STEPS, lambda taken: taken != frozenset(STEPS))
    assert asked == [frozenset(STEPS)]
    assert safe_order(STEPS, allowed) == ()


def test_one_step_has_one_mix() -> None:
    asked, allowed = searched(("tracking",), lambda taken: True)
    assert asked == [frozenset({"tracking"})]
    assert safe_order(("tracking",), allowed) == ("tracking",)


def test_the_cheapest_order_prefers_mixes_that_are_known() -> None:
    steps = ("a", "b", "c")
    assert cheapest_order(steps, (), ()) == ("a", "b", "c")
    assert cheapest_order(steps, mixes("c", "b c"), ()) == ("c", "b", "a")
    assert cheapest_order(steps, (), mixes("a", "b", "c")) is None


def test_a_mix_is_on_an_order_only_if_it_can_be_reached_and_left() -> None:
    steps = ("a", "b", "c")
    assert is_on_an_order(frozenset("ab"), steps, mixes("a"))
    assert not is_on_an_order(frozenset("ab"), steps, mixes("a", "b"))
    assert not is_on_an_order(frozenset("a"), steps, mixes("a b", "a c"))


def test_two_that_need_each_other_go_together() -> None:
    def together(taken: Taken) -> bool:
        return len(taken & {"trainer", "runtime"}) != 1

    _, allowed = searched(STEPS, together)
    assert safe_order(STEPS, allowed) == ()
    everything = {frozenset(one) for size in range(1, 6) for one in combinations(STEPS, size)}
    groups = fewest_together(STEPS, {taken for taken in everything if together(taken)})
    assert groups == (("tracking",), ("kserve",), ("runtime", "trainer"), ("sdk",))


def test_nothing_goes_together_when_the_whole_is_refused() -> None:
    assert fewest_together(("a", "b"), mixes("a")) == ()
    assert fewest_together(("a", "b"), mixes("a b")) == (("a", "b"),)


@pytest.mark.parametrize(
    ("failed", "passed", "pairs"),
    [
        (["trainer"], ["", "trainer tracking"], {("trainer", "tracking")}),
        (["trainer", "trainer kserve"], ["tracking kserve", "trainer tracking"], {("trainer", "tracking")}),
        (["tracking kserve trainer"], ["kserve trainer", "tracking kserve"], {("", "")}),
        (["trainer"], ["trainer tracking", "trainer kserve"], set()),
    ],
)
def test_a_pair_explains_a_failure_unless_a_mix_refutes_it(
    failed: Iterable[str], passed: Iterable[str], pairs: set[tuple[str, str]]
) -> None:
    assert set(suspects(mixes(*failed), mixes(*passed), ("tracking", "kserve", "trainer"))) == pairs


def test_pairs_that_explain_the_same_cannot_be_told_apart() -> None:
    assert suspects(mixes("trainer"), mixes(""), ("tracking", "runtime", "trainer")) == (
        ("trainer", "tracking"),
        ("trainer", "runtime"),
    )


def test_a_version_that_fails_in_the_new_stack_is_named_by_itself() -> None:
    steps = ("tracking", "runtime")
    assert suspects(mixes("runtime", "tracking runtime"), mixes("", "tracking"), steps) == (("runtime", ""),)


def test_two_reasons_are_two_pairs() -> None:
    steps = ("tracking", "runtime", "trainer")
    failed = mixes("trainer", "trainer runtime", "trainer tracking")
    passed = mixes("", "tracking", "runtime", "tracking runtime", "tracking runtime trainer")
    assert set(suspects(failed, passed, steps)) == {("trainer", "tracking"), ("trainer", "runtime")}


@given(st.sets(st.sampled_from([frozenset(one) for size in (1, 2, 3) for one in combinations("abcd", size)])))
def test_an_order_is_found_exactly_if_there_is_one(refused: set[Taken]) -> None:
    steps = tuple("abcd")
    asked, allowed = searched(steps, lambda taken: taken not in refused)
    exists = any(not refused.intersection(passed_through(order)) for order in permutations(steps))
    found = safe_order(steps, allowed)
    assert bool(found) is exists
    if found:
        assert set(passed_through(found)) <= allowed
    assert len(asked) == len(set(asked))
