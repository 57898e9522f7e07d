"""What is read line by line has the values, lines and errors that libyaml's events give it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trivet.contracts.rules.rule import field_names
from trivet.toolkit.block_lines import MAX_DEPTH, MAX_LINES, Read, Unread, block_documents
from trivet.toolkit.documents import BrokenDocument, Document, _parsed, documents
from trivet.toolkit.scalars import kubernetes_scalar

TESTS = Path(__file__).parents[1]

SERVICE = """\
# A comment.
---
apiVersion: serving.kserve.io/v1beta1  # of KServe
kind: "InferenceService"
metadata:
  name: one

  annotations: {}
spec:
  predictor:
    minReplicas: 0
    containers:
    - name: kserve-container
      image: 'a:1'
      args:
        - --url=http://a:80/#b
        - -1
      env: [ ]
    -   name: other
        command: ["sh", -c, 'a, b', on, 1]
"""

ATOMS = (
    *("a", "b", "on", "1", "1.5", "null", "~", "<<", ".inf", "0x1f", "a b", "a#b", "a:b", "$(X)", "${X}", "--x", "-1", "é", "日", "=", "^"),
    *(" ", "  ", "    ", "\n", "\n  ", "\n    ", "\n- ", "\n  - ", "\n    - ", "- ", "-", "-   "),
    *(": ", ":", "a: ", "b: 1", "c:", "'k': v", '"k": v', "k : v", "? ", "- - ", "- a: b", "-  a:\n"),
    *("#c", " # c", "\n# c", "---", "\n---\n", "\n--- a\n", "...", "\n...\n", "\n%YAML 1.1\n"),
    *('"x"', "'y'", '"a\\n"', "'it''s'", '"', "'", "\\", "{}", "[]", "{ }", "[a]", "{a: b}", "[", "{", "]", "}", ","),
    *("[a,]", "[ on, -1 ]", "[\"a, b\", 'c']", "[--a=b, c d]", "[a: b]"),
    *("|", ">", "\n  | ", "&a ", "*a", "!!str ", "! ", "@", "`", "%"),
    *("\t", "\r", "\r\n", "\x85", "\u2028", "\ufeff", "\xa0", "\x01", "\x7f", "\ud7ff", "\U0001f600"),
)  # fmt: skip


def read(text: str, by: Any) -> list[Any]:
    """Values with their types, lines and errors."""
    found: list[Any] = []
    try:
        for one in by(text):
            found.append((repr(one.value), repr(one.place)))
    except BrokenDocument as broken:
        found.append((broken.problem, broken.line, broken.column))
    return found


def by_events(text: str) -> list[Document]:
    return _parsed(text, kubernetes_scalar, 3)  # type: ignore[return-value]


def by_lines(text: str) -> list[Document]:
    return documents(text, before=3)  # type: ignore[return-value]


@settings(max_examples=400)
@given(st.lists(st.sampled_from(ATOMS), max_size=14).map("".join))
@example("a: b\n---\nc: [\n---\nd: 1\n")
@example("---\n---\na: 1\n---\n")
@example("--- a\n--- b\n")
@example("a: 1\n---\nb: \x01\n")
@example("%YAML 1.1\n---\na: 1\n---\nb: |\n c\n")
@example("a: 1\n\t\n---\nb: &c 1\n")
@example("a:\n- b: 1\n  c:\n  - d\n- e\nf: {}\n")
@example("- a:\n- b:\n  - c\n")
@example("a: b\n  - c\n")
@example("a: b\n  c: d\n")
def test_soups_of_tokens_are_read_as_by_events(text: str) -> None:
    assert read(text, by_lines) == read(text, by_events)


@settings(max_examples=200)
@given(st.data())
def test_changed_manifests_are_read_as_by_events(data: st.DataObject) -> None:
    lines = SERVICE.split("\n")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        column = data.draw(st.integers(0, len(lines[at])))
        lines[at] = (
            lines[at][:column] + data.draw(st.sampled_from(ATOMS)) + lines[at][column + data.draw(st.integers(0, 2)) :]
        )
    text = "\n".join(lines)
    assert read(text, by_lines) == read(text, by_events)


@pytest.mark.parametrize("file", sorted(TESTS.rglob("*.yaml")), ids=lambda file: file.name)
def test_files_are_read_as_by_events(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert read(text, by_lines) == read(text, by_events)
    for one in block_documents(text.split("\n"), 0):
        assert isinstance(one, Unread) or one.fields == field_names(one.value)


def test_a_manifest_as_they_are_written_is_read_by_its_lines() -> None:
    (only,) = block_documents(SERVICE.split("\n"), 0)
    assert isinstance(only, Read)
    assert only.value["spec"]["predictor"]["containers"] == [
        {"name": "kserve-container", "image": "a:1", "args": ["--url=http://a:80/#b", -1], "env": []},
        {"name": "other", "command": ["sh", "-c", "a, b", True, 1]},
    ]
    assert only.fields == field_names(only.value)


def test_only_the_document_that_needs_it_is_left_to_the_events() -> None:
    first, second, third = block_documents(["a: 1", "---", "b: |", "  c: 1", "---", "d: 2", ""], 0)
    assert isinstance(first, Read)
    assert second == Unread(1, 4)
    assert isinstance(third, Read)


@pytest.mark.parametrize("text", ["".join(f"{'  ' * n}a:\n" for n in range(MAX_DEPTH + 1)), "- 1\n" * (MAX_LINES + 1)])
def test_what_is_deep_or_long_is_left_to_the_events(text: str) -> None:
    assert block_documents(text.split("\n"), 0) == [Unread(0, text.count("\n") + 1)]
    assert len(list(documents(text))) == 1
