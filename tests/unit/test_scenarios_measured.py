"""The catalogue rests on runs: of every scenario both controls were seen on a cluster, and nothing is claimed that no run has shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from trivet.engine.registry import Registry
from trivet.model.scenario import Scenario, VariantResult, Verdict
from trivet.render import scenario_json
from trivet.render.scenario_pages import MEASURED

SCENARIOS = Registry().scenarios
RECORD = scenario_json.read((Path(__file__).parents[2] / "docs" / MEASURED).read_text(encoding="utf-8"))
SEEN: dict[tuple[str, str], VariantResult] = {
    (result.id, variant.name): variant for result in RECORD.scenarios for variant in result.variants
}

each = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))


@each
def test_it_was_seen_to_happen_and_a_remedy_to_protect(scenario: Scenario) -> None:
    found = {
        (one.remedy, seen.verdict)
        for one in scenario.variants
        if (seen := SEEN.get((scenario.id, one.name))) is not None
    }
    assert {(False, Verdict.VULNERABLE), (True, Verdict.PROTECTED)} <= found


@each
def test_what_is_expected_of_a_variant_is_what_was_seen(scenario: Scenario) -> None:
    for variant in scenario.variants:
        seen = SEEN.get((scenario.id, variant.name))
        if variant.expected is not None:
            assert seen is not None, f"{variant.name}: expected to be {variant.expected}, and no run has shown it"
            assert seen.verdict is variant.expected, f"{variant.name}: {seen.reason}"


@each
def test_every_claim_rests_on_a_variant_that_was_played(scenario: Scenario) -> None:
    for claim in scenario.claims:
        assert any((scenario.id, name) in SEEN for name in claim.variants), claim.text
