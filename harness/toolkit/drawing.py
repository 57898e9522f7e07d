"""Drawing inputs for contracts that hold for all of a kind: rows, names of directories; and the search for a counter-example.

Not a contract module. The search is deterministic, so that a report can be reproduced. Import it where it is needed: Hypothesis costs
``trivet lint`` more than all of its own work on a few files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from trivet.errors import CannotTell
from trivet.integration import Signature

T = TypeVar("T")

# Magnitudes stay where JSON, float32 and 32-bit integers agree; what lies beyond is not a matter of this seam.
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**53) + 1, 2**53 - 1),
    "float": st.floats(-1e6, 1e6, width=32),
    "double": st.floats(-1e6, 1e6),
    "string": st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20),
}


def rows_of(signature: Signature, *, most: int = 12) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Batches of 1 to ``most`` rows that satisfy a column signature. Raises CannotTell for types that are not drawn here."""
    columns = {column.name: column.type for column in signature.columns}
    foreign = sorted({kind for kind in columns.values() if kind not in _VALUES})
    if foreign or not columns:
        raise CannotTell(
            f"inputs of type {', '.join(foreign) or 'none at all'} are not drawn; drawn are {', '.join(_VALUES)}"
        )
    row = st.fixed_dictionaries({name: _VALUES[kind] for name, kind in columns.items()})
    return st.lists(row, min_size=1, max_size=most)


def directory_names_and_endings() -> st.SearchStrategy[tuple[str, str]]:
    """A relative directory of one to three levels, and what a user puts behind it.

    Levels are what users write and what hurts: spaces, percent signs, globs, any script.
    """
    awkward = st.sampled_from(
        ["a b", "100%", "%20", "m%2Fx", "model+1", "x#y", "q?z", "[ab]", "*", "~", "ünï", "模型", "a'b", "model.v1"]
    )
    plain = st.text("abcXYZ019._-", min_size=1, max_size=12)
    anything = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="/"), min_size=1, max_size=8)
    level = st.one_of(plain, awkward, anything).filter(lambda name: name.strip(".") != "")
    directory = st.lists(level, min_size=1, max_size=3).map("/".join)
    return st.tuples(directory, st.sampled_from(("", "/", "//")))


def counter_example(strategy: st.SearchStrategy[T], deviation: Callable[[T], str], *, examples: int) -> tuple[int, str]:
    """Try ``deviation`` on up to ``examples`` drawn values: how many were tried, and the smallest deviation found or ''.

    A deviation that does not repeat on the same value counts as well: the first one is given then, with a word about that. What
    ``deviation`` raises, such as CannotTell, ends the search, and is raised as it is unless a deviation was found before.
    """
    tried = 0
    first = ""
    obstacle: Exception | None = None

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=tuple(HealthCheck),
    )
    @given(strategy)
    def attempt(value: T) -> None:
        nonlocal tried, first, obstacle
        if obstacle:
            return
        tried += 1
        try:
            found = deviation(value)
        except Exception as error:
            # Hypothesis would try to repeat and to shrink it, as if it were a deviation.
            obstacle = error
            return
        if found:
            first = first or found
            raise _Deviation(found)

    smallest = ""
    try:
        attempt()
    except _Deviation as found:
        smallest = str(found)
    except Flaky:
        smallest = f"{first} (once: on the same input it did not repeat)"
    if obstacle:
        if not first:
            raise obstacle
        smallest = f"{first} (after that the search ended: {obstacle})"
    return tried, smallest


class _Deviation(Exception):
    pass
