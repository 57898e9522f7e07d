"""What contracts are written with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trivet.authoring.contracts import MUST, contract
from trivet.errors import UsageError
from trivet.model.finding import Finding, evidence, passed


def test_an_id_is_module_dot_function() -> None:
    @contract(title="t", level=MUST, seam=("a", "b"), rationale="r", remedy="m")
    def something_holds(manifest: object) -> Iterator[Finding]:
        yield passed("")

    assert something_holds.id == "test_authoring.something_holds"
    assert something_holds.subject == "manifest"
    assert something_holds.static


def test_a_check_over_a_file_and_a_client_is_not_static() -> None:
    @contract(title="t", level=MUST, seam=("a", "b"), rationale="r", remedy="m")
    def mixed(manifest: object, serving: object) -> Iterator[Finding]:
        yield passed("")

    assert not mixed.static


def test_a_check_over_two_kinds_of_file_is_refused() -> None:
    with pytest.raises(UsageError, match="more than one of manifest"):

        @contract(title="t", level=MUST, seam=("a", "b"), rationale="r", remedy="m")
        def both(manifest: object, model_directory: object) -> Iterator[Finding]:
            yield passed("")


@pytest.mark.parametrize(
    "text",
    [
        "AWS_SECRET_ACCESS_KEY=hunter2",
        "password: hunter2",
        '{"token": "hunter2"}',
        "Authorization: Bearer hunter2",
        "postgresql://mlflow:hunter2@db:5432/mlflow",
    ],
)
def test_evidence_holds_no_secret(text: str) -> None:
    assert "hunter2" not in evidence("log", "log", f"before {text} after").text


def test_evidence_keeps_what_is_no_secret() -> None:
    text = "Could not find an MLmodel at s3://bucket/tokenizer/model: 404"
    assert evidence("log", "log", text).text == text


def test_long_evidence_keeps_its_end_and_says_what_is_missing() -> None:
    kept = evidence("log", "log", "x" * 50 + "the cause", limit=9)
    assert kept.text == "[… 50 characters left out]\nthe cause"
