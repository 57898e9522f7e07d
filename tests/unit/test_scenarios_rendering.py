"""The reports of scenarios: JSON and back, the page, the drawing, and the terminal."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from samples.scenarios import report, stalled

from trivet.engine.registry import Registry
from trivet.errors import UsageError
from trivet.model.events import ScenariosEnded, ScenariosStarted, VariantEnded, VariantStarted
from trivet.model.scenario import Timeline, Verdict
from trivet.render import scenario_html, scenario_json
from trivet.render.layout import COLUMNS, plain
from trivet.render.records import FOLDER, merged, read_all
from trivet.render.scenario_files import write_files
from trivet.render.scenario_pages import COMMAND, DRAWINGS, pages
from trivet.render.scenarios import summary
from trivet.render.terminal import watch
from trivet.render.timeline import svg

ROOT = Path(__file__).parents[2]
SCENARIOS = list(Registry().scenarios.values())
RECORDS = read_all(ROOT / FOLDER)


def test_a_report_goes_to_json_and_back() -> None:
    assert scenario_json.read(scenario_json.write(report())) == report()


def test_what_is_no_report_of_scenarios_is_refused() -> None:
    for text in ("{}", scenario_json.write(report()).replace("ScenarioReport", "ConformanceReport")):
        with pytest.raises(UsageError):
            scenario_json.read(text)


def test_a_contradicted_remedy_decides_the_exit_code() -> None:
    assert report().exit_code == 1
    (result,) = report().scenarios
    sound = replace(report(), scenarios=(replace(result, variants=result.variants[:2]),))
    assert sound.exit_code == 0
    assert replace(sound, required="protected").exit_code == 1
    broken = replace(result.variants[1], verdict=Verdict.ERROR)
    assert replace(sound, scenarios=(replace(result, variants=(broken,)),)).exit_code == 2
    assert replace(sound, scenarios=()).exit_code == 2, "empty is never green"


def test_the_page_runs_nothing_and_escapes_messages() -> None:
    page = scenario_html.write(report())
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<svg") == 1
    assert not re.search(r'(src|href)="(https?:)?//', page)


def test_what_the_cluster_said_is_folded_into_one() -> None:
    (result,) = report().scenarios
    pieces = tuple(replace(result.variants[0].evidence[0], name=f"cluster/events/{number}.txt") for number in range(3))
    variant = replace(result.variants[0], evidence=(*result.variants[0].evidence, *pieces))
    page = scenario_html.write(replace(report(), scenarios=(replace(result, variants=(variant,)),)))
    assert "3 texts" in page
    assert page.index("Evidence: events ") < page.index("3 texts") < page.index("cluster/events/0.txt")


def test_the_drawing_is_well_formed_and_names_outage_marks_and_revisions() -> None:
    drawn = svg(stalled(), "a <title> & more")
    root = ElementTree.fromstring(drawn)
    texts = {"".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert "100 of 300 requests lost, over 20 s" in texts
    assert {
        "fault 10 s",
        "injected 12 s",
        "revert 50 s",
        "recovered 56 s",
        "version 1",
        "version 2",
        "revision 1",
    } <= texts
    numbers = [
        float(value) for node in root.iter() for key, value in node.attrib.items() if key in ("x", "x1", "x2", "width")
    ]
    assert all(-1 <= number <= 900 for number in numbers)


def test_marks_close_to_each_other_stand_on_lines_of_their_own() -> None:
    drawn = ElementTree.fromstring(svg(stalled(), "t"))
    heights = {
        "".join(node.itertext()): node.get("y")
        for node in drawn.iter("{http://www.w3.org/2000/svg}text")
        if node.get("class") == "name"
    }
    assert heights["fault 10 s"] != heights["injected 12 s"]


def test_a_timeline_without_requests_is_drawn_with_its_marks() -> None:
    line = stalled()
    ElementTree.fromstring(svg(Timeline(rate=0.0, client_timeout=0.0, buckets=(), marks=line.marks), "t"))
    ElementTree.fromstring(svg(Timeline(rate=0.0, client_timeout=0.0, buckets=(), marks=()), "t"))


def test_the_files_hold_each_drawing_too(tmp_path: Path) -> None:
    names = {path.relative_to(tmp_path).as_posix() for path in write_files(report(), tmp_path)}
    assert names == {"scenarios.json", "scenarios.html", "timelines/rollback.revision_at_zero.percent-zero.svg"}


def test_the_summary_names_every_variant_and_what_contradicts_the_catalogue() -> None:
    text = plain(summary(report()))
    assert "expected: PROTECTED" in text
    assert "1 scenario: 1 vulnerable; 1 of 2 remedies protect" in text
    assert max(len(line) for line in text.splitlines()) <= COLUMNS


def test_the_terminal_shows_each_variant_as_it_ends() -> None:
    stream = io.StringIO()
    (result,) = report().scenarios
    with watch(stream, clock=lambda: 0.0) as emit:
        emit(ScenariosStarted(stack="2024.11", target="kind", variants=("a[b]",)))
        emit(VariantStarted(id=result.id, variant="percent-zero"))
        emit(VariantEnded(id=result.id, result=result.variants[0]))
        emit(ScenariosEnded(report=report()))
    assert "1/1  VULNERABLE    rollback.revision_at_zero[percent-zero]" in stream.getvalue()
    assert "exit code 1" in stream.getvalue()


@pytest.mark.parametrize("name", sorted(pages(SCENARIOS, RECORDS)))
def test_a_published_page_is_what_the_records_and_the_sources_make(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == pages(SCENARIOS, RECORDS)[name], f"run `{COMMAND}`"


def test_there_is_no_page_that_nothing_makes() -> None:
    made = {f"{scenario.id}.md" for scenario in SCENARIOS} | {"README.md"}
    assert {path.name for path in (ROOT / "docs" / DRAWINGS).glob("*.md")} == made, "remove what is too much"


def test_every_page_says_by_what_it_is_made() -> None:
    for name, text in pages(SCENARIOS, RECORDS).items():
        _, _, second, *_ = text.split("\n")
        assert second.startswith(f"Generated by `{COMMAND}` from "), name


def test_every_claim_is_in_the_ledger_with_what_was_measured() -> None:
    scenarios = {one.id: one for one in SCENARIOS}
    scenario = scenarios["rollback.revision_at_zero"]
    played = replace(report(), scenarios=(replace(report().scenarios[0], variants=report().scenarios[0].variants[:2]),))
    found = pages([scenario], merged({}, played, scenarios))
    assert all(claim.text in found["claims.md"] for claim in scenario.claims)
    assert "100 of 200 requests lost" in found["claims.md"]
    page = found[f"scenarios/{scenario.id}.md"]
    assert "![percent-zero over time](rollback.revision_at_zero.percent-zero.svg)" in page
    assert "Measured on 2026-11-25, target kind, stack 2024.11 (kserve 0.14.1) by trivet 0.1.0." in page


def test_a_page_says_of_each_variant_on_what_it_was_measured() -> None:
    scenarios = {one.id: one for one in SCENARIOS}
    (result,) = report().scenarios
    first = replace(report(), scenarios=(replace(result, variants=result.variants[:1]),))
    later = replace(
        first,
        target="existing",
        scenarios=(replace(result, variants=result.variants[1:2]),),
        provenance=replace(first.provenance, started=""),
    )
    page = pages([scenarios[result.id]], merged(merged({}, first, scenarios), later, scenarios))
    text = page[f"scenarios/{result.id}.md"]
    assert "Measured on 2026-11-25, target kind, stack 2024.11 (kserve 0.14.1) by trivet 0.1.0: `percent-zero`." in text
    assert "Measured on an unrecorded date, target existing" in text


def test_a_scenario_without_a_record_claims_nothing() -> None:
    text = pages(SCENARIOS[:1], {})[f"scenarios/{SCENARIOS[0].id}.md"]
    assert "| not measured yet |" in text
    assert "Measured" not in text


def test_a_page_of_a_scenario_without_sources_or_claims_has_no_heading_for_them() -> None:
    scenario = replace(SCENARIOS[0], sources=(), claims=())
    text = pages([scenario], {})[f"scenarios/{scenario.id}.md"]
    assert "## Sources" not in text
    assert "## Published claims" not in text
    assert text.rstrip().split("\n")[-1].startswith("* "), "affected objects are last"
