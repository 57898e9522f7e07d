"""The plugin in other people's test runs, driven through pytest itself on a fake target."""

from __future__ import annotations

import json

import pytest

STUB = "from trivet.suite import *\n"
FAKE = "pytest_plugins = ['fakes.target']\n"
ON_FAKE = ("--trivet-target=fake", "--trivet-stack=2024.11-fixed", "-p", "no:cacheprovider")


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A team's repository: the stub, and a conftest that registers the target and its contracts."""
    pytester.makeconftest(FAKE)
    pytester.makepyfile(test_platform=STUB)
    pytester.syspathinsert(__import__("pathlib").Path(__file__).parents[1])
    return pytester


def test_the_stub_judges_every_contract_of_the_profile(project: pytest.Pytester) -> None:
    result = project.runpytest("-v", "-rxs", "-k", "target", *ON_FAKE)
    result.stdout.fnmatch_lines(
        [
            "*test_contract[[]target.white] PASSED*",
            "*test_contract[[]target.thick] XFAIL*",
            "*test_contract[[]target.loaded] SKIPPED*",
            "XFAIL*advice: 70 g is thin",
            "SKIPPED*the target fake does not offer the client tray: where the printer takes paper from",
        ]
    )
    result.assert_outcomes(passed=1, xfailed=1, skipped=1)


def test_a_failed_must_fails_with_rationale_and_remedy_and_without_a_traceback(project: pytest.Pytester) -> None:
    project.makepyfile(
        conftest=FAKE
        + "import fakes.target\n"
        + "from trivet.hookspecs import hookimpl\n"
        + "@hookimpl\ndef trivet_targets():\n    return {'grey': fakes.target.FakeTarget(colour='grey', grams=90)}\n"
        + "@hookimpl\ndef trivet_contracts():\n    return []\n"
    )
    result = project.runpytest("-k", "white", "--trivet-target=grey", "--trivet-stack=2024.11-fixed")
    result.stdout.fnmatch_lines(
        ["*target.white FAILED: Paper must be white*", "*the paper is grey*", "*remedy: bleach*"]
    )
    result.assert_outcomes(failed=1)


def test_a_stack_that_does_not_start_fails_every_contract_with_the_reason_and_without_a_traceback(
    pytester: pytest.Pytester,
) -> None:
    pytester.syspathinsert(__import__("pathlib").Path(__file__).parents[1])
    pytester.makeconftest(
        FAKE
        + "import fakes.target\n"
        + "from trivet.errors import PlatformError\n"
        + "from trivet.hookspecs import hookimpl\n"
        + "class Broken(fakes.target.FakeTarget):\n"
        + "    def start(self, stack, emit):\n        raise PlatformError('no room', remedy='free some')\n"
        + "@hookimpl\ndef trivet_targets():\n    return {'broken': Broken(colour='white')}\n"
    )
    result = pytester.runpytest(
        "--pyargs", "trivet.contracts.paths", "--trivet-target=broken", "--trivet-stack=2024.11-fixed"
    )
    result.stdout.fnmatch_lines(["trivet: no room", "  remedy: free some"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*PlatformError(*")
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] > 1
    assert not {"passed", "errors", "skipped", "xfailed"} & set(outcomes)


def test_inconclusive_advice_is_visible_and_fails_nothing(project: pytest.Pytester) -> None:
    project.makepyfile(
        conftest=FAKE
        + "import fakes.target\n"
        + "from trivet.errors import CannotTell\n"
        + "from trivet.hookspecs import hookimpl\n"
        + "@hookimpl\ndef trivet_targets():\n"
        + "    return {'unweighed': fakes.target.FakeTarget(colour='white', grams=CannotTell('no scales'))}\n"
        + "@hookimpl\ndef trivet_contracts():\n    return []\n"
    )
    result = project.runpytest("-rx", "-k", "thick", "--trivet-target=unweighed", "--trivet-stack=2024.11-fixed")
    result.stdout.fnmatch_lines(["XFAIL*advice, inconclusive: no scales"])
    result.assert_outcomes(xfailed=1)
    assert result.ret == 0


def waived(project: pytest.Pytester, contract: str, expires: str, more: str = "") -> None:
    """Give the project a waiver, and a target on which ``target.white`` fails."""
    project.makepyfile(
        conftest=FAKE
        + "import fakes.target\n"
        + "from trivet.hookspecs import hookimpl\n"
        + "@hookimpl\ndef trivet_targets():\n    return {'grey': fakes.target.FakeTarget(colour='grey', grams=90)}\n"
        + "@hookimpl\ndef trivet_contracts():\n    return []\n"
    )
    project.makepyprojecttoml(
        f"[tool.trivet]\n{more}\n[tool.trivet.waivers.w]\n"
        f'contract = "{contract}"\nreason = "printed anyway"\nexpires = "{expires}"\n'
    )


ON_GREY = ("-k", "target", "--trivet-target=grey", "--trivet-stack=2024.11-fixed", "-p", "no:cacheprovider")


def test_a_waived_failure_is_visible_and_fails_nothing(project: pytest.Pytester) -> None:
    waived(project, "target.white", "2999-12-31")
    result = project.runpytest("-rx", "--trivet-report=out", *ON_GREY)
    result.stdout.fnmatch_lines(["XFAIL*waived until 2999-12-31 by w (printed anyway): the paper is grey"])
    result.assert_outcomes(passed=1, xfailed=1, skipped=1)
    assert result.ret == 0
    report = json.loads((project.path / "out" / "report.json").read_text())
    assert [(use["name"], use["status"]) for use in report["waivers"]] == [("w", "used")]


def test_an_expired_waiver_fails_and_says_since_when(project: pytest.Pytester) -> None:
    waived(project, "target.white", "2024-12-31")
    result = project.runpytest(*ON_GREY)
    result.stdout.fnmatch_lines(
        [
            "*target.white FAILED: Paper must be white*",
            "*known: the waiver w expired on 2024-12-31 (printed anyway)*",
            "warning: the waiver w expired on 2024-12-31: 1 failure of target.white no longer accepted",
        ]
    )
    assert result.ret == 1


def test_an_unused_waiver_is_a_warning(project: pytest.Pytester) -> None:
    waived(project, "target.thick", "2999-12-31")
    result = project.runpytest(*ON_GREY)
    result.stdout.fnmatch_lines(
        ["warning: the waiver w accepts nothing: no failure of target.thick matches it; remove it"]
    )


def test_a_waiver_of_an_unknown_contract_is_an_error_with_the_nearest(project: pytest.Pytester) -> None:
    waived(project, "target.whit", "2999-12-31")
    result = project.runpytest(*ON_GREY)
    result.stdout.fnmatch_lines(
        ["*the waiver 'w' names an unknown contract 'target.whit'", "*did you mean 'target.white'?*"]
    )
    result.assert_outcomes(errors=1)


def test_a_required_feature_that_is_lacking_fails(project: pytest.Pytester) -> None:
    waived(project, "target.white", "2999-12-31", 'require_features = ["Prometheus"]')
    result = project.runpytest(*ON_GREY)
    result.stdout.fnmatch_lines(
        [
            "*target.has_the_required_features FAILED: The target must have the features that are required of it*",
            "*the target lacks the feature Prometheus: *",
        ]
    )
    result.assert_outcomes(passed=1, xfailed=1, skipped=1, failed=1)


def test_a_required_feature_is_judged_beside_the_modules_of_contracts_too(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml('[tool.trivet]\nrequire_features = ["Prometheus"]\n')
    result = pytester.runpytest(
        "--pyargs", "trivet.contracts.paths", "--collect-only", "-q", "--trivet-stack=2024.11-fixed"
    )
    assert [line for line in result.outlines if line.endswith("::has_the_required_features")]


def test_reports_are_written_from_a_pytest_run(project: pytest.Pytester) -> None:
    project.runpytest("-k", "target", "--trivet-report=out", *ON_FAKE)
    report = json.loads((project.path / "out" / "report.json").read_text())
    assert {entry["id"]: entry["outcome"] for entry in report["contracts"]} == {
        "target.white": "PASSED",
        "target.thick": "FAILED",
        "target.loaded": "SKIPPED",
    }


def test_a_single_contract_can_be_judged_from_a_test_of_ones_own(project: pytest.Pytester) -> None:
    project.makepyfile(test_own="def test_white(trivet_judge):\n    trivet_judge('target.white')\n")
    project.runpytest("test_own.py", *ON_FAKE).assert_outcomes(passed=1)


def test_an_unknown_stack_is_a_usage_error_that_lists_the_known(project: pytest.Pytester) -> None:
    result = project.runpytest("--trivet-target=fake", "--trivet-stack=2019.01")
    assert result.ret in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.USAGE_ERROR)
    output = result.stdout.str() + result.stderr.str()
    assert "unknown stack '2019.01'" in output
    assert "2024.11-fixed" in output
    assert "plugin.py" not in output


def test_the_contracts_package_is_collected_under_canonical_names(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--pyargs", "trivet.contracts", "--collect-only", "-q", "--trivet-stack=2024.11-fixed")
    result.stdout.fnmatch_lines(["*lineage.py::labels_are_valid", "*paths.py::storage_uri_names_the_model_directory"])
    assert result.ret == 0


def test_a_run_without_trivet_items_imports_nothing_of_trivet_but_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys
        def test_light():
            ours = {name for name in sys.modules if name.partition(".")[0] == "trivet"}
            assert ours <= {"trivet", "trivet.plugin"}, ours
            assert not {"mlflow", "kfp", "kubernetes", "msgspec", "jinja2", "requests"} & set(sys.modules)
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_a_store_that_the_target_cannot_have_is_an_error_without_a_traceback(project: pytest.Pytester) -> None:
    result = project.runpytest("--trivet-target=kind", "--trivet-store=s3", "--trivet-stack=2024.11-fixed")
    result.stdout.fnmatch_lines(
        ["*store 's3' is not supported on the target kind: its cluster has an S3 store of its own"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.assert_outcomes(errors=1)
