"""Every test of the command line stands in a directory of its own, which says nothing about trivet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trivet.model.stack import ROLES
from trivet.stacks.drawing import drawing_role
from trivet.stacks.environments import build_environment, cache_directory
from trivet.stacks.read import load_stack


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    for name in [name for name in os.environ if name.startswith("TRIVET_") and name != "TRIVET_UPDATE_SNAPSHOTS"]:
        if name != "TRIVET_CACHE":
            monkeypatch.delenv(name)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def environments() -> Path:
    """The user's environments, with those of ``2024.11-fixed`` among them: a test of a run's end must not wait for a download."""
    roles = load_stack("2024.11-fixed").roles
    for role in (*(roles[name] for name in ROLES), drawing_role()):
        build_environment(role)
    return cache_directory() / "environments"


@pytest.fixture
def cache(environments: Path, tmp_path: Path) -> str:
    """A ``TRIVET_CACHE`` of the test's own, with the environments of the user's: runs of other tests do not show in it."""
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "environments").symlink_to(environments)
    return str(folder)
