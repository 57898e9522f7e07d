"""Locking a stack: the parts that need no resolver."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from trivet.errors import UsageError
from trivet.stacks.lock import lock_stack, with_cutoff
from trivet.stacks.read import stack_folder

DESCRIPTION = """\
title = "cutoff = \\"2024-11-15\\""
[roles.trainer]
# cutoff = "1999-01-01" was too early
cutoff = "2024-11-15"  # two weeks after the release
[roles.tracking]
cutoff = '2024-11-15'
[roles.tracking.environment]
cutoff = "not a date"
"""


def test_a_new_cutoff_replaces_that_of_the_named_roles_and_nothing_else() -> None:
    fresh = with_cutoff(DESCRIPTION, "2025-01-31", ["trainer"])
    assert fresh == DESCRIPTION.replace('cutoff = "2024-11-15"  #', 'cutoff = "2025-01-31"  #')
    both = with_cutoff(DESCRIPTION, "2025-01-31", ["trainer", "tracking"])
    assert both == fresh.replace("cutoff = '2024-11-15'", 'cutoff = "2025-01-31"')


@pytest.mark.parametrize("cutoff", ["yesterday", "2024-13-01", "20241115", "2024-11-15T00:00:00Z", ""])
def test_a_cutoff_that_is_not_a_date_is_refused_before_the_resolution(tmp_path: Path, cutoff: str) -> None:
    folder = Path(shutil.copytree(stack_folder("current"), tmp_path / "mine"))
    with pytest.raises(UsageError, match="write it as YYYY-MM-DD"):
        lock_stack(folder, cutoff=cutoff)


def test_an_unknown_role_lists_the_roles() -> None:
    with pytest.raises(UsageError, match=r"unknown role 'trainr'\n.*initializer, runtime, tracking, trainer"):
        lock_stack(stack_folder("current"), roles=["trainr"])
