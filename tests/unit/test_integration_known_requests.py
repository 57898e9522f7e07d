"""Known requests: what counts as a wrong answer, and which files are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trivet.errors import UsageError
from trivet.integration import KnownRequest, read_known_requests, v2_request

REQUEST = v2_request(None, [{"a": 1.0}, {"a": 2.0}, {"a": 3.0}])


def response(*values: Any, name: str = "predict") -> dict[str, Any]:
    return {"outputs": [{"name": name, "shape": [len(values)], "datatype": "FP64", "data": list(values)}]}


@pytest.mark.parametrize(
    ("answers", "values", "wrong"),
    [
        ([1, 0, 1], [1, 0, 1], 0),
        ([1, 0, 1], [1, 1, 1], 1),
        (["yes", "no", "no"], ["yes", "no", "yes"], 1),
        # Another processor rounds otherwise, and JSON writes a whole float as an integer.
        ([0.25, 1.0, 3e8], [0.25 + 1e-9, 1, 3e8 + 1], 0),
        ([0.25, 1.0, 3e8], [0.2501, 1, 3e8], 1),
        # One row less: which one is missing is not known.
        ([1, 0, 1], [1, 0], 3),
        ([1.0, True, None], [1.0, True, None], 0),
        ([1.0, 1.0, 1.0], [1.0, True, None], 2),
    ],
)
def test_an_answer_is_wrong_that_has_another_value(answers: list[Any], values: list[Any], wrong: int) -> None:
    assert KnownRequest(request=REQUEST, answers=answers).wrong(200, response(*values)) == wrong


def test_wider_outputs_and_several_are_compared_in_each_part() -> None:
    two = v2_request(None, [{"a": 1.0}, {"a": 2.0}])
    wide = {"outputs": [{"name": "predict", "shape": [2, 2], "datatype": "FP64", "data": [0.5, 0.5, 0.1, 0.9]}]}
    assert KnownRequest(request=two, answers=[[0.5, 0.5], (0.1, 0.8)]).wrong(200, wide) == 1
    several = {"outputs": [*response(1, 2)["outputs"], *response("a", "b", name="label")["outputs"]]}
    known = KnownRequest(request=two, answers=[{"predict": 1, "label": "a"}, {"predict": 2, "label": "a"}])
    assert known.wrong(200, several) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"error": "no"}),
        (404, None),
        (200, "a page"),
        (200, {"outputs": []}),
        (200, {"outputs": [{"name": "p"}]}),
        (200, {"outputs": [{"name": "p", "shape": "ab", "data": [1]}]}),
    ],
)
def test_every_row_of_a_request_that_is_not_answered_is_wrong(status: int, body: Any) -> None:
    assert KnownRequest(request=REQUEST, answers=[1, 0, 1]).wrong(status, body) == 3


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    file.write_text(json.dumps([{"request": REQUEST, "answers": [1, 0, 1]}]), encoding="utf-8")
    assert read_known_requests(file) == [KnownRequest(request=REQUEST, answers=[1, 0, 1])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "has no list of known requests"),
        ('{"request": {}}', "has no list of known requests"),
        ("[1]", "entry 0 of .* has 1"),
        ('[{"request": {"inputs": [{}]}, "answer": [1]}]', "entry 0 of .* has 'request', 'answer'"),
        (
            '[{"request": {"instances": [[1]]}, "answers": [1]}]',
            r'entry 0 of .*: request is \{"instances": .*without inputs',
        ),
        ('[{"request": {"inputs": [{}]}, "answers": []}]', r"entry 0 of .*: answers is \[\]"),
        ('[{"request": {"inputs": [{}]}, "answers": "1"}]', 'entry 0 of .*: answers is "1"'),
        (
            '[{"request": {"inputs": [{"shape": [2]}]}, "answers": [1]}]',
            "entry 0 of .*: the request has 2 rows, and there are 1 answers",
        ),
        ('[{"request": {"inputs": [{"shape": 5}, {"shape": [[1]]}]}, "answers": []}]', r"answers is \[\]"),
        ('[{"request": {"inputs": [{}]}, "answers": [NaN]}]', "is no JSON: NaN is no number"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_a_file_of_something_else_is_refused_with_what_it_has(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "known.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        read_known_requests(file)
    assert caught.value.remedy


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*known\.json: No such file"):
        read_known_requests(tmp_path / "known.json")
