"""A third party's contract in one module: every service of Acme names the team that answers for it.

Name the module under ``plugins`` in ``[tool.trivet]`` (or pass ``--plugin acme_contracts``, or offer it as an entry point
of the group ``trivet``), and it is listed, explained, linted and run like trivet's own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import ModuleType

from trivet.authoring.contracts import MUST, contract
from trivet.hookspecs import hookimpl
from trivet.model.finding import Finding, failed, passed
from trivet.model.subjects import Manifest


@contract(
    title="An InferenceService of Acme must name its team",
    level=MUST,
    seam=("kfp", "kserve"),
    rationale="Whoever is on call must know whom to wake.",
    remedy="Set the label acme.example/team.",
)
def service_names_its_team(manifest: Manifest) -> Iterator[Finding]:
    team = manifest.document["metadata"].get("labels", {}).get("acme.example/team")
    if team:
        yield passed(f"team {team}", location=manifest.at("metadata", "labels", "acme.example/team"))
    else:
        yield failed("the label acme.example/team is missing", location=manifest.at("metadata", "labels"))


@hookimpl
def trivet_contracts() -> Iterable[ModuleType]:
    """This module's contracts."""
    return [sys.modules[__name__]]
