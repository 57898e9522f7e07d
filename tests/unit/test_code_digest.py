"""Digests of code: which modules count for a check, and that a change in any of them shows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trivet.engine import code_digest as module
from trivet.engine.code_digest import code_digest, package_digest


def forget() -> None:
    """What was read of files, as a new process begins."""
    for cached in (module._closure, module._imports, module._passed_on, module._file, code_digest, package_digest):
        cached.cache_clear()


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A third party's package: contracts that use a sibling, a name that the package passes on, and other distributions."""
    folder = tmp_path / "acme_code"
    (folder / "rules").mkdir(parents=True)
    (folder / "__init__.py").write_text("from acme_code.far import used\nfrom acme_code.elsewhere import unused\n")
    (folder / "contracts.py").write_text(
        "import json\nimport trivet.authoring as trivet\nfrom typing import TYPE_CHECKING\nfrom acme_code import used\n"
        "from .near import thing\nif TYPE_CHECKING:\n    from acme_code import types\n"
        "def check():\n    from acme_code.rules import late\n    return trivet.passed, trivet.same_values\n"
    )
    for name in ("far", "elsewhere", "near", "types", "rules/__init__", "rules/late"):
        (folder / f"{name}.py").write_text("used = unused = thing = 1\n")
    (folder / "table.lock").write_text("six==1\n")
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    yield folder
    forget()
    for name in [name for name in sys.modules if name.startswith("acme_code")]:
        del sys.modules[name]


def test_a_check_counts_with_what_its_module_imports_in_functions_too(acme: Path) -> None:
    own = {name for name in module._closure("acme_code.contracts") if name.startswith("acme_code")}
    assert own == {"acme_code.contracts", "acme_code.far", "acme_code.near", "acme_code.rules.late"}


def test_of_the_authors_facade_only_what_is_used_counts(acme: Path) -> None:
    found = module._closure("acme_code.contracts")
    assert {"trivet.model.finding", "trivet.toolkit.comparison"} <= found
    assert not {"trivet.authoring", "trivet.toolkit.faults", "trivet.model.scenario"} & found


@pytest.mark.parametrize("name", ["contracts", "far", "near", "rules/late"])
def test_a_change_in_a_module_that_counts_shows(acme: Path, name: str) -> None:
    before = code_digest("acme_code.contracts")
    (acme / f"{name}.py").write_text("used = thing = 2\n")
    forget()
    assert code_digest("acme_code.contracts") != before


@pytest.mark.parametrize("name", ["elsewhere", "types", "rules/__init__"])
def test_a_change_elsewhere_does_not(acme: Path, name: str) -> None:
    before = code_digest("acme_code.contracts")
    (acme / f"{name}.py").write_text("unused = 2\n")
    forget()
    assert code_digest("acme_code.contracts") == before


def test_a_package_counts_with_all_of_its_files(acme: Path) -> None:
    before = package_digest(("acme_code",))
    (acme / "table.lock").write_text("six==2\n")
    forget()
    assert package_digest(("acme_code",)) != before


def test_a_module_counts_alone(acme: Path) -> None:
    before = package_digest(("acme_code.contracts",))
    (acme / "near.py").write_text("thing = 2\n")
    forget()
    assert package_digest(("acme_code.contracts",)) == before


def test_a_package_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(LookupError, match="acme_nowhere"):
        package_digest(("acme_nowhere",))


def test_a_contract_of_trivet_does_not_depend_on_the_command_line_or_the_writers() -> None:
    found = module._closure("trivet.contracts.lineage")
    assert {"trivet.contracts.lineage", "trivet.contracts.signatures", "trivet.integration.lineage"} <= found
    assert not [name for name in found if name.startswith(("trivet.cli", "trivet.render", "trivet.targets"))]
