"""docs/glossary.md: each term once, defined where the page says, and no outcome, verdict, level or declared name is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import pytest

from trivet.model.outcome import Level, Outcome
from trivet.model.scenario import Verdict

PAGE = Path(__file__).parents[2] / "docs" / "glossary.md"
_ROW = re.compile(r"^\| (?P<term>[^|]+?) \| (?P<meaning>[^|]+?) \| (?P<where>[^|]+?) \|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str]]:
    found = [(row["term"], row["meaning"], row["where"]) for row in _ROW.finditer(PAGE.read_text(encoding="utf-8"))]
    return [row for row in found if row[0] != "term"]


IMPORT_NAMES = sorted({name for _, _, where in rows() for name in re.findall(r"`(trivet\.[\w.]+)`", where)})


def resolved(name: str) -> object:
    """What an import name stands for: a module, or an attribute of one, fields without a default included. Raises LookupError."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        try:
            found: Any = import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and not module.startswith(error.name):
                raise
            continue
        for part in parts[length:]:
            if hasattr(found, part):
                found = getattr(found, part)
            elif isinstance(found, type) and part in get_type_hints(found):
                found = get_type_hints(found)[part]
            else:
                raise LookupError(f"{name}: {found!r} has no {part}")
        return found
    raise LookupError(name)


@pytest.mark.parametrize("name", IMPORT_NAMES)
def test_a_term_is_defined_where_the_glossary_says(name: str) -> None:
    resolved(name)  # raises LookupError otherwise


@pytest.mark.parametrize(
    "name", ["trivet.model.contract.Contrct", "trivet.nowhere", "trivet.model.contract.Contract.nothing"]
)
def test_a_name_that_does_not_exist_is_noticed(name: str) -> None:
    with pytest.raises(LookupError):
        resolved(name)


def test_every_term_has_one_entry_with_one_sentence_and_a_place() -> None:
    terms = [term.lower() for term, _, _ in rows()]
    assert len(terms) > 90
    assert sorted(set(terms)) == sorted(terms), "a term is defined twice"
    unclear = [
        term for term, meaning, where in rows() if not meaning.endswith((".", ".)")) or not re.search(r"[`\]]", where)
    ]
    assert not unclear


def test_the_terms_of_a_section_are_sorted() -> None:
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        terms = [row["term"].lower() for row in _ROW.finditer(section)][1:]
        assert terms == sorted(terms), section.partition("\n")[0]


@pytest.mark.parametrize("kind", [Outcome, Level, Verdict])
def test_every_value_that_a_report_can_have_is_explained(kind: type[Enum]) -> None:
    assert {member.value for member in kind} <= {term for term, _, _ in rows()}


def test_the_clients_features_and_components_are_where_the_glossary_says() -> None:
    for term, minimum in (("client", 10), ("feature", 5), ("component", 8)):
        (where,) = [where for name, _, where in rows() if name == term]
        found = resolved(where.strip("`"))
        assert isinstance(found, Mapping | tuple), term
        assert len(found) >= minimum
        assert not isinstance(found, ModuleType)
