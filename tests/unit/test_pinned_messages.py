"""Messages that tests of the slower layers pin are messages that the code has, so that the fast layer notices a reworded one.

Where two places have the same words, rewording one of them is not noticed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from pinned import Messages, Pinned, names_in, pinned

from trivet.engine.scenarios.templates import literals, used

ROOT = Path(__file__).parents[2]
SOURCES = ("harness", "contracts", "scenarios", "fixtures")
FAST = {"unit", "plugin"}
"""Folders of tests that the fast layer runs, and which therefore notice a reworded message themselves."""

DECLARED = {
    # other software: MLflow, reading a signature
    "unexpected keyword argument 'required'",
    # other software: KFP's SDK
    # other software: Kubernetes' API server
    "the object has been modified",
    # other software: the operating system, behind a name
    "<stdin> cannot be read: Bad file",
    # plugins, programs and errors that the tests write themselves
    "create a feature store in this process",
    "cutoff = {} # before {}",
    "ours: True",
    "out of luck",
    "Whoever is on call must know whom to wake.",
    # joined by code that has no word of its own between them
    "::error title=trivet%3A not judged::{}:{}:{}:",
    "Signalled: {}",
    "plugin {} does not import:",
    "plugin {}: contract {} (",
}
"""Templates of pinned texts that the code does not have: of other software and of the tests, and joints without a literal."""

SAMPLE = '''
"""Not a message: the cluster has gone away."""
WHY = "the controller does not answer"
raise Timeout(f"timed out after {seconds:.0f} s waiting for {what}: last seen {seen}")
raise UsageError(f"unknown kind {kind!r}; choose one of: {', '.join(KINDS)}", remedy="set a kind in the file")
'''


def modules() -> Iterator[Path]:
    for file in sorted((ROOT / "tests").rglob("*.py")):
        if file.relative_to(ROOT / "tests").parts[0] not in FAST:
            yield file


@cache
def texts_of_the_code() -> frozenset[str]:
    files = (file for folder in SOURCES for file in (ROOT / folder).rglob("*.py"))
    return frozenset(text for file in files for text in literals(ast.parse(file.read_text())))


@pytest.fixture(scope="module")
def unknown() -> dict[str, str]:
    """The pinned texts that the code cannot produce, each with its place."""
    messages = Messages(texts_of_the_code())
    found = {}
    for file in modules():
        tree = ast.parse(file.read_text())
        names = names_in(tree)
        for one in pinned(tree):
            if not messages.have(one.text, names):
                found[one.text] = f"{file.relative_to(ROOT)}:{one.line}: {one.text}"
    return found


@pytest.fixture(scope="module")
def sample() -> Messages:
    return Messages(literals(ast.parse(SAMPLE)))


def test_every_pinned_message_is_one_of_the_code_or_declared(unknown: Mapping[str, str]) -> None:
    declared = Messages([*texts_of_the_code(), *DECLARED])
    missing = [place for text, place in unknown.items() if not declared.have(text)]
    assert not missing, "no message has these; reword them too, or declare them:\n" + "\n".join(missing)


def test_what_is_declared_is_needed(unknown: Mapping[str, str]) -> None:
    assert set(used(unknown, DECLARED)) == DECLARED


@pytest.mark.parametrize(
    "text",
    [
        "timed out after 45 s waiting for InferenceService x: last seen Ready=Unknown",
        "waiting for InferenceService",
        "timed out after 45 s waiting for the deployment 'x': last seen the controller does not answer",
        "unknown kind 'pad'; choose one of: pod, service, job",
        "choose one of: pod, service, ",
        "last seen the controller",
        "set a kind in the file",
    ],
)
def test_a_part_of_a_message_is_found_with_its_values(sample: Messages, text: str) -> None:
    assert sample.have(text, {"deployment", "the"})


@pytest.mark.parametrize(
    "text",
    [
        "timeout after 45 s waiting for InferenceService x: last seen Ready=Unknown",
        "timed out after 45 s waiting on InferenceService x",
        "timed out after 45 s waiting for InferenceService x: found Ready=Unknown",
        "timed out after 45 s waiting for InferenceService x: last seen the controller does not respond",
        "last seen the operator",
        "unknown sort 'pad'; choose one of: pod, job",
        "kind unknown",
        "choose between: pod, service, job",
        "set a kind in a file",
        "in the file set a kind",
        "the cluster has gone away",
    ],
)
def test_a_reworded_message_is_not_found(sample: Messages, text: str) -> None:
    assert not sample.have(text, {"deployment"})


def test_texts_that_a_test_compares_are_read_with_the_lines_that_hold_them() -> None:
    source = """
NOT_THERE = "does not exist"

@failing("id", because="the first reason", at="a place in a file")
def one(): ...

@pytest.mark.parametrize(("document", "words"), [("kind of document", r"stopped\\. with (code|status) \\d+ at once"), ("b", "c")])
def two(document, words):
    with pytest.raises(Error, match=words):
        run(document)
    with pytest.raises(Error, match=re.escape("a (literal) text")):
        run()
    assert f"removed the old {folder} from there" in output
    assert "no such text" not in output
    assert NOT_THERE in output
    assert output.startswith("begins like this")
    for line in ("in a loop", "word"):
        assert line in output
    words = "another words"
    assert output == "compared as a whole"
"""
    lines = {
        Pinned(2, "does not exist"),
        Pinned(4, "the first reason"),
        Pinned(7, "stopped. with"),
        Pinned(7, "at once"),
        Pinned(11, "a (literal) text"),
        Pinned(13, "removed the old"),
        Pinned(13, "from there"),
        Pinned(14, "no such text"),
        Pinned(16, "begins like this"),
        Pinned(17, "in a loop"),
        Pinned(19, "another words"),
    }
    assert set(pinned(ast.parse(source))) == lines
