"""The catalogue rests on runs: of every scenario both controls were seen on a cluster, and nothing is claimed that no run has shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from trivet.engine.registry import Registry
from trivet.model.record import VariantRecord
from trivet.model.scenario import Scenario, Verdict
from trivet.render.records import FOLDER, digest, drawing_name, read_all, stale, write
from trivet.render.scenario_pages import DRAWINGS

ROOT = Path(__file__).parents[2]
SCENARIOS = Registry().scenarios
RECORDS = read_all(ROOT / FOLDER)
TO_PLAY = "tests/unit/stale_records.txt"
ALLOWED = (ROOT / TO_PLAY).read_text(encoding="utf-8").split()
"""Variants whose records may be stale until a cluster is at hand. One that is not stale any more must go; a release has none."""

REFRESH = "trivet scenario stale | xargs -r trivet scenario run --target kind --report out; trivet scenario pages docs --report out"

each = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))


def measured(scenario: Scenario) -> dict[str, VariantRecord]:
    return dict(RECORDS[scenario.id].variants) if scenario.id in RECORDS else {}


@each
def test_it_was_seen_to_happen_and_a_remedy_to_protect(scenario: Scenario) -> None:
    kept = measured(scenario)
    found = {(one.remedy, kept[one.name].verdict) for one in scenario.variants if one.name in kept}
    assert {(False, Verdict.VULNERABLE), (True, Verdict.PROTECTED)} <= found, (
        f"the record of {scenario.id} needs a variant without a remedy that was VULNERABLE and one with a remedy that was PROTECTED; "
        f"it has {sorted((one.name, kept[one.name].verdict.value) for one in scenario.variants if one.name in kept)}. Play them: "
        f"trivet scenario run '{scenario.id}[*]' --target kind --report out; trivet scenario pages docs --report out"
    )


@each
def test_what_is_expected_of_a_variant_is_what_its_record_has(scenario: Scenario) -> None:
    kept = measured(scenario)
    for variant in scenario.variants:
        if variant.expected is not None:
            place = f"{FOLDER}/{scenario.id}.json, variant {variant.name}"
            assert variant.name in kept, (
                f"{place}: expected to be {variant.expected}, and no run has shown it: {REFRESH}"
            )
            assert kept[variant.name].verdict is variant.expected, f"{place}: {kept[variant.name].reason}"


@each
def test_every_claim_rests_on_variants_that_were_played(scenario: Scenario) -> None:
    kept = measured(scenario)
    for claim in scenario.claims:
        assert claim.variants, claim.text
        assert not set(claim.variants) - set(kept), claim.text


def test_no_record_is_stale_but_those_that_are_still_to_be_played() -> None:
    found = {str(one): one.reason for one in stale(list(SCENARIOS.values()), RECORDS)}
    more = [f"{name}: {reason}" for name, reason in found.items() if name not in ALLOWED]
    assert not more, "\n".join(
        [*more, f"play them again: {REFRESH}", f"without a cluster at hand, list them in {TO_PLAY}"]
    )
    assert list(found) == ALLOWED, f"{TO_PLAY} lists exactly what is stale: trivet scenario stale > {TO_PLAY}"


def test_every_record_is_of_a_variant_that_there_is_and_written_as_trivet_writes_it() -> None:
    for identifier, record in RECORDS.items():
        assert identifier in SCENARIOS, f"remove {FOLDER}/{identifier}.json"
        assert set(record.variants) <= {variant.name for variant in SCENARIOS[identifier].variants}, identifier
        assert (ROOT / FOLDER / f"{identifier}.json").read_text(encoding="utf-8") == write(record)


def test_every_drawing_is_that_of_the_run_in_its_record() -> None:
    known = {
        drawing_name(identifier, name): variant.drawing
        for identifier, record in RECORDS.items()
        for name, variant in record.variants.items()
        if variant.drawing
    }
    files = {path.name: digest(path.read_text(encoding="utf-8")) for path in (ROOT / "docs" / DRAWINGS).glob("*.svg")}
    assert files == known
