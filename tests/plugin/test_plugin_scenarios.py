"""Scenarios under pytest: collected under their canonical names, one item per variant."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COLLECT = ("--collect-only", "-q", "--trivet-target=kind", "--trivet-stack=2024.11-fixed", "-p", "no:cacheprovider")

pytestmark = pytest.mark.processes


def test_the_package_is_collected_an_item_per_variant(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--pyargs", "trivet.scenarios", *COLLECT)
    result.stdout.fnmatch_lines(["*rollback.py::revision_at_zero[[]library]"])
    assert result.ret == 0


def test_a_module_of_the_checkout_is_imported_under_its_canonical_name(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "import sys\ndef pytest_sessionfinish():\n    assert 'trivet.scenarios.rollback' in sys.modules\n"
        "    assert not {'scenarios', 'rollback'} & set(sys.modules)\n"
    )
    result = pytester.runpytest_subprocess(ROOT / "scenarios" / "rollback.py", *COLLECT)
    result.stdout.fnmatch_lines(["*revision_at_zero[[]percent-zero]"])
    assert result.ret == 0


def test_a_cluster_that_is_not_ours_is_refused_before_anything_starts(pytester: pytest.Pytester) -> None:
    path = ROOT / "scenarios" / "rollback.py"
    arguments = ("--trivet-target=local", "--trivet-stack=2024.11-fixed", "-k", "library", "-p", "no:cacheprovider")
    result = pytester.runpytest_subprocess(path, *arguments)
    result.stdout.fnmatch_lines(["*not a cluster of trivet's own*"])
    result.assert_outcomes(failed=1)
