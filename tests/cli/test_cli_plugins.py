"""Other people's contracts on the command line and under pytest: ``tests/thirdparty/acme_contracts.py``, as a stranger would add it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from commandline import GOOD, call, refused

from trivet.model.clients import CLIENTS

THIRD_PARTY = Path(__file__).parents[1] / "thirdparty"
ID = "acme_contracts.service_names_its_team"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third party's module can be imported."""
    monkeypatch.syspath_prepend(THIRD_PARTY)


@pytest.fixture(params=["flag", "file", "environment"])
def named(request: pytest.FixtureRequest, here: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments with which the plugin is named in each of the three ways."""
    if request.param == "file":
        (here / "pyproject.toml").write_text('[tool.trivet]\nplugins = ["acme_contracts"]\n')
    if request.param == "environment":
        monkeypatch.setenv("TRIVET_PLUGINS", "acme_contracts")
    return ["--plugin", "acme_contracts"] if request.param == "flag" else []


def test_it_is_listed_planned_and_explained(named: list[str]) -> None:
    assert f"* MUST    {ID}" in call("list", *named).out
    assert ID in call("plan", *named).out
    assert "Whoever is on call must know whom to wake." in call("explain", ID, *named).out


def test_it_is_linted(here: Path, named: list[str]) -> None:
    (here / "service.yaml").write_text(GOOD)
    result = call("lint", "service.yaml", *named)
    assert result.code == 1
    assert result.out.startswith(f"service.yaml:3: FAILED: the label acme.example/team is missing [{ID}]\n")
    (here / "service.yaml").write_text(
        GOOD.replace("  name: churn\n", "  name: churn\n  labels: {acme.example/team: a}\n")
    )
    assert call("lint", "service.yaml", *named).code == 0


def test_it_is_unknown_unless_it_is_named() -> None:
    assert f"unknown contract '{ID}'" in refused("explain", ID)


def test_it_is_judged_under_pytest(pytester: pytest.Pytester) -> None:
    pytester.syspathinsert(Path(__file__).parents[1])
    pytester.makeconftest("pytest_plugins = ['fakes.target', 'acme_contracts']\n")
    pytester.makepyfile(test_platform="from trivet.suite import *\n")
    result = pytester.runpytest("--collect-only", "-q", "-k", "acme", "--trivet-target=fake", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines([f"*test_contract[[]{ID}]"])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def (", "SyntaxError"),
        ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_plugin_that_does_not_import_is_named_with_its_error(
    here: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    monkeypatch.syspath_prepend(here)
    (here / "broken_plugin.py").write_text(source)
    result = refused("list", "--plugin", "broken_plugin")
    assert "plugin 'broken_plugin' does not import: " in result
    assert words in result


@pytest.mark.parametrize("name", ["absent", "", ".relative", "no module/at all"])
def test_a_plugin_that_is_none_is_named(name: str) -> None:
    if name:
        assert f"plugin {name!r} does not import" in refused("list", "--plugin", name)
    else:
        assert "plugin '' does not import" in refused("list", "--plugin", "acme_contracts", "--plugin", "")


def test_two_contracts_of_one_id_are_refused_with_both_modules(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(here)
    package = here / "vendored"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "acme_contracts.py").write_text((THIRD_PARTY / "acme_contracts.py").read_text())
    result = refused("list", "--plugin", "acme_contracts", "--plugin", "vendored.acme_contracts")
    assert f"two contracts have the id {ID!r}: in acme_contracts and vendored.acme_contracts" in result


RULE = """
import trivet.authoring as trivet

@trivet.contract(title="A must B", level=trivet.MUST, seam=("kfp", "kserve"), rationale="because", remedy="do C")
def rule(manifest):
    yield trivet.passed("fine")
"""
COMMANDS = pytest.mark.parametrize("command", [("list",), ("plan",), ("run",), ("lint", "service.yaml")])


@COMMANDS
@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("manifest)", "manfest)", "unknown parameter 'manfest'\n  remedy: did you mean 'manifest'?"),
        ("trivet.MUST", '"must"', "unknown level 'must'\n  remedy: did you mean 'MUST'?"),
        ("level=", 'versions={"mlflow": "2.x"}, level=', "the versions of mlflow are '2.x'"),
        ("level=", 'features=("ScaleToZer",), level=', "unknown feature 'ScaleToZer'"),
        ('("kfp", "kserve")', '("kfp", "acme")', "unknown component of a seam 'acme'"),
        ('remedy="do C"', 'remedy=""', "remedy is ''"),
    ],
)
def test_a_wrong_declaration_is_wrong_usage_with_file_and_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], right: str, wrong: str, words: str
) -> None:
    monkeypatch.syspath_prepend(here)
    monkeypatch.delitem(sys.modules, "acme_rule", raising=False)
    (here / "service.yaml").write_text(GOOD)
    (here / "acme_rule.py").write_text(RULE.replace(right, wrong, 1))
    result = refused(*command, "--plugin", "acme_rule")
    assert f"trivet: plugin 'acme_rule': contract acme_rule.rule ({here / 'acme_rule.py'}:4): {words}" in result
    assert "Traceback" not in result


def test_a_check_that_returns_a_finding_is_an_error_under_lint(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(here)
    monkeypatch.delitem(sys.modules, "acme_rule", raising=False)
    (here / "service.yaml").write_text(GOOD)
    (here / "acme_rule.py").write_text(RULE.replace("yield", "return"))
    result = call("lint", "service.yaml", "--plugin", "acme_rule")
    assert result.code == 2
    assert f"ERROR: contract acme_rule.rule ({here / 'acme_rule.py'}:4): the check returned a Finding" in result.out
    assert "remedy: write `yield` in place of `return`" in result.out


def test_a_contract_whose_client_no_target_offers_is_an_error_everywhere(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(here)
    monkeypatch.delitem(sys.modules, "acme_rule", raising=False)
    (here / "service.yaml").write_text(GOOD)
    declaration = "from trivet.model.clients import declare_client\ndeclare_client('acme_store', 'values of features')"
    (here / "acme_rule.py").write_text(declaration + RULE.replace("(manifest)", "(manifest, acme_store)"))
    try:
        reason = "no registered target offers the client acme_store (values of features)"
        for command in (("list",), ("plan",)):
            assert f"cannot run: {reason}" in " ".join(call(*command, "--plugin", "acme_rule").out.split())
        result = call("lint", "service.yaml", "--plugin", "acme_rule")
        assert (result.code, f"ERROR: {reason}" in result.out) == (2, True)
    finally:
        CLIENTS._names.pop("acme_store")
