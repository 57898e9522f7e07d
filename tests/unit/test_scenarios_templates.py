"""Message templates: which sentences a module can make, and which of them a text holds."""

from __future__ import annotations

from pathlib import Path

import pytest

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
