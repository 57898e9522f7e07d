"""Composed stacks against a package index: locks by the way, and the index's answers to what does not exist or fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trivet.errors import UsageError
from trivet.stacks.composed import compose
from trivet.stacks.read import load_stack
from trivet.stacks.releases import release_days

pytestmark = pytest.mark.processes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))


def test_the_index_states_when_a_version_was_released() -> None:
    assert release_days(["mlflow==2.12.2", "kfp==2.10.0"], "3.11") == {"mlflow": "2024-05-09", "kfp": "2024-11-08"}


def test_an_older_tracking_server_is_locked_as_of_its_release() -> None:
    made = compose(load_stack("2024.11-fixed"), {"tracking": "2.15.1"})
    role = made.roles["tracking"]
    assert (made.components["mlflow"], role.pins["mlflow"]) == ("2.15.1", "2.15.1")
    assert role.cutoff == "2024-08-06"
    assert role.pins["boto3"].startswith("1.34.")
    assert "setuptools" in role.pins, "mlflow up to 2.12 imports pkg_resources"
    assert "--hash=sha256:" in role.lock.read_text(encoding="utf-8")


def test_a_version_that_does_not_exist_names_its_neighbours() -> None:
    with pytest.raises(UsageError, match=r"there is no mlflow 2\.15\.7") as refused:
        compose(load_stack("2024.11-fixed"), {"tracking": "2.15.7"})
    assert re.findall(r"\d\.\d+\.\d", refused.value.remedy) == ["2.15.1", "2.16.0"]


def test_a_sdk_that_does_not_fit_the_client_names_the_contradiction() -> None:
    with pytest.raises(UsageError, match="contradict each other") as refused:
        compose(load_stack("current"), {"trainer": "2.12.2"})
    assert re.findall(r"protobuf[>=]+[\d.]+", refused.value.message)
