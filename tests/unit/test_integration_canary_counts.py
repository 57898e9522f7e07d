"""The counts that a canary is judged by: only those that can be."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trivet.errors import UsageError
from trivet.integration.canary_counts import ArmCounts, CanaryWindow

ARM = ArmCounts(requests=10, errors=2, slower={0.1: 8, 0.5: 3}, known_requests=5, unexpected_answers=5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"requests": -1}, "requests is -1"),
        ({"requests": 2.5}, "requests is 2.5"),
        ({"requests": True}, "requests is True"),
        ({"errors": 11}, "errors is 11, and requests is 10"),
        ({"known_requests": 4}, "unexpected_answers is 5, and known_requests is 4"),
        ({"slower": {0.5: 11}}, "slower[0.5] is 11, and requests is 10"),
        ({"slower": {0.5: 9, 0.1: 8}}, "slower[0.5] is 9, and slower[0.1] is 8"),
        ({"slower": {math.inf: 0}}, "the bound inf of slower is not a time"),
        ({"slower": {math.nan: 0}}, "the bound nan of slower is not a time"),
    ],
)
def test_counts_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        ArmCounts(**{**vars(ARM), **change})
    assert refused.value.message == message
    assert refused.value.remedy


@pytest.mark.parametrize(("start", "end"), [(60.0, 60.0), (60.0, 0.0), (math.nan, 60.0), (0.0, math.inf)])
def test_a_window_has_a_length(start: float, end: float) -> None:
    with pytest.raises(UsageError, match="a window from"):
        CanaryWindow(start=start, end=end, canary=ARM, stable=ARM)


def test_what_is_not_counted_is_none_and_not_zero() -> None:
    assert ArmCounts(requests=0, errors=None).errors is None
    assert ArmCounts(requests=0, errors=None).slower == {}
