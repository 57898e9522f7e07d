"""What a failed lookup says."""

from __future__ import annotations

import pytest

from trivet.errors import nearest, unknown


@pytest.mark.parametrize(
    ("value", "near"),
    [
        ("manfest", "manifest"),
        ("Manifest", "manifest"),
        ("SERVING", "serving"),
        ("colour", ""),
        ("", ""),
    ],
)
def test_the_nearest_name_is_a_misspelling_and_not_just_any(value: str, near: str) -> None:
    assert nearest(value, ["manifest", "serving", "rollout"]) == near


def test_a_failed_lookup_names_the_nearest_and_lists_what_there_is() -> None:
    assert str(unknown("stack", "curent", ["current", "2024.11"])) == (
        "unknown stack 'curent'\n  remedy: did you mean 'current'? choose one of: 2024.11, current"
    )
    assert str(unknown("stack", "x", [])) == "unknown stack 'x'\n  remedy: there is no stack to choose from"


def test_of_very_many_names_the_nearest_and_the_first_are_listed() -> None:
    names = [f"model-{number:05}" for number in range(10_000)]
    remedy = unknown("registered model", "model-1234", names).remedy
    assert remedy.startswith("did you mean 'model-")
    assert remedy.endswith("model-00199 and 9,800 more")
