"""``trivet verdict`` for real: the shipped stacks of November 2024 and of today, every mix run on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commandline import run

pytestmark = pytest.mark.catalogue


def test_the_upgrade_from_2024_to_the_newest_has_a_safe_order_and_known_incompatibilities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ("verdict", "--from", "2024.11-fixed", "--to", "current", "--results", "results")
    done = run(*asked, "--report", "out", timeout=2 * 3600)
    assert done.code == 0, done
    written = json.loads((tmp_path / "out" / "verdict.json").read_text(encoding="utf-8"))
    order = written["order"]
    assert order.index("tracking") < order.index("trainer")
    pairs = {(pair["new"], pair["old"]) for one in written["incompatibilities"] for pair in one["suspects"]}
    assert ("trainer", "tracking") in pairs
    again = run(*asked, "--format", "json", timeout=600)
    assert json.loads(again.out)["judged"] == 0
