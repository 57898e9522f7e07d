"""Records of scenarios: what is kept of a report, how reports replace what was kept, and when a record is stale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from samples.scenarios import report

from trivet.engine.registry import Registry
from trivet.engine.scenarios.templates import PLAYER, templates, used
from trivet.errors import UsageError
from trivet.model.record import Record
from trivet.model.scenario import ScenarioReport, VariantResult, Verdict
from trivet.render.records import Records, digest, drawings, merged, read, read_all, stale, write

ID = "rollback.revision_at_zero"
SCENARIOS = Registry().scenarios
BARE, LIBRARY, _ = report().scenarios[0].variants


def played(*variants: VariantResult, started: str = "2026-11-25T01:00:00+00:00") -> ScenarioReport:
    (result,) = report().scenarios
    provenance = replace(report().provenance, started=started)
    return replace(report(), scenarios=(replace(result, variants=variants),), provenance=provenance)


def record(*variants: VariantResult) -> Records:
    return merged({}, played(*variants), SCENARIOS)


def test_a_record_goes_to_json_and_back() -> None:
    kept = record(BARE, LIBRARY)[ID]
    assert read(write(kept)) == kept


def test_a_record_has_one_line_for_each_field_in_a_fixed_order() -> None:
    kept = record(BARE, LIBRARY)[ID]
    other = Record(scenario=ID, variants=dict(reversed(list(kept.variants.items()))))
    assert write(kept) == write(other)
    assert all(line.count('": ') <= 1 or line.strip().startswith('"reason"') for line in write(kept).splitlines())


def test_a_record_keeps_neither_the_timeline_nor_the_evidence() -> None:
    text = write(record(BARE)[ID])
    assert "timeline" not in text
    assert "0 replicas" not in text
    assert len(text.splitlines()) < 50


def test_what_the_scenario_says_itself_is_not_in_its_record() -> None:
    text = write(record(BARE)[ID])
    assert BARE.text not in text
    assert "expected" not in text


def test_exactly_the_variants_that_were_played_are_replaced() -> None:
    later = merged(
        record(BARE, LIBRARY),
        played(replace(LIBRARY, reason="seen anew"), started="2026-12-01T00:00:00+00:00"),
        SCENARIOS,
    )
    kept = later[ID].variants
    assert kept["percent-zero"] == record(BARE)[ID].variants["percent-zero"]
    assert (kept["library"].reason, kept["library"].origin.started) == ("seen anew", "2026-12-01T00:00:00+00:00")


@pytest.mark.parametrize("verdict", [Verdict.SKIPPED, Verdict.ERROR])
def test_a_variant_that_measured_nothing_replaces_nothing(verdict: Verdict) -> None:
    failed = played(replace(BARE, verdict=verdict, reason="no cluster"))
    assert merged(record(BARE), failed, SCENARIOS) == record(BARE)
    assert not drawings(failed)


def test_a_variant_that_the_scenario_no_longer_has_is_dropped() -> None:
    kept = record(BARE)[ID]
    earlier = {ID: replace(kept, variants={**kept.variants, "gone": kept.variants["percent-zero"]})}
    assert list(merged(earlier, played(BARE), SCENARIOS)[ID].variants) == ["percent-zero"]


def test_a_report_of_a_scenario_that_is_not_registered_is_refused() -> None:
    (result,) = report().scenarios
    with pytest.raises(UsageError, match=r"unknown scenario 'else\.where'"):
        merged({}, replace(report(), scenarios=(replace(result, id="else.where"),)), SCENARIOS)
    with pytest.raises(UsageError, match="unknown variant"):
        merged({}, played(replace(BARE, name="else")), SCENARIOS)


def test_a_record_knows_its_drawing() -> None:
    (text,) = drawings(played(BARE, LIBRARY)).values()
    kept = record(BARE, LIBRARY)[ID].variants
    assert kept["percent-zero"].drawing == digest(text)
    assert kept["library"].drawing == "", "it has nothing to draw"


def test_a_file_that_is_no_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(UsageError, match=r"a\.json: not the record"):
        read_all(tmp_path)
    (tmp_path / "a.json").write_text(write(record(BARE)[ID]))
    with pytest.raises(UsageError, match=f"is the record of {ID}"):
        read_all(tmp_path)
    assert not read_all(tmp_path / "nowhere")


def names(records: Records) -> list[str]:
    return [str(one) for one in stale([SCENARIOS[ID]], records)]


def test_a_record_is_stale_once_the_code_words_a_message_otherwise() -> None:
    known = templates(SCENARIOS[ID].stage.__module__, PLAYER)
    wording = used(
        ["3 of 240 requests lost over 2.0 s (1 failed, 2 too late), the slowest after 2.0 s; first lost request: x"],
        known,
    )
    assert wording
    sound = replace(BARE, message_templates=wording)
    assert f"{ID}[percent-zero]" not in names(record(sound))
    (found,) = [
        one
        for one in stale([SCENARIOS[ID]], record(replace(sound, message_templates=(*wording, "{} was not so in {} s"))))
        if one.variant == "percent-zero"
    ]
    assert "{} was not so in {} s" in found.reason
    assert found.seconds == 38.5


def test_a_record_that_keeps_no_messages_is_stale() -> None:
    assert f"{ID}[percent-zero]" in names(record(replace(BARE, message_templates=())))


def test_what_is_expected_and_was_never_played_is_to_be_played() -> None:
    assert names({}) == [f"{ID}[{one.name}]" for one in SCENARIOS[ID].variants if one.expected]
