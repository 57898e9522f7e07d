"""Known requests: inference requests whose correct answers are known, by which the values of a canary are judged. It reads them from a
file, and counts answers that are wrong; it sends nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivet.errors import PlatformError, UsageError
from trivet.integration.signatures import v2_values

ROUNDING = 1e-6
"""The relative difference of floating-point numbers that are the same answer: other processors and tensors of 32 bits round so."""


@dataclass(frozen=True, kw_only=True)
class KnownRequest:
    """The body of a V2 inference ``request``, and the correct answer for each of its rows: scalars, lists for wider outputs, mappings by
    name for several outputs, as :func:`trivet.integration.v2_values` returns them.

    Raises UsageError for what is no such request, and for another number of answers than rows.
    """

    request: Mapping[str, Any]
    answers: Sequence[Any]

    def __post_init__(self) -> None:
        inputs = self.request.get("inputs") if isinstance(self.request, Mapping) else None
        if not isinstance(inputs, Sequence) or isinstance(inputs, str) or not inputs:
            raise UsageError(
                f"request is {json.dumps(self.request, default=str)[:200]}, without inputs",
                remedy="use the body of a V2 inference request, which v2_request(signature, rows) makes",
            )
        if not isinstance(self.answers, Sequence) or isinstance(self.answers, str) or not self.answers:
            raise UsageError(
                f"answers is {json.dumps(self.answers, default=str)[:200]}",
                remedy="use a list with the correct answer for each row of the request",
            )
        shapes = [one.get("shape") for one in inputs if isinstance(one, Mapping)]
        rows = sorted({one[0] for one in shapes if isinstance(one, list) and one and isinstance(one[0], int)})
        if rows and rows != [len(self.answers)]:
            raise UsageError(
                f"the request has {' and '.join(map(str, rows))} rows, and there are {len(self.answers)} answers",
                remedy="write one answer for each row: the first number of each input's shape",
            )

    def wrong(self, status: int, body: Any) -> int:
        """How many of the rows are not answered correctly by a response with this HTTP status and JSON body; all of them without 200, and
        when it has another number of rows."""
        try:
            values = v2_values(body) if status == 200 else []
            return sum(not _same(value, correct) for value, correct in zip(values, self.answers, strict=True))
        except (PlatformError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
            return len(self.answers)


@dataclass(frozen=True, kw_only=True)
class KnownAnswer:
    """How a revision answered a known request of ``rows`` rows, of which it got ``wrong`` ones wrong, in ``seconds``. ``status`` is the
    HTTP status; 0: there was no answer."""

    rows: int
    status: int = 0
    wrong: int = 0
    seconds: float = 0.0

    @property
    def tells_values(self) -> bool:
        """Whether it says something about values, as an answer and a refused input do."""
        return self.status in (200, 400, 422)


def read_known_requests(file: Path) -> Sequence[KnownRequest]:
    """The requests of a JSON file: a list of objects with ``request`` and ``answers``, as :class:`KnownRequest` has them.

    Raises UsageError for a file that cannot be read, or is something else.
    """
    try:
        entries = json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_number)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", remedy="pass a file with known requests") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is no JSON: {error}", remedy=_FORMAT) from error
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{file} has no list of known requests", remedy=_FORMAT)
    found = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or entry.keys() != {"request", "answers"}:
            shown = ", ".join(map(repr, entry)) if isinstance(entry, dict) else repr(entry)[:100]
            raise UsageError(f"entry {index} of {file} has {shown or 'nothing'}", remedy=_FORMAT)
        try:
            found.append(KnownRequest(**entry))
        except UsageError as error:
            raise UsageError(f"entry {index} of {file}: {error.message}", remedy=error.remedy) from error
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number that JSON has")


def _same(value: Any, correct: Any) -> bool:
    if isinstance(value, Mapping) and isinstance(correct, Mapping):
        return value.keys() == correct.keys() and all(_same(value[name], correct[name]) for name in correct)
    if isinstance(value, list | tuple) and isinstance(correct, list | tuple):
        return len(value) == len(correct) and all(map(_same, value, correct))
    if isinstance(value, float) or isinstance(correct, float):
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (value, correct))
        return numbers and math.isclose(value, correct, rel_tol=ROUNDING, abs_tol=1e-12)
    return bool(value == correct)


_FORMAT = (
    'write a JSON list of {"request": the body of a V2 inference request, "answers": [the correct answer for each row]}'
)
