"""Message templates: which sentences a module can make, and which of them a text holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from trivet.engine.registry import Registry, use_registry
from trivet.engine.scenarios.templates import templates, used

SOURCE = '''
"""A module's docstring is no message."""
from shelf_of_samples.helping import helper
import json

NAME = "a-name-and-no-sentence"


def message(lost, of, name):
    """Nor is a function's."""
    if not lost:
        return f"none of {of:>3} requests " f"lost by {name!r}"
    raise ValueError("the first half "
                     "and the second")
'''


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "shelf_of_samples"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "main.py").write_text(SOURCE)
    (folder / "helping.py").write_text("import shelf_of_samples.main\nhelper = 'what another module says'\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "shelf_of_samples.main"


def test_templates_are_the_sentences_of_a_module_and_of_what_it_imports(shelf: str) -> None:
    assert templates(shelf) == {
        "none of {} requests lost by {}",
        "the first half and the second",
        "what another module says",
    }


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    """A package with ``modules``, by their names; its own is that of its folder."""
    folder.mkdir()
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(folder.parent)


def test_a_name_that_a_package_re_exports_leads_to_the_module_that_defines_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(
        tmp_path / "facade_of_samples",
        monkeypatch,
        __init__="from facade_of_samples.inner import helper as help\nfrom facade_of_samples import other\n",
        inner="from facade_of_samples.deeper import helper\nunused = 'not of the helper'\n",
        deeper="helper = 'what another module says'\n",
        other="text = 'nobody imports this one'\n",
        user="from facade_of_samples import help\n",
    )
    assert templates("facade_of_samples.user") == {"what another module says"}


def test_a_module_that_is_imported_whole_has_all_that_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(
        tmp_path / "whole_of_samples",
        monkeypatch,
        __init__="from whole_of_samples.inner import helper\n",
        inner="helper = 'what another module says'\n",
        user="import whole_of_samples as samples\n",
    )
    assert templates("whole_of_samples.user") == {"what another module says"}


CONTRACT = """
from trivet.authoring import MUST, Manifest, contract, failed
from judging_of_samples.words import LATER

@contract(title="X must Y", level=MUST, seam=("kfp", "kserve"), rationale="because it is so", remedy="do something")
def is_good(manifest: Manifest):
    yield failed(f"{manifest.name} is not good enough")
"""


@pytest.mark.parametrize(
    ("name", "call", "seen"),
    [
        ("glob", 'refusal(path, stack, "judges.*")', True),
        ("id", 'refusal(path, stack, pattern="judges.is_good")', True),
        ("unknown", "refusal(path, stack, PATTERN)", True),
        ("other", 'refusal(path, stack, "others.*")', False),
    ],
)
def test_the_contracts_that_a_gate_judges_by_are_part_of_a_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: str, seen: bool
) -> None:
    words = "LATER = 'what the contract imports'\n"
    package(tmp_path / "judging_of_samples", monkeypatch, __init__="", judges=CONTRACT, words=words)
    user = f"from trivet.authoring import refusal\n\ndef stage(path, stack):\n    return {call}\n"
    package(tmp_path / f"gated_by_{name}", monkeypatch, __init__="", user=user)
    with use_registry(Registry(["judging_of_samples.judges"])):
        found = templates(f"gated_by_{name}.user")
    assert ({"{} is not good enough", "what the contract imports"} <= found) is seen


def test_the_messages_of_the_contracts_behind_the_shipped_gate_are_known() -> None:
    assert "{} {}, but the runtime has {}" in " ".join(templates("trivet.scenarios.environment_skew"))


def test_a_module_that_there_is_not_has_no_templates() -> None:
    assert templates("trivet_that_is_not.there") == frozenset()


def test_a_module_whose_source_is_being_edited_has_no_templates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_written.py").write_text("def half(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert templates("half_written") == frozenset()


def test_a_text_holds_a_template_whose_parts_occur_in_order() -> None:
    known = ("none of {} requests lost", "{} lost of all {}", "{} connects to {}", "another sentence")
    text = "a connects to b:1; none of 40 requests lost"
    assert used([text, "40 lost of all 50"], known) == (
        "none of {} requests lost",
        "{} connects to {}",
        "{} lost of all {}",
    )
    assert used(["requests lost, none of 40"], known) == ()


def test_line_breaks_do_not_matter() -> None:
    assert used(["the first\n  half"], ["the first half"]) == ("the first half",)
