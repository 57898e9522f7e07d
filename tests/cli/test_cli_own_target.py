"""A third party's target, as ``docs/targets.md`` shows it: planned, run and skipped by the command line."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from commandline import call

PAGE = Path(__file__).parents[2] / "docs" / "targets.md"
ID = "acme_target.every_customer_has_an_age"


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of the page, as it stands there, as a module that can be imported."""
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "acme_target.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_target", raising=False)


def test_its_plan_is_shown() -> None:
    planned = call("plan", "--target", "memory", "--plugin", "acme_target")
    assert planned.code == 0
    assert "create a feature store in this process" in planned.out


def test_its_contract_passes_and_every_other_one_is_skipped_with_the_client_that_is_missing(tmp_path: Path) -> None:
    done = call("run", "--target", "memory", "--plugin", "acme_target", "--report", tmp_path / "out")
    assert done.code == 0, done.out
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    outcomes = {one["id"]: one["outcome"] for one in report["contracts"]}
    assert outcomes.pop(ID) == "PASSED"
    assert set(outcomes.values()) == {"SKIPPED"}
    assert "the target memory does not offer the client serving" in done.out


def test_on_another_target_its_contract_is_skipped() -> None:
    planned = call("plan", "--target", "local", "--profile", "cluster", "--plugin", "acme_target")
    assert re.search(
        rf"{re.escape(ID)}\n\s+skipped: the target local does not offer the client feature_store", planned.out
    )
