"""An answer in words: what a report quotes of it is a sentence, never the source of a data structure that ends somewhere."""

from __future__ import annotations

from typing import Any

import pytest

from trivet.model.traffic import QUOTED, Answer

OUTPUTS = {
    "model_name": "returning-classifier",
    "id": "deb7f3f6-71fc-44c0-9e02-016203909add",
    "parameters": {"content_type": "np"},
    "outputs": [{"name": "output-1", "shape": [7, 1], "datatype": "INT64", "data": [1, 0, 1, 1, 0, 0, 1]}],
}
SCHEMA = (
    "mlflow.exceptions.MlflowException: Failed to enforce schema of data '     a     b    c\n0  0.5 -0.25  1.5' with schema "
    * 2
)


def quote(body: Any, status: int = 200) -> str:
    return str(Answer(at=0.0, seconds=0.12, status=status, body=body))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (OUTPUTS, "HTTP 200: output-1 = [1, 0, 1, 1, 0, …] after 0.1 s"),
        ({"outputs": []}, "HTTP 200: no outputs after 0.1 s"),
        ({"error": "Model m is not ready yet."}, "HTTP 200: Model m is not ready yet. after 0.1 s"),
        ({"detail": ["Ä"]}, 'HTTP 200: {"detail": ["Ä"]} after 0.1 s'),
        ("<html>\n  <b>502</b>\n</html>", "HTTP 200: <html> <b>502</b> </html> after 0.1 s"),
        ("", "HTTP 200: an empty body after 0.1 s"),
    ],
    ids=["values", "no outputs", "an error", "other JSON", "a page", "nothing"],
)
def test_an_answer_is_quoted_in_words(body: Any, expected: str) -> None:
    assert quote(body) == expected


@pytest.mark.parametrize("body", [{"error": SCHEMA}, SCHEMA, "x" * 500, {"error": "x" * 500}])
def test_long_bodies_are_shortened(body: Any) -> None:
    quoted = quote(body, 500).removeprefix("HTTP 500: ").removesuffix(" after 0.1 s")
    assert QUOTED / 2 < len(quoted) <= QUOTED + 1
    assert quoted.endswith("…")


def test_a_request_without_an_answer_is_quoted_by_its_error() -> None:
    assert (
        str(Answer(at=0.0, seconds=30.0, status=0, error="ReadTimeout: timed out"))
        == "ReadTimeout: timed out after 30.0 s"
    )
