"""The published version rows that shipped stacks stand for, and what running these stacks found: ``rows.toml`` beside them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

ROWS_FILE = "rows.toml"


@dataclass(frozen=True, kw_only=True)
class VersionRow:
    """A row of a published table of versions that work together.

    ``found`` maps the name of each stack of the row to what a run of it found; ``measured`` says when and how.
    """

    claim: str
    holds: bool
    summary: str
    found: Mapping[str, str]
    measured: str


def version_rows() -> list[VersionRow]:
    """The rows, the oldest first."""
    text = files("trivet.fixtures.stacks").joinpath(ROWS_FILE).read_text(encoding="utf-8")
    return [VersionRow(**row) for row in tomllib.loads(text)["row"]]
