"""What the mutation run changes, and what it leaves alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from mutation.mutate import Mutant, mutants, reached

ROOT = Path(__file__).parents[2]


def changes(body: str) -> set[str]:
    """The mutants of a function with this body, as ``before → after``."""
    return {one.id.partition(": ")[2] for one in _of(f"def f(a, b):\n    {body}\n")}


def _of(source: str) -> list[Mutant]:
    return mutants(ast.parse(source), {"f"})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return a > b", {"a > b → a >= b", "a > b → a <= b", "return a > b → return None"}),
        ("x = a in b", {"a in b → a not in b"}),
        ("x = a is b", {"a is b → a is not b"}),
        ("x = a and b", {"a and b → a or b", "a and b → a", "a and b → b"}),
        ("x = not a", {"not a → a"}),
        ("x = a + 1", {"a + 1 → a - 1", "a + 1 → a + 2"}),
        ("x = (True, '', 'word')", {f"(True, '', 'word') → {to}" for to in (
            "(False, '', 'word')", "(True, 'mutated', 'word')", "(True, '', '')")}),
        ("x = any(a)", {"any(a) → all(a)"}),
        ("x = a.startswith(b)", {"a.startswith(b) → a.endswith(b)"}),
        ("x = a.strip()", {"a.strip() → a"}),
        ("x = 1 if a else b", {"1 if a else b → 2 if a else b", "1 if a else b → 1 if a or True else b",
            "1 if a else b → 1 if a and False else b"}),
        ("x = [c for c in a if c]", {"[c for c in a if c] → [c for c in a if c or True]"}),
        ("for x in a: continue", {"continue → pass"}),
        ("a += b", {"a += b → pass"}),
        ("return", {"return → pass"}),
        ("return ''", {"'' → 'mutated'"}),
        ("return False", {"False → True"}),
        ("yield passed(a, location=b)", {"yield passed(a, location=b) → pass",
            "yield passed(a, location=b) → yield failed(a, location=b)"}),
        ("x = inconclusive(a, remedy='b')", {"inconclusive(a, remedy='b') → failed(a)"}),
        ("raise CannotTell(a)", {"raise CannotTell(a) → pass"}),
    ],
)  # fmt: skip
def test_changes(body: str, expected: set[str]) -> None:
    assert changes(body) == expected


def test_a_condition_is_forced_both_ways_and_still_evaluated() -> None:
    assert changes("if (c := a): b.d()") == {
        "if (c := a): → if (c := a) or True:",
        "if (c := a): → if (c := a) and False:",
        "b.d() → pass",
    }


def test_an_exception_is_no_longer_handled() -> None:
    assert "except ValueError: → raise" in changes("\n    try:\n        a()\n    except ValueError:\n        pass\n")


@pytest.mark.parametrize(
    "body",
    [
        "'a docstring'",
        "x: Literal['word'] = a",
        "x = 'a message of several words'",
        "x = f'{a or b} word'",
        "assert a > b",
        "x = evidence('word', 'log', a or b)",
    ],
)
def test_what_is_left_alone(body: str) -> None:
    assert changes(body) == set()


def test_decorators_and_messages_of_findings_are_left_alone() -> None:
    source = (
        "@contract(title='word', level=1)\ndef f(a: 'word') -> 'word':\n    yield failed(a or 'b', remedy=a or 'b')\n"
    )
    assert {one.after for one in _of(source)} == {"pass", "yield passed(a or 'b')"}


def test_a_mutant_is_called_the_same_when_lines_move_and_messages_are_reworded() -> None:
    first = [one.id for one in _of("def f(a):\n    yield failed('one thing', at=a > 1)\n")]
    assert first == [one.id for one in _of("\n\ndef f(a):\n    yield failed('another thing', at=a > 1)\n")]
    assert first[0] == "f: yield failed('…', at=a > 1) → pass"


def test_mutants_that_read_alike_are_counted() -> None:
    ids = [one.id for one in _of("def f(a):\n    if a: return\n    if a: return\n")]
    assert [one for one in ids if "return" in one] == ["f: return → pass", "f: return → pass (#2)"]


def test_a_mutant_is_applied_to_a_copy() -> None:
    tree = ast.parse("def f(a, b):\n    return a > b\n")
    before = ast.dump(tree)
    results = []
    for one in mutants(tree, {"f"}):
        scope: dict[str, object] = {}
        exec(compile(one.apply(tree), "f", "exec"), scope)
        results.append(scope["f"](1, 1))  # type: ignore[operator]
    assert sorted(results, key=str) == [None, True, True]
    assert ast.dump(tree) == before


def test_the_lines_that_a_mutant_is_on_are_those_of_its_statement_without_the_statement_s_body() -> None:
    source = """\
A = (
    'a')

def f(a,
      b=1):
    if (a
            and b):
        return [
            a
            for a in b
            if a
        ]
    elif a is b:
        b()
    try:
        b += a
    except ValueError:
        pass
"""
    tree = ast.parse(source)
    lines = {(one.before, *one.lines(tree)) for one in mutants(tree, {"A", "f"})}
    assert lines == {
        ("'a'", 1, 2),
        ("1", 4, 5),
        ("if a and b:", 6, 7),
        ("a and b", 6, 7),
        ("return [a for a in b if a]", *range(8, 13)),
        ("[a for a in b if a]", *range(8, 13)),
        ("if a is b:", 13),
        ("a is b", 13),
        ("b()", 14),
        ("b += a", 16),
        ("except ValueError:", 17),
    }


def test_what_a_root_reaches() -> None:
    source = "A = 1\nB = 2\nC = 3\n\n@d(C)\ndef f(): return g()\n\ndef g(): return A\n\ndef h(): return B\n"
    assert reached(ast.parse(source), {"f"}) == {"f", "g", "A"}


@pytest.mark.processes
def test_a_run_counts_what_its_tests_kill() -> None:
    command = [sys.executable, str(ROOT / "tests/mutation/run.py"), "environment", "--function", "_minor"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1].split() == ["environment", "3", "3", "0", "0", "0"]
